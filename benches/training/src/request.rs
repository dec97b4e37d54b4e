//! What clients ask: the heads and bodies that real ones send.
//!
//! Knows no connection and no key by itself. Called by [`crate::course`] and [`crate::stock`].

use crate::connection::{Body, Way};
use anyhow::Result;
use bytes::Bytes;
use futures_util::stream;
use http::request::Builder;
use http::{Method, Request};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use serde_json::Value;

/// The `User-Agent`, `Accept` and so on of different clients: of a library, of a browser, of a shell.
const CLIENTS: [&[(&str, &str)]; 3] = [
    &[
        ("user-agent", "acme-sdk/3.2.1 (linux; x64)"),
        ("accept", "application/json"),
        ("accept-encoding", "gzip, deflate, br"),
        ("x-request-start", "1790000000123"),
        ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    ],
    &[
        (
            "user-agent",
            "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
        ),
        (
            "accept",
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        ),
        ("accept-language", "en-US,en;q=0.5"),
        ("accept-encoding", "gzip, deflate, br, zstd"),
        ("referer", "https://console.example.com/users"),
        ("cookie", "session=0123456789abcdef0123456789abcdef; theme=dark"),
        ("sec-fetch-mode", "cors"),
    ],
    &[("user-agent", "curl/8.5.0"), ("accept", "*/*")],
];

/// How a body is sent.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Payload {
    /// None.
    Nothing,
    /// So many bytes, announced.
    Whole(usize),
    /// So many bytes in chunks of 4 KiB.
    Chunked(usize),
}

/// A request over `way`, as the `number`th client writes it, with the key where that client puts it.
///
/// # Errors
/// When the path is none.
pub(crate) fn with_key(
    way: Way,
    number: usize,
    path: &str,
    key: Option<&str>,
    payload: Payload,
) -> Result<Request<Body>> {
    let method = match payload {
        Payload::Nothing => Method::GET,
        Payload::Whole(_) | Payload::Chunked(_) => Method::POST,
    };
    let mut builder = to(way, method, path);
    for (name, value) in CLIENTS[number % CLIENTS.len()] {
        builder = builder.header(*name, *value);
    }
    if let Some(key) = key {
        builder = if number.is_multiple_of(8) {
            builder.header("x-api-key", key)
        } else {
            builder.header("authorization", format!("Bearer {key}"))
        };
    }
    const CHUNK: &[u8] = &[b'x'; 4096];
    Ok(match payload {
        Payload::Nothing => builder.body(whole(Bytes::new()))?,
        Payload::Whole(bytes) => builder
            .header("content-type", "application/octet-stream")
            .body(whole(Bytes::from(vec![b'x'; bytes])))?,
        Payload::Chunked(bytes) => {
            let chunks = (0..bytes.div_ceil(CHUNK.len())).map(|_| Ok(Frame::data(Bytes::from_static(CHUNK))));
            builder
                .header("content-type", "application/octet-stream")
                .body(BodyExt::boxed(StreamBody::new(stream::iter(chunks))))?
        }
    })
}

/// A call with a JSON body, or none, and a token, or none.
///
/// # Errors
/// When the path is none.
pub(crate) fn json(
    way: Way,
    method: Method,
    path: &str,
    token: Option<&str>,
    body: Option<&Value>,
) -> Result<Request<Body>> {
    let mut builder = to(way, method, path).header("content-type", "application/json");
    if let Some(token) = token {
        builder = builder.header("authorization", format!("Bearer {token}"));
    }
    let text = body.map(Value::to_string).unwrap_or_default();
    Ok(builder.body(whole(text.into()))?)
}

/// HTTP/2 names its host in the target, HTTP/1.1 in a header.
fn to(way: Way, method: Method, path: &str) -> Builder {
    let builder = Request::builder().method(method);
    match way {
        Way::TlsHttp2 => builder.uri(format!("https://localhost{path}")),
        Way::Http2 => builder.uri(format!("http://localhost{path}")),
        Way::Plain | Way::Tls | Way::Authz | Way::Control | Way::Admin => {
            builder.uri(path).header("host", "api.example.com")
        }
    }
}

fn whole(bytes: Bytes) -> Body {
    BodyExt::boxed(Full::new(bytes))
}
