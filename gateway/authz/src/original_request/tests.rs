use super::*;
use http::{HeaderName, HeaderValue};

fn headers(lines: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(
            name.parse::<HeaderName>().unwrap(),
            HeaderValue::from_bytes(value.as_bytes()).unwrap(),
        );
    }
    headers
}

fn check(lines: &[(&str, &str)], expect: Option<(&str, &str)>) {
    let headers = headers(lines);
    let original = read(&headers, &Method::HEAD);
    let found = original
        .as_ref()
        .ok()
        .map(|original| (original.method.as_str(), original.path.as_str()));
    assert_eq!(found, expect, "{lines:?}");
    if let Err(refusal) = original {
        assert_eq!((refusal.status.as_u16(), refusal.reason), (400, "bad_request"));
    }
}

#[test]
fn every_proxy_in_use_is_understood() {
    // Traefik and Caddy.
    check(
        &[
            ("x-forwarded-method", "POST"),
            ("x-forwarded-uri", "/v1/x?y=/../z"),
            ("x-forwarded-host", "h"),
        ],
        Some(("POST", "/v1/x")),
    );
    // ingress-nginx.
    check(
        &[
            ("x-original-method", "PUT"),
            ("x-original-url", "https://h:8443/v1/x?y"),
        ],
        Some(("PUT", "/v1/x")),
    );
    // nginx by its manual, which says nothing of the method.
    check(&[("x-original-uri", "/v1/x")], Some(("HEAD", "/v1/x")));
}

#[test]
fn targets_come_in_two_forms() {
    for (target, path) in [
        ("/", "/"),
        ("/?x", "/"),
        ("/v1/x?", "/v1/x"),
        ("/v1/%61", "/v1/a"),
        ("http://h", "/"),
        ("http://h?x=/y", "/"),
        ("HTTP://h/v1/x", "/v1/x"),
        ("http://[::1]:80/v1/x", "/v1/x"),
    ] {
        check(&[("x-original-url", target)], Some(("HEAD", path)));
        check(&[("x-forwarded-uri", target)], Some(("HEAD", path)));
    }
    for target in [
        "",
        "v1/x",
        "?x",
        "*",
        "ftp://h/v1/x",
        "http:///v1/x",
        "http://user@h/v1/x",
        "http://h\\@evil/v1/x",
        "http://h#/v1/x",
        "//h/v1/x",
        "/v1//x",
        "/v1/../x",
        "/v1/%2e%2e/x",
        "/v1/x#y",
        "http://h//v1",
        "http://hhttp://h/v1",
        "/é",
    ] {
        check(&[("x-original-url", target)], None);
        check(&[("x-forwarded-uri", target)], None);
    }
}

#[test]
fn without_a_target_there_is_no_question() {
    check(&[], None);
    check(&[("x-forwarded-method", "GET"), ("x-forwarded-host", "h")], None);
}

/// A client can send what its proxy does not overwrite: only agreement counts.
#[test]
fn a_client_cannot_slip_in_another_target() {
    check(
        &[("x-original-url", "http://h/admin"), ("x-forwarded-uri", "/public")],
        None,
    );
    check(&[("x-forwarded-uri", "/admin"), ("x-original-uri", "/public")], None);
    check(&[("x-forwarded-uri", "/admin"), ("x-forwarded-uri", "/public")], None);
    check(
        &[
            ("x-original-url", "http://h/admin"),
            ("x-original-url", "http://h/public"),
        ],
        None,
    );
    check(
        &[("x-forwarded-uri", "/a"), ("x-original-url", "http://h/a?x")],
        Some(("HEAD", "/a")),
    );
    check(&[("x-forwarded-uri", "/a"), ("x-original-uri", "nonsense")], None);
    check(
        &[
            ("x-forwarded-uri", "/a"),
            ("x-forwarded-method", "GET"),
            ("x-original-method", "POST"),
        ],
        None,
    );
    check(&[("x-forwarded-uri", "/a"), ("x-forwarded-method", "G T")], None);
    check(&[("x-forwarded-uri", "/a"), ("x-forwarded-method", "")], None);
}
