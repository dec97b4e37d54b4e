//! URLs of upstreams and of the control API: a scheme, a host and a port, nothing more.
//!
//! A URL may hold a password by mistake, so no fault quotes one.

use crate::settings::Upstream;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Parses `http://HOST[:PORT]` or `https://HOST[:PORT]`; a lone `/` may follow.
pub(crate) fn parse(text: &str) -> Result<Upstream, String> {
    let (tls, rest) = if let Some(rest) = text.strip_prefix("http://") {
        (false, rest)
    } else if let Some(rest) = text.strip_prefix("https://") {
        (true, rest)
    } else {
        return Err("is not an upstream: write \"http://HOST:PORT\" or \"https://HOST:PORT\"".to_owned());
    };
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.contains('@') {
        return Err("holds credentials, which would be sent nowhere: write only scheme, host and port".to_owned());
    }
    if authority.contains(['/', '?', '#', '\\']) {
        return Err("has a path or query: requests keep their own, so write only scheme, host and port".to_owned());
    }
    let (host, port) = host_and_port(authority)?;
    let port = match port {
        None => default_port(tls),
        Some(digits) => port_number(digits)?,
    };
    Ok(Upstream { tls, host, port })
}

/// The URL again, with its port and without a path.
pub(crate) fn text(upstream: &Upstream) -> String {
    let scheme = if upstream.tls { "https" } else { "http" };
    let (open, close) = if upstream.host.contains(':') {
        ("[", "]")
    } else {
        ("", "")
    };
    format!("{scheme}://{open}{}{close}:{}", upstream.host, upstream.port)
}

fn default_port(tls: bool) -> u16 {
    if tls { 443 } else { 80 }
}

fn port_number(digits: &str) -> Result<u16, String> {
    let port = if digits.bytes().all(|b| b.is_ascii_digit()) {
        digits.parse().ok()
    } else {
        None
    };
    port.filter(|port| *port != 0)
        .ok_or_else(|| "has no such port: ports go from 1 to 65535".to_owned())
}

fn host_and_port(authority: &str) -> Result<(String, Option<&str>), String> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, rest) = rest
            .split_once(']')
            .ok_or_else(|| "has no `]` behind its IPv6 address".to_owned())?;
        let host: Ipv6Addr = host
            .parse()
            .map_err(|_| "has no IPv6 address between `[` and `]`".to_owned())?;
        let port = match rest {
            "" => None,
            _ => Some(
                rest.strip_prefix(':')
                    .ok_or_else(|| "has something behind `]` that is no port".to_owned())?,
            ),
        };
        return Ok((host.to_string(), port));
    }
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };
    if port.is_some_and(|port| port.contains(':')) {
        return Err("has an IPv6 address without brackets: write \"http://[::1]:8080\"".to_owned());
    }
    host_name(host).map(|host| (host, port))
}

/// A DNS name or an IPv4 address, in lower case.
fn host_name(host: &str) -> Result<String, String> {
    let host = host.to_ascii_lowercase();
    let numeric = host
        .rsplit('.')
        .next()
        .is_some_and(|last| !last.is_empty() && last.bytes().all(|b| b.is_ascii_digit()));
    if numeric {
        return match host.parse::<Ipv4Addr>() {
            Ok(_) => Ok(host),
            Err(_) => Err("has a host that looks like an IPv4 address and is none".to_owned()),
        };
    }
    check_labels(&host)?;
    Ok(host)
}

/// Whether these are the labels of a DNS name in lower case (underscores too, as container networks use them).
pub(crate) fn check_labels(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("has no host".to_owned());
    }
    if name.len() > 253 {
        return Err("has a host of more than 253 characters".to_owned());
    }
    for label in name.split('.') {
        let legal = label
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'));
        if label.is_empty() || label.len() > 63 || !legal || label.starts_with('-') || label.ends_with('-') {
            return Err(
                "has a host with an illegal label: 1 to 63 of a-z, 0-9, `-` and `_` between dots, `-` at no end \
                 (an international name in its xn-- form)"
                    .to_owned(),
            );
        }
    }
    Ok(())
}
