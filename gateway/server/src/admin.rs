//! The admin endpoint: `/metrics`, `/healthz`, `/readyz`.
//!
//! Answers while everything else starts and drains, so that an orchestrator always hears the truth. Shows no key,
//! address or path.

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use portcullis_limits::LocalLimiter;
use portcullis_record::{LimitTotals, Metrics};
use portcullis_verify::Verifier;
use std::convert::Infallible;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// What the admin endpoint looks at.
pub(crate) struct Admin {
    pub(crate) metrics: Arc<Metrics>,
    /// Set once the first synchronisation is done; until then `/readyz` is 503.
    pub(crate) engine: OnceLock<(Arc<Verifier>, Arc<LocalLimiter>)>,
    /// Cancelled when a drain starts; from then on `/readyz` is 503.
    pub(crate) drain: CancellationToken,
}

/// Serves until `stop`.
pub(crate) async fn serve(listener: TcpListener, admin: Arc<Admin>, stop: CancellationToken) {
    loop {
        let stream = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "the admin endpoint cannot accept");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        let admin = Arc::clone(&admin);
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let admin = Arc::clone(&admin);
                async move { Ok::<_, Infallible>(admin.answer(&request)) }
            });
            // A scraper that breaks off has nobody to tell.
            let _ = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(Duration::from_secs(10))
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

impl Admin {
    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return text(StatusCode::METHOD_NOT_ALLOWED, "only GET is answered here\n".into());
        }
        match request.uri().path() {
            "/healthz" => text(StatusCode::OK, "ok\n".into()),
            "/readyz" => self.ready(),
            "/metrics" => self.render(),
            _ => text(
                StatusCode::NOT_FOUND,
                "here are /metrics, /healthz and /readyz\n".into(),
            ),
        }
    }

    fn ready(&self) -> Response<Full<Bytes>> {
        if self.drain.is_cancelled() {
            text(StatusCode::SERVICE_UNAVAILABLE, "draining\n".into())
        } else if self.engine.get().is_none() {
            text(
                StatusCode::SERVICE_UNAVAILABLE,
                "starting: the first synchronisation is not done\n".into(),
            )
        } else {
            text(StatusCode::OK, "ready\n".into())
        }
    }

    fn render(&self) -> Response<Full<Bytes>> {
        if let Some((verifier, limiter)) = self.engine.get() {
            self.metrics.observe_cache(&verifier.stats());
            let limits = limiter.stats();
            self.metrics.observe_limits(&LimitTotals {
                counters: limits.counters,
                counters_max: limits.counters_max,
                overflowed: limits.overflowed,
                evicted: limits.evicted,
            });
        }
        match self.metrics.render() {
            Ok(metrics) => {
                let mut response = text(StatusCode::OK, metrics);
                response.headers_mut().insert(
                    header::CONTENT_TYPE,
                    http::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"),
                );
                response
            }
            Err(error) => text(
                StatusCode::INTERNAL_SERVER_ERROR,
                format!("metrics cannot be rendered: {error}\n"),
            ),
        }
    }
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        http::HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}
