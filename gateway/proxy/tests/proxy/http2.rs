//! HTTP/2 by the frame: streams that no well-behaved client would open reach the upstream in one reading, or not at all.

use crate::gateway::{Gateway, start_with};
use crate::upstream::{Upstream, upstream};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// How a stream ended.
#[derive(Debug, PartialEq, Eq)]
enum Ending {
    /// With the upstream's answer.
    Served,
    /// With a refusal of ours, for this reason.
    Refused(String),
    /// Without a body: refused below every hook, reset, or with the whole connection.
    Cut,
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Header fields as HPACK literals without indexing (RFC 7541 §6.2.2), so that they go out exactly as they are written.
fn literals(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            let mut length = text.len();
            if length < 127 {
                block.push(u8::try_from(length).unwrap());
            } else {
                block.push(127);
                length -= 127;
                while length >= 128 {
                    block.push(u8::try_from(length % 128).unwrap() | 128);
                    length /= 128;
                }
                block.push(u8::try_from(length).unwrap());
            }
            block.extend(text.as_bytes());
        }
    }
    block
}

/// Opens one connection with one stream and waits for its end.
async fn stream(gateway: &Gateway, fields: &[(&str, &str)], body: Option<&str>, trailers: &[(&str, &str)]) -> Ending {
    let mut connection = TcpStream::connect(gateway.address).await.unwrap();
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(SETTINGS, 0, 0, &[]));
    let last = |is_last: bool| if is_last { END_STREAM } else { 0 };
    let head_is_last = body.is_none() && trailers.is_empty();
    bytes.extend(frame(HEADERS, END_HEADERS | last(head_is_last), 1, &literals(fields)));
    if let Some(body) = body {
        bytes.extend(frame(DATA, last(trailers.is_empty()), 1, body.as_bytes()));
    }
    if !trailers.is_empty() {
        bytes.extend(frame(HEADERS, END_HEADERS | END_STREAM, 1, &literals(trailers)));
    }
    connection.write_all(&bytes).await.unwrap();
    tokio::time::timeout(Duration::from_secs(10), ending(&mut connection))
        .await
        .expect("an ending in time")
}

async fn ending(connection: &mut TcpStream) -> Ending {
    let mut body = Vec::new();
    loop {
        let mut head = [0; 9];
        if connection.read_exact(&mut head).await.is_err() {
            return Ending::Cut;
        }
        let [high, middle, low, kind, flags, ..] = head;
        let mut payload = vec![0; usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low)];
        connection.read_exact(&mut payload).await.unwrap();
        match kind {
            RESET | GOAWAY => return Ending::Cut,
            DATA => body.extend(payload),
            _ => {}
        }
        if matches!(kind, HEADERS | DATA) && flags & END_STREAM != 0 {
            if body == b"ok" {
                return Ending::Served;
            }
            let Ok(refusal) = serde_json::from_slice::<serde_json::Value>(&body) else {
                return Ending::Cut;
            };
            return Ending::Refused(refusal["reason"].as_str().unwrap().to_owned());
        }
    }
}

async fn gateway() -> (Gateway, Upstream) {
    let upstream = upstream().await;
    let gateway = start_with(&[upstream.address], |setup| setup.gateway.listen[0].h2c = true).await;
    (gateway, upstream)
}

const METHOD: (&str, &str) = (":method", "POST");
const SCHEME: (&str, &str) = (":scheme", "http");
const PATH: (&str, &str) = (":path", "/a?b=1");
const AUTHORITY: (&str, &str) = (":authority", "example.com");

#[tokio::test]
async fn streams_that_could_be_read_two_ways_never_reach_the_upstream() {
    let (gateway, upstream) = gateway().await;
    let bearer = format!("Bearer {}", gateway.key);
    let key = ("authorization", bearer.as_str());
    let refused = |reason: &str| Ending::Refused(reason.to_owned());
    let check = async |fields: &[(&str, &str)], expected: Ending| {
        assert_eq!(stream(&gateway, fields, None, &[]).await, expected, "{fields:?}");
        assert!(upstream.requests().is_empty(), "{fields:?}");
    };
    let with = |more: &[(&'static str, &'static str)]| [&[METHOD, SCHEME, PATH, AUTHORITY, key], more].concat();
    // Who is asked.
    check(&with(&[("host", "other.example")]), Ending::Cut).await;
    check(&[METHOD, SCHEME, PATH, key], Ending::Cut).await;
    check(&[METHOD, SCHEME, PATH, ("host", "a"), ("host", "a"), key], Ending::Cut).await;
    check(&[METHOD, SCHEME, PATH, (":authority", "user@a"), key], Ending::Cut).await;
    check(&[METHOD, SCHEME, PATH, (":authority", ""), key], Ending::Cut).await;
    // What is asked for.
    for path in ["", "a", "/a b", "/a\r\nX-A: b"] {
        check(&[METHOD, SCHEME, (":path", path), AUTHORITY, key], Ending::Cut).await;
    }
    for path in ["*", "//admin", "/a/../b", "/a%2Fb", "/\u{e4}"] {
        check(
            &[METHOD, SCHEME, (":path", path), AUTHORITY, key],
            refused("bad_request"),
        )
        .await;
    }
    check(&[METHOD, SCHEME, PATH, (":path", "/b"), AUTHORITY, key], Ending::Cut).await;
    check(&[METHOD, SCHEME, PATH, key, AUTHORITY], Ending::Cut).await;
    check(&[(":method", "CONNECT"), AUTHORITY, key], Ending::Cut).await;
    check(
        &[(":method", "TRACE"), SCHEME, PATH, AUTHORITY, key],
        refused("bad_request"),
    )
    .await;
    // Fields of a connection, and names and values that would be lines of their own in HTTP/1.1.
    for field in [
        ("connection", "x-wacht-key-id"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "websocket"),
        ("keep-alive", "5"),
        ("te", "gzip"),
        ("X-Upper", "1"),
        ("x-a", "b\r\nX-Wacht-Key-ID: 1"),
        ("x-a: b\r\nx-b", "c"),
        ("x-a ", "b"),
        ("content-length", "+2"),
        ("content-length", "5"),
    ] {
        check(&with(&[field]), Ending::Cut).await;
    }
    check(
        &with(&[("content-length", "0"), ("content-length", "0")]),
        refused("bad_request"),
    )
    .await;
    // Who asks.
    check(&[METHOD, SCHEME, PATH, AUTHORITY], refused("key_missing")).await;
    check(&with(&[("x-api-key", "other")]), refused("ambiguous_credentials")).await;
}

#[tokio::test]
async fn a_body_is_as_long_as_its_stream_says_or_none() {
    let (gateway, upstream) = gateway().await;
    let bearer = format!("Bearer {}", gateway.key);
    for (length, body) in [("5", "hi"), ("1", "hello")] {
        let fields = [
            METHOD,
            SCHEME,
            PATH,
            AUTHORITY,
            ("authorization", &bearer),
            ("content-length", length),
        ];
        assert_eq!(stream(&gateway, &fields, Some(body), &[]).await, Ending::Cut);
    }
    assert!(upstream.requests().is_empty(), "no whole request arrives");
}

#[tokio::test]
async fn crumbs_of_a_cookie_are_one_field_again_and_trailers_tell_nothing() {
    let upstream = upstream().await;
    let gateway = start_with(&[upstream.address], |setup| {
        setup.gateway.listen[0].h2c = true;
        setup.routes[0].credentials = vec![portcullis_config::settings::CredentialPlace::Cookie(
            "session".to_owned(),
        )];
    })
    .await;
    let session = format!("session={}", gateway.key);
    let fields = [
        METHOD,
        SCHEME,
        PATH,
        AUTHORITY,
        ("host", "example.com"),
        ("cookie", "a=1"),
        ("cookie", session.as_str()),
        ("cookie", "b=2"),
        ("x_wacht_key_id", "forged"),
    ];
    let trailers = [("x-wacht-key-id", "forged"), ("x-api-key", "forged")];
    assert_eq!(stream(&gateway, &fields, Some("body"), &trailers).await, Ending::Served);
    let received = upstream.only();
    assert_eq!(received.line(), "POST /a?b=1 HTTP/1.1");
    assert_eq!(received.body, b"body");
    let cookies: Vec<&str> = received
        .head
        .lines()
        .filter(|line| line.to_lowercase().starts_with("cookie:"))
        .collect();
    assert_eq!(cookies, ["cookie: a=1; b=2"]);
    assert!(
        !received.head.contains("forged") && !received.head.contains(&gateway.key),
        "{}",
        received.head
    );
    assert_eq!(received.header("x-wacht-key-id").as_deref(), Some("1"));
}

#[tokio::test]
async fn too_many_fields_and_too_long_targets_are_refused() {
    let (gateway, upstream) = gateway().await;
    let bearer = format!("Bearer {}", gateway.key);
    let key = [("authorization", bearer.as_str())];
    let long = format!("/{}", "a".repeat(9000));
    let many = vec![("x-a", "b"); 150];
    let check = async |more: &[(&str, &str)], reason: &str| {
        let fields = [&[METHOD, SCHEME, AUTHORITY], more, &key].concat();
        assert_eq!(
            stream(&gateway, &fields, None, &[]).await,
            Ending::Refused(reason.to_owned())
        );
    };
    check(&[(":path", &long)], "uri_too_long").await;
    check(&[&[PATH][..], &many].concat(), "header_too_large").await;
    assert!(upstream.requests().is_empty());
}
