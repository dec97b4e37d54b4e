//! What surrounds every exchange: an id, a time limit, a net under panics, headers, one log line.
//!
//! Knows neither routes nor bodies. The log line names the route's pattern, never the path, a header or a body: any of them
//! may hold a secret. Which app and key a change was about is noted by [`crate::change`]: names that the store gave.

use crate::body::BodyPending;
use crate::error::ApiError;
use crate::error_code::ErrorCode;
use crate::router::Api;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt as _;
use http::{HeaderName, HeaderValue, StatusCode, Version, header};
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tracing::Instrument as _;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Characters of request ids; 32 of them, none easily mistaken for another.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
const REQUEST_ID_CHARS: usize = 26;

/// Says, to whoever limits a request's time, that all is done and only a wait that the caller asked for is left, which has its own
/// end. A request extension.
#[derive(Debug, Clone, Default)]
pub(crate) struct Patience(Arc<AtomicBool>);

impl Patience {
    /// The wait begins.
    pub(crate) fn begin(&self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Runs one exchange.
pub(crate) async fn around(State(api): State<Api>, mut request: Request, next: Next) -> Response {
    let id = request_id();
    let span = tracing::info_span!(
        "control",
        request_id = id.to_str().unwrap_or_default(),
        deployment = tracing::field::Empty,
        app = tracing::field::Empty,
        key_id = tracing::field::Empty,
        rotated_from = tracing::field::Empty,
        scheme = tracing::field::Empty,
        token_id = tracing::field::Empty
    );
    let pending = BodyPending::default();
    request.extensions_mut().insert(pending.clone());
    let patience = Patience::default();
    request.extensions_mut().insert(patience.clone());
    let is_gateways = request.uri().path().starts_with("/gateway/");
    let is_http_1 = request.version() < Version::HTTP_2;
    let method = request.method().clone();
    let started_us = api.clock().now().monotonic_us;

    let exchange = async {
        let mut running = pin!(AssertUnwindSafe(next.run(request)).catch_unwind());
        let ended = match tokio::time::timeout(api.request_timeout(), running.as_mut()).await {
            Err(_) if patience.0.load(Ordering::Acquire) => Ok(running.await),
            ended => ended,
        };
        let response = match ended {
            Ok(Ok(response)) => response,
            Ok(Err(_)) => ApiError::Internal("a handler panicked").into_response(),
            Err(_) if pending.is_pending() => {
                ApiError::refused(ErrorCode::BodyTooSlow, "The body did not arrive in time.").into_response()
            }
            Err(_) => {
                let message = "The request took too long; whether it changed anything is not known.";
                ApiError::refused(ErrorCode::TooSlow, message).into_response()
            }
        };
        let elapsed_us = api.clock().now().monotonic_us.saturating_sub(started_us);
        let route = response
            .extensions()
            .get::<Route>()
            .map_or("none", |Route(matched)| matched.as_str());
        let status = response.status().as_u16();
        let code = response.extensions().get::<ErrorCode>().map(|code| code.number());
        // Gateways ask all the time.
        if method.is_safe() || is_gateways {
            tracing::debug!(%method, route, status, code, elapsed_us, "answered");
        } else {
            tracing::info!(%method, route, status, code, elapsed_us, "answered");
        }
        response
    };
    let mut response = exchange.instrument(span).await;
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, id);
    // Answers hold secrets and change under a cache's feet.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if is_http_1 && response.status() == StatusCode::REQUEST_TIMEOUT {
        // The rest of the body may still come; it must not be read as the next request.
        response
            .headers_mut()
            .insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// The pattern of the route that answered. A response extension.
#[derive(Debug, Clone)]
struct Route(MatchedPath);

/// Notes, inside the router, which route answers.
pub(crate) async fn note_route(matched: MatchedPath, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    response.extensions_mut().insert(Route(matched));
    response
}

/// A new id: 130 random bits, or a fixed text where the operating system has none to give; an id protects nothing.
fn request_id() -> HeaderValue {
    let mut random = [0_u8; REQUEST_ID_CHARS];
    if getrandom::fill(&mut random).is_err() {
        return HeaderValue::from_static("unavailable");
    }
    let id = random.map(|byte| ALPHABET[usize::from(byte % 32)]);
    HeaderValue::from_bytes(&id).unwrap_or_else(|_| HeaderValue::from_static("unavailable"))
}
