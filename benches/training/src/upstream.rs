//! The API behind the gateway: answers with as many bytes as the path asks for.
//!
//! Knows nothing of keys. `/bytes/N` is answered with a `Content-Length`, `/chunks/N` in chunks, anything else with nothing.

use anyhow::Result;
use bytes::Bytes;
use futures_util::stream;
use http::{Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::net::SocketAddr;
use tokio::net::{TcpListener, TcpStream};

/// Size of one chunk.
const CHUNK_BYTES: usize = 8 * 1024;

/// Starts it for as long as the runtime lives.
///
/// # Errors
/// When no port is free.
pub(crate) async fn start() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    Ok(address)
}

async fn serve(stream: TcpStream) {
    // Whoever breaks off has nobody to tell.
    let _ = stream.set_nodelay(true);
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service_fn(answer))
        .await;
}

async fn answer(request: Request<Incoming>) -> Result<Response<BoxBody<Bytes, Infallible>>, hyper::Error> {
    let path = request.uri().path().to_owned();
    let mut body = request.into_body();
    while let Some(frame) = body.frame().await {
        frame?;
    }
    let asked = |prefix: &str| path.strip_prefix(prefix).and_then(|size| size.parse::<usize>().ok());
    let mut response = if let Some(size) = asked("/chunks/") {
        let chunk = Bytes::from(vec![b'c'; CHUNK_BYTES]);
        let chunks = (0..size.div_ceil(CHUNK_BYTES)).map(move |_| Ok(Frame::data(chunk.clone())));
        Response::new(BodyExt::boxed(StreamBody::new(stream::iter(chunks))))
    } else if let Some(size) = asked("/bytes/") {
        Response::new(BodyExt::boxed(Full::new(Bytes::from(vec![b'b'; size]))))
    } else {
        let mut empty = Response::new(BodyExt::boxed(Full::new(Bytes::new())));
        *empty.status_mut() = StatusCode::NO_CONTENT;
        empty
    };
    for (name, value) in [
        ("content-type", "application/json; charset=utf-8"),
        ("cache-control", "private, max-age=0"),
        ("etag", "\"33a64df551425fcc55e4d42a148795d9f25f89d4\""),
        ("vary", "accept-encoding"),
        ("x-runtime", "0.004211"),
    ] {
        response
            .headers_mut()
            .insert(name, http::HeaderValue::from_static(value));
    }
    Ok(response)
}
