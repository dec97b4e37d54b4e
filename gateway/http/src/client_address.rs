//! Decides whose address a request counts under, from the TCP peer and, when that is a trusted proxy, its forwarding headers.
//!
//! Refuses to know names, ports and geography; an address that cannot be vouched for is never returned.
//! Called once per request by the proxy and by the decision API.

use http::HeaderMap;
use http::header::FORWARDED;
use ipnet::IpNet;
use std::net::IpAddr;

#[cfg(test)]
mod tests;

/// The one form of an address: IPv4-mapped IPv6 is IPv4.
#[must_use]
pub fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

/// Whether this peer's forwarding headers are believed.
#[must_use]
pub fn is_trusted(peer: IpAddr, trusted: &[IpNet]) -> bool {
    let peer = canonical(peer);
    trusted.iter().any(|network| network.contains(&peer))
}

/// The client's address.
///
/// An untrusted peer is the client, whatever it sends. A trusted one is asked for the hop before it, and so on from the
/// right of `X-Forwarded-For` or `Forwarded` (RFC 7239) until an address is not trusted. Only the part that trusted hops
/// wrote is believed: where it is malformed, obfuscated or `unknown`, the walk ends at the last hop that was vouched for.
///
/// With both headers present nobody can tell which of them the trusted proxy wrote and which it let pass from the client.
/// If they disagree, the peer's own address is the answer: a client can then share the proxy's address, but never choose one.
#[must_use]
pub fn resolve(peer: IpAddr, trusted: &[IpNet], headers: &HeaderMap) -> IpAddr {
    let peer = canonical(peer);
    if !is_trusted(peer, trusted) {
        return peer;
    }
    let listed = headers.contains_key(X_FORWARDED_FOR);
    let standard = headers.contains_key(FORWARDED);
    match (listed, standard) {
        (false, false) => peer,
        (true, false) => walk(peer, trusted, listed_hops(headers)),
        (false, true) => walk(peer, trusted, standard_hops(headers)),
        (true, true) => {
            let address = walk(peer, trusted, listed_hops(headers));
            if address == walk(peer, trusted, standard_hops(headers)) {
                address
            } else {
                peer
            }
        }
    }
}

const X_FORWARDED_FOR: &str = "x-forwarded-for";

/// Follows hops, nearest first, while they are trusted. `None` is a hop that nobody can name.
fn walk(peer: IpAddr, trusted: &[IpNet], hops: impl Iterator<Item = Option<IpAddr>>) -> IpAddr {
    let mut nearest = peer;
    for hop in hops {
        let Some(hop) = hop else { break };
        nearest = canonical(hop);
        if !is_trusted(nearest, trusted) {
            break;
        }
    }
    nearest
}

/// The hops of `X-Forwarded-For`, nearest first. Empty list elements are skipped (RFC 9110 §5.6.1.2).
fn listed_hops(headers: &HeaderMap) -> impl Iterator<Item = Option<IpAddr>> {
    headers
        .get_all(X_FORWARDED_FOR)
        .iter()
        .rev()
        .flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|element| !element.is_empty())
        .map(|element| std::str::from_utf8(element).ok().and_then(node))
}

/// The hops of `Forwarded`, nearest first.
///
/// Elements are cut from the right, because the right is what trusted hops wrote: a quote that a client left open on the
/// left cannot swallow or shift what was appended to it.
fn standard_hops(headers: &HeaderMap) -> impl Iterator<Item = Option<IpAddr>> {
    headers
        .get_all(FORWARDED)
        .iter()
        .rev()
        .flat_map(|line| FromRight {
            rest: Some(line.as_bytes()),
            separator: b',',
        })
        .map(<[u8]>::trim_ascii)
        .filter(|element| !element.is_empty())
        .map(forwarded_for)
}

/// The address in the `for` parameter of one `Forwarded` element.
fn forwarded_for(element: &[u8]) -> Option<IpAddr> {
    let mut found = None;
    for pair in (FromRight {
        rest: Some(element),
        separator: b';',
    }) {
        let pair = std::str::from_utf8(pair.trim_ascii()).ok()?;
        if pair.is_empty() {
            continue;
        }
        let (name, value) = pair.split_once('=')?;
        if name.eq_ignore_ascii_case("for") {
            let value = match value.strip_prefix('"') {
                Some(quoted) => quoted.strip_suffix('"')?,
                None => value,
            };
            // A second `for` in one element means that somebody is guessing.
            if found.replace(node(value)?).is_some() {
                return None;
            }
        }
    }
    found
}

/// Splits at a separator outside quoted strings, from the right.
struct FromRight<'a> {
    rest: Option<&'a [u8]>,
    separator: u8,
}

impl<'a> Iterator for FromRight<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest.take()?;
        let mut quoted = false;
        for (index, byte) in rest.iter().enumerate().rev() {
            if *byte == b'"' {
                let backslashes = rest[..index].iter().rev().take_while(|byte| **byte == b'\\').count();
                // Inside a quoted string an odd number of backslashes escapes the quote; outside there is nothing to escape.
                if !quoted || backslashes % 2 == 0 {
                    quoted = !quoted;
                }
            } else if *byte == self.separator && !quoted {
                self.rest = Some(&rest[..index]);
                return Some(&rest[index + 1..]);
            }
        }
        Some(rest)
    }
}

/// The address of a node: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`.
///
/// `unknown`, obfuscated identifiers (`_hidden`) and anything else are nobody.
fn node(text: &str) -> Option<IpAddr> {
    if let Some(bracketed) = text.strip_prefix('[') {
        let (address, port) = bracketed.split_once(']')?;
        if !port.is_empty() && !is_port(port.strip_prefix(':')?) {
            return None;
        }
        return address.parse().ok().map(IpAddr::V6);
    }
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    let (address, port) = text.split_once(':')?;
    if !is_port(port) {
        return None;
    }
    address.parse().ok().map(IpAddr::V4)
}

/// A port number, or an obfuscated one (RFC 7239 §6).
fn is_port(text: &str) -> bool {
    match text.strip_prefix('_') {
        Some(hidden) => {
            !hidden.is_empty()
                && hidden
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        }
        None => text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok(),
    }
}
