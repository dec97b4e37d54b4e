//! The admin endpoint: `/metrics`, `/healthz`, `/readyz`.
//!
//! Answers while everything else starts and drains, so that an orchestrator always hears the truth. Shows no key,
//! address or path.

use crate::wiring::Engine;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use portcullis_record::{LimitTotals, Metrics, SyncTotals};
use portcullis_verify::{Standing, Version};
use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// What the admin endpoint looks at.
pub(crate) struct Admin {
    pub(crate) metrics: Arc<Metrics>,
    /// What decides, and how it hears of changes. Set once both are built.
    shown: OnceLock<(Engine, Box<dyn Following>)>,
    /// Cancelled when a drain starts; from then on `/readyz` is 503.
    drain: CancellationToken,
}

/// How a process follows the change log.
pub(crate) trait Following: Send + Sync {
    /// How far it is.
    fn progress(&self) -> Progress;
}

/// How far a process has followed the change log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Every change up to here was applied.
    pub(crate) applied: Option<Version>,
    /// News come in now.
    pub(crate) is_following: bool,
    /// Why not, if anything is known of it.
    pub(crate) trouble: Option<String>,
    /// Times that the connection for news was made anew.
    pub(crate) reconnects: u64,
    /// Keys are still being read that it should hold from the start.
    pub(crate) is_filling: bool,
    /// Further lines for `/readyz`.
    pub(crate) notes: Vec<String>,
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
    /// An endpoint with nothing to look at yet, which turns unready at `drain`.
    pub(crate) fn new(drain: CancellationToken) -> Result<Admin, portcullis_record::MetricsError> {
        Ok(Admin {
            metrics: Arc::new(Metrics::new()?),
            shown: OnceLock::new(),
            drain,
        })
    }

    /// Shows what decides here from now on. To be called once.
    pub(crate) fn show(&self, engine: &Engine, following: Box<dyn Following>) {
        let _ = self.shown.set((engine.clone(), following));
    }

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
            return text(StatusCode::SERVICE_UNAVAILABLE, "draining\n".into());
        }
        let Some((engine, following)) = self.shown.get() else {
            return text(StatusCode::SERVICE_UNAVAILABLE, "starting\n".into());
        };
        let now = engine.clock.now();
        let progress = following.progress();
        let (status, mut told) = match (engine.freshness.staleness(now), engine.freshness.standing(now)) {
            (None, _) => (StatusCode::SERVICE_UNAVAILABLE, "starting: no news yet\n".to_owned()),
            (Some(_), Standing::TooStale) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "refusing: the last news are older than gateway.stale_max\n".to_owned(),
            ),
            (Some(_), _) if progress.is_filling => (
                StatusCode::SERVICE_UNAVAILABLE,
                "starting: not every key is held yet\n".to_owned(),
            ),
            (Some(_), Standing::Stale) => (StatusCode::OK, "ready: known keys only, for want of news\n".to_owned()),
            (Some(_), Standing::Fresh) => (StatusCode::OK, "ready\n".to_owned()),
        };
        if let Some(age) = engine.freshness.staleness(now) {
            // Writing to a string cannot fail.
            let _ = writeln!(told, "up to date {:.3} s ago", age.as_secs_f64());
        }
        if let Some(Version { epoch, revision }) = progress.applied {
            let _ = writeln!(told, "applied revision {revision} of history {epoch}");
        }
        for note in progress.notes.iter().chain(&progress.trouble) {
            let _ = writeln!(told, "{note}");
        }
        text(status, told)
    }

    fn render(&self) -> Response<Full<Bytes>> {
        if let Some((engine, following)) = self.shown.get() {
            self.metrics.observe_cache(&engine.verifier.stats());
            let limits = engine.limiter.stats();
            self.metrics.observe_limits(&LimitTotals {
                counters: limits.counters,
                counters_max: limits.counters_max,
                overflowed: limits.overflowed,
                evicted: limits.evicted,
            });
            let (now, progress) = (engine.clock.now(), following.progress());
            self.metrics.observe_sync(&SyncTotals {
                applied_revision: progress.applied.map_or(0, |version| version.revision),
                staleness: engine.freshness.staleness(now),
                standing: engine.freshness.standing(now),
                is_following: progress.is_following,
                reconnects: progress.reconnects,
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
