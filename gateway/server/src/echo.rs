//! `portcullis echo`: an upstream that answers with the request it received, as JSON.
//!
//! For the quickstart, tests and benches; it checks nothing and should not face anybody.

use anyhow::Context;
use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde::Serialize;
use std::convert::Infallible;
use std::io::Write;
use std::net::SocketAddr;
use tokio::net::TcpListener;

/// Longest body that is read and shown.
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// What the echo saw.
#[derive(Serialize)]
struct Seen<'a> {
    method: &'a str,
    /// Path and query, byte for byte.
    target: String,
    version: String,
    /// Every header line, in order, repeats included.
    headers: Vec<(&'a str, String)>,
    /// The body as text; bytes that are not UTF-8 are replaced.
    body: String,
    body_bytes: usize,
}

/// Serves until the process ends.
pub(crate) async fn run(listen: SocketAddr) -> anyhow::Result<()> {
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("cannot listen on {listen}"))?;
    let address = listener.local_addr()?;
    writeln!(std::io::stdout(), "echo listening on http://{address}")?;
    loop {
        let (stream, _) = match listener.accept().await {
            Ok(accepted) => accepted,
            // Out of descriptors, or the client left already: the next accept may work.
            Err(_) => {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        tokio::spawn(async move {
            let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
            // A client that breaks off has nobody to tell.
            let _ = builder
                .serve_connection_with_upgrades(TokioIo::new(stream), service_fn(answer))
                .await;
        });
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = match Limited::new(body, BODY_BYTES_MAX).collect().await {
        Ok(collected) => collected.to_bytes(),
        Err(_) => {
            return Ok(reply(
                413,
                Bytes::from_static(b"{\"message\":\"the echo reads at most 1 MiB\"}"),
            ));
        }
    };
    let seen = Seen {
        method: head.method.as_str(),
        target: head
            .uri
            .path_and_query()
            .map_or_else(|| head.uri.to_string(), ToString::to_string),
        version: format!("{:?}", head.version),
        headers: head
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect(),
        body: String::from_utf8_lossy(&body).into_owned(),
        body_bytes: body.len(),
    };
    Ok(match serde_json::to_vec(&seen) {
        Ok(json) => reply(200, json.into()),
        Err(error) => reply(500, error.to_string().into()),
    })
}

fn reply(status: u16, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or(http::StatusCode::OK);
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    response
}
