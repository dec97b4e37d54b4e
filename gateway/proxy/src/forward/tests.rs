use super::{dashed, is_foreign, let_go_of_buffer, remove_hop_by_hop};
use bytes::Bytes;
use http::HeaderValue;
use pingora_http::ResponseHeader;

#[test]
fn foreign_headers_are_known_in_every_spelling() {
    let check = |name: &str, from_stranger: bool, from_trusted: bool| {
        assert_eq!(is_foreign(name, false), from_stranger, "{name} from a stranger");
        assert_eq!(is_foreign(name, true), from_trusted, "{name} from a trusted peer");
    };
    check("x-wacht-key-id", true, true);
    check("x_wacht_key_id", true, true);
    check("x.wacht.key", true, true);
    check("x-forwarded-for", true, false);
    check("x-forwarded-prefix", true, false);
    check("forwarded", true, false);
    check("x-real-ip", true, false);
    check("x-rewrite-url", true, false);
    check("x_forwarded_for", true, true);
    check("x-forwarded_for", true, true);
    check("x.real.ip", true, true);
    check("content-type", false, false);
    check("my_header", false, false);
    check("x-request-id", false, false);
    check("x_request_id", true, true);
    check("content-length", false, false);
    check("content_length", true, true);
    check("transfer_encoding", true, true);
    check("x-forward", false, false);
}

#[test]
fn every_separator_is_a_dash() {
    assert_eq!(dashed("x_forwarded.for!x"), "x-forwarded-for-x");
}

#[test]
fn a_response_keeps_its_framing() {
    let check = |status: u16, fields: &[(&'static str, &str)], left: &[&str]| {
        let mut response = ResponseHeader::build(status, None).unwrap();
        for (name, value) in fields {
            response.append_header(*name, *value).unwrap();
        }
        remove_hop_by_hop(&mut response);
        let names: Vec<&str> = response.headers.keys().map(http::HeaderName::as_str).collect();
        assert_eq!(names, left, "{fields:?}");
    };
    check(
        200,
        &[("Connection", "close, x-a"), ("X-A", "1"), ("X-B", "1")],
        &["x-b"],
    );
    check(
        200,
        &[("Connection", "transfer-encoding"), ("Transfer-Encoding", "chunked")],
        &["transfer-encoding"],
    );
    check(
        200,
        &[("Connection", "content-length"), ("Content-Length", "1")],
        &["content-length"],
    );
    check(
        200,
        &[("Keep-Alive", "timeout=5"), ("Trailer", "x"), ("Upgrade", "h2c")],
        &[],
    );
    check(
        101,
        &[("Connection", "Upgrade"), ("Upgrade", "websocket")],
        &["connection", "upgrade"],
    );
}

#[test]
fn a_response_over_http2_holds_no_part_of_the_buffer_that_it_came_in() {
    let buffer = Bytes::from(b"a=1 b=2 text/plain".to_vec());
    let expected = [
        ("set-cookie", "a=1"),
        ("set-cookie", "b=2"),
        ("content-type", "text/plain"),
    ];
    let mut response = ResponseHeader::build(200, None).unwrap();
    for ((name, _), part) in expected.iter().zip([0..3, 4..7, 8..18]) {
        let value = HeaderValue::from_maybe_shared(buffer.slice(part)).unwrap();
        response.append_header(*name, value).unwrap();
    }
    assert!(!buffer.is_unique());
    let_go_of_buffer(&mut response).unwrap();
    assert!(buffer.is_unique());
    let fields = response.headers.iter();
    let fields: Vec<_> = fields
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
        .collect();
    assert_eq!(fields, expected);
}
