//! Turns the client's request into the upstream's, and the upstream's response into the client's.
//!
//! It decides which headers pass, which are taken out and which are ours; bodies pass untouched. Runs after pingora has
//! taken out what `Connection` nominates, so that no caller can have ours removed (CVE-2024-45410, CVE-2025-48865).

use crate::credential;
use crate::exchange::Exchange;
use crate::reply::REQUEST_ID;
use http::header::{CONNECTION, CONTENT_LENGTH, COOKIE, HOST, HeaderMap, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderName, HeaderValue, StatusCode, Version};
use pingora_core::{Error, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use portcullis_http::{identity_headers, rate_limit_headers};
use std::net::IpAddr;

#[cfg(test)]
mod tests;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Headers with which a proxy tells of the original request, beside all that start with `x-forwarded-`. Some frameworks
/// take the path from them, past every rule that was applied to the real one.
const FORWARDING_HEADERS: &[&str] = &[
    "forwarded",
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "true-client-ip",
    "x-original-forwarded-for",
    "x-original-host",
    "x-original-method",
    "x-original-uri",
    "x-original-url",
    "x-rewrite-url",
];

/// Headers that mean something only in their own spelling. Servers that hand headers on as variables (CGI, WSGI) take
/// `Content_Length` and `X_Request_ID` for them (CVE-2025-64484).
const UNALIASED_HEADERS: &[&str] = &["content-length", "transfer-encoding", "x-request-id"];

/// Where the request came in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Inbound {
    /// The protocol of the client.
    pub(crate) version: Version,
    /// The peer's address.
    pub(crate) peer: Option<IpAddr>,
    /// TLS was spoken.
    pub(crate) tls: bool,
}

/// Makes the upstream's request of the client's.
pub(crate) fn request(upstream: &mut RequestHeader, exchange: &Exchange, inbound: Inbound) -> Result<()> {
    remove_foreign(upstream, exchange.peer_is_trusted);
    if let Some(route) = exchange.route.as_ref().filter(|route| !route.keep_credential) {
        credential::strip(&route.places, upstream)?;
    }
    if inbound.version == Version::HTTP_2 {
        join_cookies(upstream)?;
    }
    to_origin_form(upstream)?;
    if let Some(key) = &exchange.key {
        for (name, value) in identity_headers::of(key) {
            upstream.insert_header(name, value)?;
        }
    }
    upstream.insert_header(REQUEST_ID, exchange.request_id.header_value())?;
    set_forwarding(upstream, inbound)
}

/// Takes out the headers that are ours to set, in every spelling.
fn remove_foreign(upstream: &mut RequestHeader, peer_is_trusted: bool) {
    let foreign: Vec<HeaderName> = upstream
        .headers
        .keys()
        .filter(|name| is_foreign(name.as_str(), peer_is_trusted))
        .cloned()
        .collect();
    for name in foreign {
        upstream.remove_header(&name);
    }
}

fn is_foreign(name: &str, peer_is_trusted: bool) -> bool {
    if identity_headers::is_identity_header(name) {
        return true;
    }
    // A spelling that only some servers take for the name is never a trusted proxy's own.
    let is_plain = name.bytes().all(|byte| byte == b'-' || byte.is_ascii_alphanumeric());
    if is_plain {
        !peer_is_trusted && is_forwarding(name)
    } else {
        let plain = dashed(name);
        is_forwarding(&plain) || UNALIASED_HEADERS.contains(&plain.as_str())
    }
}

/// Whether a header of this name, in whatever case, tells of the original request.
pub(crate) fn is_forwarding(name: &str) -> bool {
    const FAMILY: &str = "x-forwarded";
    name.get(..FAMILY.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(FAMILY))
        || FORWARDING_HEADERS.iter().any(|known| name.eq_ignore_ascii_case(known))
}

fn dashed(name: &str) -> String {
    name.chars()
        .map(|character| {
            if character.is_ascii_alphanumeric() {
                character
            } else {
                '-'
            }
        })
        .collect()
}

/// HTTP/2 may send a cookie in a field of its own; HTTP/1.1 knows one field only (RFC 9113 §8.2.3).
fn join_cookies(upstream: &mut RequestHeader) -> Result<()> {
    let crumbs: Vec<&[u8]> = upstream
        .headers
        .get_all(COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if crumbs.len() < 2 {
        return Ok(());
    }
    let joined = crumbs.join(&b"; "[..]);
    upstream.insert_header(COOKIE, joined)
}

/// A server that is no proxy is asked for a path (RFC 9112 §3.2); the authority is in `Host` already.
fn to_origin_form(upstream: &mut RequestHeader) -> Result<()> {
    if upstream.raw_path().first() == Some(&b'/') {
        return Ok(());
    }
    let target = upstream
        .uri
        .path_and_query()
        .map_or("/", |target| target.as_str())
        .to_owned();
    upstream.set_raw_path(target.as_bytes())
}

/// Tells the upstream where the request came from. What a trusted peer said stays, and the peer itself is appended.
fn set_forwarding(upstream: &mut RequestHeader, inbound: Inbound) -> Result<()> {
    if let Some(peer) = inbound.peer {
        let list = match joined(&upstream.headers, &X_FORWARDED_FOR) {
            Some(list) => format!("{list}, {peer}"),
            None => peer.to_string(),
        };
        upstream.insert_header(X_FORWARDED_FOR, list)?;
    }
    if !upstream.headers.contains_key(X_FORWARDED_PROTO) {
        let scheme = if inbound.tls { "https" } else { "http" };
        upstream.insert_header(X_FORWARDED_PROTO, HeaderValue::from_static(scheme))?;
    }
    if !upstream.headers.contains_key(X_FORWARDED_HOST)
        && let Some(host) = upstream.headers.get(HOST).cloned()
    {
        upstream.insert_header(X_FORWARDED_HOST, host)?;
    }
    Ok(())
}

fn joined(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let mut list = String::new();
    for value in headers.get_all(name) {
        if !list.is_empty() {
            list.push_str(", ");
        }
        list.push_str(value.to_str().ok()?);
    }
    (!list.is_empty()).then_some(list)
}

/// Makes the client's response of the upstream's. `version` is the request's.
pub(crate) fn response(upstream: &mut ResponseHeader, exchange: &Exchange, version: Version) -> Result<()> {
    check_framing(upstream)?;
    remove_hop_by_hop(upstream);
    if upstream.version == Version::HTTP_10 {
        // The version is that of the sender, which is us from here on (RFC 9110 §2.5).
        upstream.set_version(Version::HTTP_11);
    }
    if version == Version::HTTP_10 {
        // Its client does not know chunks; the end of the connection is the end of the body.
        upstream.remove_header(&TRANSFER_ENCODING);
    }
    if !exchange.rate_limit_headers.is_empty() {
        let theirs: Vec<HeaderName> = upstream
            .headers
            .keys()
            .filter(|name| rate_limit_headers::contradicts(&exchange.rate_limit_headers, name))
            .cloned()
            .collect();
        for name in theirs {
            upstream.remove_header(&name);
        }
        for (name, value) in &exchange.rate_limit_headers {
            upstream.insert_header(name, value)?;
        }
    }
    if version == Version::HTTP_2 {
        let_go_of_buffer(upstream)?;
    }
    upstream.insert_header(REQUEST_ID, exchange.request_id.header_value())
}

/// Copies the values, which are parts of the buffer that the upstream's head was read into. An HTTP/2 connection remembers values for as
/// long as it may refer to them (RFC 7541 §2.3.2), and would hold a whole buffer for each.
fn let_go_of_buffer(upstream: &mut ResponseHeader) -> Result<()> {
    let copy = |(name, value): (&HeaderName, &HeaderValue)| {
        let copied = HeaderValue::from_bytes(value.as_bytes());
        copied.map(|copied| (name.clone(), copied))
    };
    let Ok(fields) = upstream
        .headers
        .iter()
        .map(copy)
        .collect::<std::result::Result<Vec<_>, _>>()
    else {
        // A line that was folded: pingora lets it pass, and it is no value that can be made.
        return Ok(());
    };
    let mut previous = None;
    for (name, value) in fields {
        // Those of one name follow each other.
        if previous.as_ref() == Some(&name) {
            upstream.append_header(name, value)?;
        } else {
            upstream.insert_header(name.clone(), value)?;
            previous = Some(name);
        }
    }
    Ok(())
}

/// Makes a `1xx` response that precedes the real one fit for the client.
pub(crate) fn informational(upstream: &mut ResponseHeader) {
    remove_hop_by_hop(upstream);
    // None has a body, and none may say how long it would be (RFC 9110 §8.6).
    upstream.remove_header(&CONTENT_LENGTH);
    upstream.remove_header(&TRANSFER_ENCODING);
    upstream.remove_header(&REQUEST_ID);
}

/// Refuses a response whose end the client could see elsewhere than we do, and leaves one statement of it in the others.
fn check_framing(upstream: &mut ResponseHeader) -> Result<()> {
    let fault = |what| Err(Error::explain(ErrorType::InvalidHTTPHeader, what).into_up());
    let mut codings = upstream.headers.get_all(TRANSFER_ENCODING).iter();
    if let Some(coding) = codings.next() {
        let plain = codings.next().is_none() && coding.as_bytes().eq_ignore_ascii_case(b"chunked");
        if !plain {
            // Others need a `TE` field, which is never sent to an upstream.
            return fault("a transfer coding that nobody asked for");
        }
    }
    if matches!(
        upstream.status,
        StatusCode::NO_CONTENT | StatusCode::SWITCHING_PROTOCOLS
    ) {
        upstream.remove_header(&CONTENT_LENGTH);
        upstream.remove_header(&TRANSFER_ENCODING);
        return Ok(());
    }
    let lengths: Vec<HeaderValue> = upstream.headers.get_all(CONTENT_LENGTH).iter().cloned().collect();
    let mut stated = lengths
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii);
    let Some(first) = stated.next() else { return Ok(()) };
    if first.is_empty() || !first.iter().all(u8::is_ascii_digit) || stated.any(|other| other != first) {
        return fault("lengths that contradict each other");
    }
    upstream.insert_header(CONTENT_LENGTH, first)
}

/// Takes out what concerns the connection to the upstream only (RFC 9110 §7.6.1). Framing is pingora's.
fn remove_hop_by_hop(upstream: &mut ResponseHeader) {
    if upstream.status == StatusCode::SWITCHING_PROTOCOLS {
        return;
    }
    let nominated: Vec<HeaderName> = upstream
        .headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|token| HeaderName::from_bytes(token.trim_ascii()).ok())
        .filter(|name| {
            !matches!(
                name.as_str(),
                "transfer-encoding" | "content-length" | "close" | "keep-alive"
            )
        })
        .collect();
    for name in nominated {
        upstream.remove_header(&name);
    }
    upstream.remove_header("keep-alive");
    upstream.remove_header("proxy-connection");
    upstream.remove_header(&TE);
    upstream.remove_header(&TRAILER);
    upstream.remove_header(&UPGRADE);
    upstream.remove_header(&CONNECTION);
}
