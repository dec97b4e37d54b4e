//! Finds the key in a request, in the places that its route names, and takes it out of what is forwarded.
//!
//! It reads every place, so that nobody can hide a second key behind the first; whether a key is any good it does not ask.
//! Called by [`crate::flow`] before the decision and by [`crate::forward`] after it.

use base64::Engine;
use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderName, HeaderValue};
use percent_encoding::percent_decode;
use pingora_http::RequestHeader;
use portcullis_config::settings::CredentialPlace;
use std::borrow::Cow;

#[cfg(test)]
mod tests;

/// Two different keys came with one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ambiguous;

/// The key of a request: the one that all the places agree on, or none.
pub(crate) fn find<'a>(
    places: &'a [CredentialPlace],
    request: &'a RequestHeader,
) -> Result<Option<Cow<'a, [u8]>>, Ambiguous> {
    let mut found: Option<Cow<'a, [u8]>> = None;
    let mut agree = |value: Cow<'a, [u8]>| match &found {
        _ if value.is_empty() => Ok(()),
        Some(first) if *first != value => Err(Ambiguous),
        Some(_) => Ok(()),
        None => {
            found = Some(value);
            Ok(())
        }
    };
    for place in places {
        match place {
            CredentialPlace::Bearer => {
                authorizations(request, b"bearer").try_for_each(|token| agree(Cow::Borrowed(token)))?;
            }
            CredentialPlace::BasicPassword => {
                authorizations(request, b"basic").try_for_each(|encoded| agree(Cow::Owned(password(encoded))))?;
            }
            CredentialPlace::Header(name) => {
                let mut values = request.headers.get_all(name.as_str()).iter();
                values.try_for_each(|value| agree(Cow::Borrowed(value.as_bytes().trim_ascii())))?;
            }
            CredentialPlace::Query(name) => {
                let mut values = parameters(request).filter_map(|parameter| value_of(parameter, name));
                values.try_for_each(&mut agree)?;
            }
            CredentialPlace::Cookie(name) => {
                let mut values = cookies(request).filter_map(|cookie| cookie_value(cookie, name));
                values.try_for_each(|value| agree(Cow::Borrowed(value)))?;
            }
        }
    }
    Ok(found)
}

/// Takes whatever stands in the places out of the request; everything else stays as it is, byte for byte.
pub(crate) fn strip(places: &[CredentialPlace], request: &mut RequestHeader) -> pingora_core::Result<()> {
    for place in places {
        match place {
            CredentialPlace::Bearer => strip_authorization(request, b"bearer")?,
            CredentialPlace::BasicPassword => strip_authorization(request, b"basic")?,
            CredentialPlace::Header(name) => strip_header(request, name),
            CredentialPlace::Query(name) => strip_parameter(request, name)?,
            CredentialPlace::Cookie(name) => strip_cookie(request, name)?,
        }
    }
    Ok(())
}

/// What follows the scheme in each `Authorization` field of that scheme.
fn authorizations<'a>(request: &'a RequestHeader, scheme: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    request
        .headers
        .get_all(AUTHORIZATION)
        .iter()
        .filter_map(move |value| after_scheme(value.as_bytes(), scheme))
}

/// What follows the scheme in the value of one `Authorization` field, if it is of that scheme.
pub(crate) fn after_scheme<'a>(value: &'a [u8], scheme: &[u8]) -> Option<&'a [u8]> {
    let value = value.trim_ascii();
    let end = value
        .iter()
        .position(|byte| matches!(byte, b' ' | b'\t'))
        .unwrap_or(value.len());
    let (name, rest) = value.split_at(end);
    name.eq_ignore_ascii_case(scheme).then(|| rest.trim_ascii())
}

/// The password of Basic credentials (RFC 7617); what cannot be decoded is a password that no key equals.
fn password(encoded: &[u8]) -> Vec<u8> {
    let decoded = base64::engine::general_purpose::STANDARD.decode(encoded);
    match decoded {
        Ok(pair) => match pair.iter().position(|byte| *byte == b':') {
            Some(colon) => pair.get(colon + 1..).unwrap_or_default().to_vec(),
            None => pair,
        },
        Err(_) => encoded.to_vec(),
    }
}

fn parameters(request: &RequestHeader) -> impl Iterator<Item = &str> {
    request.uri.query().unwrap_or_default().split('&')
}

/// The decoded value of a parameter, if it has this name once that is decoded too.
fn value_of<'a>(parameter: &'a str, name: &str) -> Option<Cow<'a, [u8]>> {
    let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
    (*decoded(key) == *name.as_bytes()).then(|| decoded(value))
}

fn decoded(text: &str) -> Cow<'_, [u8]> {
    if text.contains('+') {
        let spaced = text.replace('+', " ");
        return Cow::Owned(percent_decode(spaced.as_bytes()).collect());
    }
    percent_decode(text.as_bytes()).into()
}

fn cookies(request: &RequestHeader) -> impl Iterator<Item = &[u8]> {
    request
        .headers
        .get_all(COOKIE)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b';'))
}

fn cookie_value<'a>(cookie: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let equals = cookie.iter().position(|byte| *byte == b'=')?;
    let (key, value) = cookie.split_at_checked(equals)?;
    let value = value.get(1..)?.trim_ascii();
    let unquoted = value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
    (key.trim_ascii() == name.as_bytes()).then(|| unquoted.unwrap_or(value))
}

/// The header in every spelling that some server takes for it: `X_API_Key` is no place for a key here, nor behind us.
fn strip_header(request: &mut RequestHeader, name: &str) {
    let spellings: Vec<HeaderName> = request
        .headers
        .keys()
        .filter(|found| reads_as(found.as_str().as_bytes(), name.as_bytes()))
        .cloned()
        .collect();
    for spelling in spellings {
        request.remove_header(&spelling);
    }
}

/// Whether a name is the other, but for the characters that are neither letters nor digits.
pub(crate) fn reads_as(found: &[u8], name: &[u8]) -> bool {
    found.len() == name.len()
        && found.iter().zip(name).all(|(byte, expected)| {
            byte.eq_ignore_ascii_case(expected) || !(byte.is_ascii_alphanumeric() || expected.is_ascii_alphanumeric())
        })
}

fn strip_authorization(request: &mut RequestHeader, scheme: &[u8]) -> pingora_core::Result<()> {
    if authorizations(request, scheme).next().is_none() {
        return Ok(());
    }
    let others: Vec<HeaderValue> = request
        .headers
        .get_all(AUTHORIZATION)
        .iter()
        .filter(|value| after_scheme(value.as_bytes(), scheme).is_none())
        .cloned()
        .collect();
    request.remove_header(&AUTHORIZATION);
    for value in others {
        request.append_header(AUTHORIZATION, value)?;
    }
    Ok(())
}

fn strip_parameter(request: &mut RequestHeader, name: &str) -> pingora_core::Result<()> {
    if !parameters(request).any(|parameter| value_of(parameter, name).is_some()) {
        return Ok(());
    }
    let mut target = request.uri.path().to_owned();
    let mut separator = '?';
    for parameter in parameters(request).filter(|parameter| value_of(parameter, name).is_none()) {
        target.push(separator);
        target.push_str(parameter);
        separator = '&';
    }
    request.set_raw_path(target.as_bytes())
}

fn strip_cookie(request: &mut RequestHeader, name: &str) -> pingora_core::Result<()> {
    if !cookies(request).any(|cookie| cookie_value(cookie, name).is_some()) {
        return Ok(());
    }
    let values: Vec<HeaderValue> = request.headers.get_all(COOKIE).iter().cloned().collect();
    request.remove_header(&COOKIE);
    for value in values {
        let kept: Vec<&[u8]> = value
            .as_bytes()
            .split(|byte| *byte == b';')
            .filter(|cookie| cookie_value(cookie, name).is_none())
            .collect();
        let joined = kept.join(&b';');
        let joined = joined.trim_ascii();
        if !joined.is_empty() {
            request.append_header(COOKIE, joined)?;
        }
    }
    Ok(())
}
