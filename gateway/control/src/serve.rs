//! The listener: accepts connections, bounds them, and lets them finish at shutdown.
//!
//! HTTP/1.1 only: every known client speaks it, and what is not offered cannot be attacked. Knows nothing of routes. Called by
//! the server's wiring, and by tests.

use crate::router::{ControlParts, router};
use axum::Router;
use axum::response::Response;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// Most connections at once; further ones wait in the listen queue.
const CONNECTIONS_MAX: usize = 1_024;
/// How long a request's head may take, and how long an idle connection is kept.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest request head.
const HEADER_BYTES_MAX: usize = 32 * 1_024;
/// Most header fields.
const HEADER_COUNT_MAX: usize = 100;
/// The pause after a failed accept, which is mostly a want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Where a request's connection comes from. A request extension.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PeerAddress(pub(crate) IpAddr);

impl PeerAddress {
    /// Stands for every peer of a router that is not served by [`serve`].
    pub(crate) const UNKNOWN: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
}

/// Answers on `listener` until `shutdown`, then lets running requests finish for at most `drain_timeout`.
///
/// The tailer behind `parts` must outlive this: a change that is being made waits for it.
pub async fn serve(listener: TcpListener, parts: ControlParts, shutdown: CancellationToken, drain_timeout: Duration) {
    let router = router(parts);
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let graceful = GracefulShutdown::new();
    // Ends connections that outlive the drain.
    let cut = CancellationToken::new();
    while let Some((stream, address, permit)) = accept(&listener, &connections, &shutdown).await {
        let connection = graceful.watch(connection(stream, address, router.clone()));
        let cut = cut.clone();
        tokio::spawn(async move {
            let _permit = permit;
            // A connection that breaks is its peer's business; what a request did is in its own log line.
            let _ = cut.run_until_cancelled(connection).await;
        });
    }
    drop(listener);
    if tokio::time::timeout(drain_timeout, graceful.shutdown()).await.is_err() {
        tracing::warn!("control connections were cut: they did not finish in time");
        cut.cancel();
    }
}

/// The next connection, or `None` at shutdown.
async fn accept(
    listener: &TcpListener,
    connections: &Arc<Semaphore>,
    shutdown: &CancellationToken,
) -> Option<(TcpStream, IpAddr, OwnedSemaphorePermit)> {
    shutdown
        .run_until_cancelled(async {
            loop {
                // The semaphore is never closed.
                let Ok(permit) = Arc::clone(connections).acquire_owned().await else {
                    return None;
                };
                match listener.accept().await {
                    Ok((stream, peer)) => return Some((stream, peer.ip().to_canonical(), permit)),
                    Err(error) => {
                        tracing::warn!(%error, "a control connection could not be accepted");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        })
        .await
        .flatten()
}

/// One connection, not yet driven.
fn connection(
    stream: TcpStream,
    address: IpAddr,
    router: Router,
) -> http1::Connection<
    TokioIo<TcpStream>,
    impl Service<Request<Incoming>, Response = Response, Error = Infallible, Future: Send + 'static>,
> {
    // Small answers are not held back for more to send; a socket that refuses this still works.
    let _ = stream.set_nodelay(true);
    let router = TowerToHyperService::new(router);
    let with_peer = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(PeerAddress(address));
        router.call(request)
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HEADER_BYTES_MAX)
        .max_headers(HEADER_COUNT_MAX)
        .serve_connection(TokioIo::new(stream), with_peer)
}
