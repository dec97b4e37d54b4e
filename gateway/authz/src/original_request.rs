//! Reads which request a proxy asks about, from the headers that the proxies in use send.
//!
//! Traefik and Caddy send `X-Forwarded-Method` and `-Uri`, ingress-nginx `X-Original-Method` and `-URL`, nginx by its manual
//! `X-Original-URI`. A proxy sets its own and lets the others pass from the client, so where several came they must agree;
//! which of them is the proxy's, nobody can tell. Called by [`crate::forward_auth`].

use crate::refuse::bad_request;
use http::{HeaderMap, Method};
use portcullis_http::{Refusal, RequestPath};

#[cfg(test)]
mod tests;

const TARGETS: &[&str] = &["x-forwarded-uri", "x-original-url", "x-original-uri"];
const METHODS: &[&str] = &["x-forwarded-method", "x-original-method"];

/// The request that a proxy asks about.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct OriginalRequest<'a> {
    /// Its method; the asking request's own where the proxy says nothing of it.
    pub(crate) method: Method,
    /// Its path.
    pub(crate) path: RequestPath<'a>,
}

/// Reads the original request, or says why it cannot be known.
pub(crate) fn read<'a>(headers: &'a HeaderMap, own_method: &Method) -> Result<OriginalRequest<'a>, Refusal> {
    let target = agreed(headers, TARGETS, path_of)?.ok_or_else(|| {
        bad_request("No X-Forwarded-Uri, X-Original-URL or X-Original-URI header says which request is meant.")
    })?;
    let path = RequestPath::parse(target)
        .map_err(|error| bad_request(format!("The original request is not usable. {error}")))?;
    let method = match agreed(headers, METHODS, Some)? {
        None => own_method.clone(),
        Some(name) => Method::from_bytes(name.as_bytes())
            .map_err(|_| bad_request("The original request's method is not an HTTP method."))?,
    };
    Ok(OriginalRequest { method, path })
}

/// The one value that all lines of these headers come to. `read` takes from a line what matters of it.
fn agreed<'a>(
    headers: &'a HeaderMap,
    names: &[&str],
    read: impl Fn(&'a str) -> Option<&'a str>,
) -> Result<Option<&'a str>, Refusal> {
    let mut found = None;
    for line in names.iter().flat_map(|name| headers.get_all(*name)) {
        let value = line.to_str().ok().and_then(&read);
        let value = value.ok_or_else(|| bad_request("A header about the original request is malformed."))?;
        if found.replace(value).is_some_and(|first| first != value) {
            return Err(bad_request(
                "The headers about the original request contradict each other.",
            ));
        }
    }
    Ok(found)
}

/// The path of a request target in origin form (`/x?y`) or absolute form (`https://host/x?y`), without its query.
fn path_of(target: &str) -> Option<&str> {
    let path = if target.starts_with('/') {
        target
    } else {
        let (scheme, rest) = target.split_once("://")?;
        let web = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        // Where an authority ends must not be a matter of opinion.
        let plain = !authority.is_empty()
            && authority
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte));
        if !web || !plain {
            return None;
        }
        path
    };
    match path.split_once('?').map_or(path, |(path, _)| path) {
        "" => Some("/"),
        path => Some(path),
    }
}
