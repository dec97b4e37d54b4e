//! `[[routes]]`: which requests go where, and whose keys open the way.
//!
//! Hosts and paths are held to the one spelling in which requests are matched, so that no route is silently dead.

use super::authz::{distinct, slugs};
use super::upstream::{self, check_labels};
use super::{DAY, HOUR, INSTANT};
use crate::fault::quoted;
use crate::reader::{Field, Reader};
use crate::scalar;
use crate::settings::{CredentialPlace, Route};
use http::HeaderName;
use portcullis_verify::PermissionExpression;
use std::collections::HashMap;
use std::net::Ipv6Addr;

pub(crate) fn read_all(field: Field<'_>) -> Option<Vec<Route>> {
    if field.is_table() {
        field.fault("is a list of tables: write [[routes]], with two brackets");
        return None;
    }
    let mut first_of = HashMap::new();
    let mut index = 0;
    field.list(|field| {
        let route = field.table(|table| read(table, &mut first_of, index));
        index += 1;
        route
    })
}

/// `first_of` holds the index of the first route of every host and path, so that one that would never be reached is found.
fn read(table: &mut Reader<'_>, first_of: &mut HashMap<(String, String), usize>, index: usize) -> Option<Route> {
    let mut route = Route::default();
    table.read("deployment", &mut route.deployment, |field| {
        field.parse(scalar::slug).map(Some)
    });
    let host_is_sound = table.read("host", &mut route.host, |field| field.parse(host));
    let path_is_sound = table.read("path", &mut route.path, |field| field.parse(path));
    if host_is_sound && path_is_sound {
        let first = *first_of
            .entry((route.host.clone(), route.path.clone()))
            .or_insert(index);
        if first != index {
            let (host, path) = (&route.host, &route.path);
            table.fault_here(format!(
                "routes[{first}] has the same host {host:?} and path {path:?}: one of them is never reached"
            ));
        }
    }
    let upstreams = table.required("upstreams", "[\"http://127.0.0.1:3000\"]", |field| {
        if field.is_empty_list() {
            field.fault("is empty: a route needs at least one upstream");
            return None;
        }
        field.list(|field| field.parse(upstream::parse))
    });
    table.read("apps", &mut route.apps, slugs);
    table.read("permissions", &mut route.permissions, |field| {
        field.list(|field| field.parse(permission))
    });
    if table.read("credentials", &mut route.credentials, credentials) && authorization_is_read_twice(&route.credentials)
    {
        table.fault(
            "credentials",
            "\"header:authorization\" takes the whole value, so with \"bearer\" or \"basic\" beside it every key \
             would be ambiguous: keep one",
        );
    }
    table.read("keep_credential", &mut route.keep_credential, |field| field.boolean());
    table.read("challenge", &mut route.challenge, |field| field.boolean());
    table.read("connect_timeout", &mut route.connect_timeout, |field| {
        field.duration(INSTANT..=HOUR)
    });
    table.read("read_timeout", &mut route.read_timeout, |field| {
        field.duration(INSTANT..=DAY)
    });
    table.read("write_timeout", &mut route.write_timeout, |field| {
        field.duration(INSTANT..=DAY)
    });
    table.read("idle_timeout", &mut route.idle_timeout, |field| {
        field.duration(INSTANT..=DAY)
    });
    table.read("upstream_ca", &mut route.upstream_ca, |field| {
        field.readable_file().map(Some)
    });
    route.upstreams = upstreams?;
    if route.upstream_ca.is_some() && !route.upstreams.iter().any(|upstream| upstream.tls) {
        table.fault("upstream_ca", "is never used: no upstream of this route is https");
    }
    Some(route)
}

/// An exact name, `*.NAME`, `*`, or an IPv6 address in brackets; lower case, without port.
fn host(text: &str) -> Result<String, String> {
    let wrong = |hint: &str| Err(format!("{} is not a host: {hint}", quoted(text)));
    if text == "*" {
        return Ok(text.to_owned());
    }
    if let Some(inner) = text.strip_prefix('[') {
        return match inner.strip_suffix(']').and_then(|inner| inner.parse::<Ipv6Addr>().ok()) {
            Some(address) if format!("[{address}]") == text => Ok(text.to_owned()),
            Some(address) => wrong(&format!("write \"[{address}]\"")),
            None => wrong("an IPv6 address stands in brackets, without port"),
        };
    }
    if text.contains(':') {
        return wrong("leave the port out; a route holds for every port");
    }
    if text.bytes().any(|b| b.is_ascii_uppercase()) {
        return wrong(&format!(
            "write it in lower case: {}",
            quoted(&text.to_ascii_lowercase())
        ));
    }
    let name = text.strip_prefix("*.").unwrap_or(text);
    if name.contains('*') {
        return wrong("`*` may only be the whole left-most label, as in \"*.example.com\"");
    }
    if name.ends_with('.') {
        return wrong("leave the last dot out");
    }
    if let Err(hint) = check_labels(name) {
        return wrong(&hint);
    }
    Ok(text.to_owned())
}

/// A path prefix with one possible spelling; without a slash at its end.
fn path(text: &str) -> Result<String, String> {
    let wrong = |hint: String| Err(format!("{} is not a route's path: {hint}", quoted(text)));
    if !text.starts_with('/') {
        return wrong(format!("it starts with a slash: {}", quoted(&format!("/{text}"))));
    }
    if text.contains('*') {
        return wrong("a path is a prefix already, leave the `*` out".to_owned());
    }
    let legal = |b: u8| b.is_ascii_alphanumeric() || b"-._~!$&'()+,=:@/".contains(&b);
    if let Some(illegal) = text.chars().find(|c| !u8::try_from(*c).is_ok_and(legal)) {
        return wrong(format!(
            "{illegal:?} cannot be in it (routes are matched on paths without percent-encoding and `;` parameters)"
        ));
    }
    let trimmed = text.strip_suffix('/').unwrap_or(text);
    let mut segments = trimmed.split('/').skip(1);
    if text != "/" && segments.clone().any(str::is_empty) {
        return wrong("an empty segment (`//`) is refused in requests, so this would match none".to_owned());
    }
    if segments.any(|segment| matches!(segment, "." | "..")) {
        return wrong("a dot segment is refused in requests, so this would match none".to_owned());
    }
    Ok(if trimmed.is_empty() {
        "/".to_owned()
    } else {
        trimmed.to_owned()
    })
}

fn permission(text: &str) -> Result<PermissionExpression, String> {
    text.parse()
        .map_err(|error| format!("{} is not a permission expression: {error}", quoted(text)))
}

fn credentials(field: Field<'_>) -> Option<Vec<CredentialPlace>> {
    if field.is_empty_list() {
        field.fault("is empty: a key must be looked for somewhere");
        return None;
    }
    distinct(
        field,
        |field| field.parse(credential),
        |place| quoted(&credential_text(place)),
    )
}

fn authorization_is_read_twice(places: &[CredentialPlace]) -> bool {
    let whole = CredentialPlace::Header("authorization".to_owned());
    places.contains(&whole)
        && places
            .iter()
            .any(|place| matches!(place, CredentialPlace::Bearer | CredentialPlace::BasicPassword))
}

fn credential(text: &str) -> Result<CredentialPlace, String> {
    match text.split_once(':') {
        None if text == "bearer" => Ok(CredentialPlace::Bearer),
        None if text == "basic" => Ok(CredentialPlace::BasicPassword),
        Some(("header", name)) => header_name(name).map(CredentialPlace::Header),
        Some(("query", name)) => parameter_name(name).map(CredentialPlace::Query),
        Some(("cookie", name)) => cookie_name(name).map(CredentialPlace::Cookie),
        _ => Err(format!(
            "{} is not a place for a key: write \"bearer\", \"basic\", \"header:NAME\", \"query:NAME\" or \"cookie:NAME\"",
            quoted(text)
        )),
    }
}

fn credential_text(place: &CredentialPlace) -> String {
    match place {
        CredentialPlace::Bearer => "bearer".to_owned(),
        CredentialPlace::BasicPassword => "basic".to_owned(),
        CredentialPlace::Header(name) => format!("header:{name}"),
        CredentialPlace::Query(name) => format!("query:{name}"),
        CredentialPlace::Cookie(name) => format!("cookie:{name}"),
    }
}

/// A header that carries nothing but a key: none that frames the message, routes it, or is the gateway's own to set.
fn header_name(text: &str) -> Result<String, String> {
    const TAKEN: [&str; 20] = [
        "accept-encoding",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "cookie",
        "date",
        "expect",
        "forwarded",
        "host",
        "keep-alive",
        "proxy-connection",
        "sec-websocket-key",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "via",
        "x-original-url",
        "x-request-id",
    ];
    let name =
        HeaderName::from_bytes(text.as_bytes()).map_err(|_| format!("{} is not a header's name", quoted(text)))?;
    // Some servers read `_` and `.` in a header's name as `-`.
    let plain = name.as_str().replace(['_', '.'], "-");
    if plain.starts_with("x-wacht-") || plain.starts_with("x-forwarded-") || plain.starts_with("x-portcullis-") {
        return Err(format!(
            "{} is set by the gateway itself, no key can be in it",
            quoted(text)
        ));
    }
    if TAKEN.contains(&plain.as_str()) {
        let hint = if plain == "cookie" {
            "; for a cookie write \"cookie:NAME\""
        } else {
            ""
        };
        return Err(format!(
            "{} has a meaning of its own, no key can be in it{hint}",
            quoted(text)
        ));
    }
    Ok(name.as_str().to_owned())
}

fn parameter_name(text: &str) -> Result<String, String> {
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
    if !text.is_empty() && text.bytes().all(legal) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "{} is not the name of a query parameter: letters, digits, `-`, `.`, `_` and `~`",
        quoted(text)
    ))
}

/// RFC 6265 §4.1.1: a cookie's name is a token.
fn cookie_name(text: &str) -> Result<String, String> {
    let legal = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if !text.is_empty() && text.bytes().all(legal) {
        return Ok(text.to_owned());
    }
    Err(format!("{} is not a cookie's name", quoted(text)))
}
