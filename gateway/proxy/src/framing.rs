//! Refuses requests whose host or length two servers could read differently, before anything is looked up.
//!
//! Knows no routes and no keys. pingora refuses some of these itself; here is what it lets pass (it drops `Content-Length`
//! beside `Transfer-Encoding`, takes a missing `Host`, repeated lengths and codings). Called by [`crate::flow`].

use crate::client_stream::BodyLength;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING, UPGRADE};
use http::{Method, Version};
use pingora_core::protocols::http::authority::{RawTargetAuthority, is_http_family_scheme, raw_target_authority};
use pingora_http::RequestHeader;
use portcullis_http::Refusal;
use std::borrow::Cow;

#[cfg(test)]
mod tests;

/// What a request's `Upgrade` field asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Upgrade {
    /// Nothing.
    None,
    /// A WebSocket, properly.
    WebSocket,
    /// Something that is not forwarded (`h2c` would take the connection past every check), or not properly.
    Ignored,
}

/// Refuses methods that ask for something else than a resource.
pub(crate) fn check_method(method: &Method) -> Result<(), Refusal> {
    if method == Method::CONNECT || method == Method::TRACE {
        return Err(Refusal::bad_request("This method is not supported."));
    }
    Ok(())
}

/// Options of `Connection` in one request at which pingora gives up.
const CONNECTION_OPTIONS_MAX: usize = 10;

/// Header fields that a client may not have removed on the way: a proxy's word on who asks, and the request's host.
const KEPT_FIELDS: &[&str] = &["host", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"];

/// Takes nominations of [`KEPT_FIELDS`] out of `Connection`, which pingora would answer with an error once the request is
/// charged, and refuses those that would change where the request ends.
pub(crate) fn check_nominations(request: &mut RequestHeader) -> Result<(), Refusal> {
    const FAULT: Refusal = Refusal::bad_request("The Connection field is not well-formed.");
    let options = || {
        let fields = request.headers.get_all(CONNECTION).iter();
        let options = fields.flat_map(|field| field.as_bytes().split(|byte| *byte == b','));
        options.map(<[u8]>::trim_ascii).filter(|option| !option.is_empty())
    };
    let names = |option: &[u8], fields: &[&str]| fields.iter().any(|f| option.eq_ignore_ascii_case(f.as_bytes()));
    let well_formed = |option: &[u8]| {
        option
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
    };
    let mut has_kept = false;
    for (index, option) in options().enumerate() {
        let changes_length = names(option, &["content-length", "transfer-encoding"]);
        if index + 1 >= CONNECTION_OPTIONS_MAX || changes_length || !well_formed(option) {
            return Err(FAULT);
        }
        has_kept |= names(option, KEPT_FIELDS);
    }
    if has_kept {
        let rest: Vec<&[u8]> = options().filter(|option| !names(option, KEPT_FIELDS)).collect();
        let rest = http::HeaderValue::from_bytes(&rest.join(&b", "[..])).map_err(|_| FAULT)?;
        request.insert_header(CONNECTION, rest).map_err(|_| FAULT)?;
    }
    Ok(())
}

/// Whether an option of `Connection`, in whichever of its lines, asks for the end of the connection (RFC 9112 §9.3). pingora reads
/// the first line only, and takes `keep-alive` beside it for the stronger word.
pub(crate) fn asks_to_close(request: &RequestHeader) -> bool {
    let fields = request.headers.get_all(CONNECTION).iter();
    let mut options = fields.flat_map(|field| field.as_bytes().split(|byte| *byte == b','));
    options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"))
}

/// Refuses targets that are neither a path nor an `http` or `https` URL, and those that are not UTF-8.
pub(crate) fn check_target(request: &RequestHeader) -> Result<(), Refusal> {
    let target = request.raw_path();
    let is_path = target.first() == Some(&b'/');
    let is_url = || matches!(raw_target_authority(target), RawTargetAuthority::Absolute { scheme, .. } if is_http_family_scheme(scheme));
    if request.raw_path_is_utf8() && (is_path || is_url()) {
        return Ok(());
    }
    Err(Refusal::bad_request("The request target must be a path."))
}

/// The host that the request is for: lower case, without port and final dot.
pub(crate) fn host(request: &RequestHeader) -> Result<Cow<'_, str>, Refusal> {
    const FAULT: Refusal = Refusal::bad_request("The request needs exactly one Host, and a well-formed one.");
    let mut fields = request.headers.get_all(HOST).iter();
    let host = match (fields.next(), fields.next(), request.uri.authority()) {
        (Some(field), None, None) => field.to_str().map_err(|_| FAULT)?,
        (None, None, Some(authority)) => authority.as_str(),
        (Some(field), None, Some(authority)) if field.as_bytes() == authority.as_str().as_bytes() => authority.as_str(),
        _ => return Err(FAULT),
    };
    host_name(host).ok_or(FAULT)
}

/// The name in a host: lower case, without port and final dot. `None` if it is not well-formed.
pub(crate) fn host_name(host: &str) -> Option<Cow<'_, str>> {
    let name = without_port(host)?;
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let is_literal = |byte: u8| byte.is_ascii_hexdigit() || b":.".contains(&byte);
    let well_formed = match name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(literal) => !literal.is_empty() && literal.bytes().all(is_literal),
        None => !name.is_empty() && name.bytes().all(is_name),
    };
    if !well_formed {
        return None;
    }
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Some(Cow::Owned(name.to_ascii_lowercase()));
    }
    Some(Cow::Borrowed(name))
}

fn without_port(host: &str) -> Option<&str> {
    let end_of_name = host.rfind(']').map_or(0, |bracket| bracket + 1);
    let (name, port) = match host.get(end_of_name..)?.find(':') {
        Some(colon) => host.split_at(end_of_name + colon),
        None => (host, ""),
    };
    let digits = port.strip_prefix(':').unwrap_or_default();
    let is_port =
        digits.is_empty() || (digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse::<u16>().is_ok());
    is_port.then_some(name)
}

/// The length of the body; `None` is no body, or one that HTTP/2 frames itself.
///
/// `raw_head` is the head as it came, because pingora has removed the `Content-Length` beside a `Transfer-Encoding`.
pub(crate) fn body_length(
    request: &RequestHeader,
    raw_head: impl FnOnce() -> Option<bytes::Bytes>,
) -> Result<Option<BodyLength>, Refusal> {
    let mut codings = request.headers.get_all(TRANSFER_ENCODING).iter();
    if let Some(coding) = codings.next() {
        let plain = codings.next().is_none() && coding.as_bytes().eq_ignore_ascii_case(b"chunked");
        if !plain || request.version != Version::HTTP_11 {
            return Err(Refusal::bad_request(
                "The only Transfer-Encoding supported is a single chunked, in HTTP/1.1.",
            ));
        }
        if request.headers.contains_key(CONTENT_LENGTH) || raw_head().is_none_or(|head| names_a_length(&head)) {
            return Err(Refusal::bad_request(
                "Content-Length and Transfer-Encoding exclude each other.",
            ));
        }
        return Ok(Some(BodyLength::Chunked));
    }
    let mut lengths = request.headers.get_all(CONTENT_LENGTH).iter();
    let Some(length) = lengths.next() else { return Ok(None) };
    let digits = std::str::from_utf8(length.as_bytes())
        .ok()
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    match (digits.and_then(|digits| digits.parse().ok()), lengths.next()) {
        (Some(bytes), None) => Ok(Some(BodyLength::Exactly(bytes))),
        _ => Err(Refusal::bad_request(
            "The request needs at most one Content-Length, a decimal number.",
        )),
    }
}

fn names_a_length(head: &[u8]) -> bool {
    const NAME: &[u8] = b"content-length:";
    head.split(|byte| *byte == b'\n').any(|line| {
        line.get(..NAME.len())
            .is_some_and(|name| name.eq_ignore_ascii_case(NAME))
    })
}

/// What the request asks its connection to become.
pub(crate) fn upgrade(request: &RequestHeader) -> Upgrade {
    let mut asked = request.headers.get_all(UPGRADE).iter();
    let Some(protocol) = asked.next() else {
        return Upgrade::None;
    };
    let nominated = request
        .headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .any(|token| token.trim_ascii().eq_ignore_ascii_case(b"upgrade"));
    let proper = asked.next().is_none()
        && protocol.as_bytes().eq_ignore_ascii_case(b"websocket")
        && nominated
        && request.version == Version::HTTP_11
        && request.method == Method::GET;
    if proper { Upgrade::WebSocket } else { Upgrade::Ignored }
}
