//! The listener: accepts connections, bounds how many there are, and lets them finish at shutdown.
//!
//! HTTP/1.1 and cleartext HTTP/2 by prior knowledge come on the one listener. Connections of gateways are counted apart, so that
//! they never keep an operator out. Knows nothing of routes. Called by the server's wiring, and by tests.

use crate::connection::{self, ConnectionHandle};
use crate::gateways::GatewayBounds;
use crate::housekeeping;
use crate::router::{ControlParts, assemble};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Most connections at once that are not a gateway's; further ones wait in the listen queue.
const CONNECTIONS_MAX: usize = 1_024;
/// The pause after a failed accept, which is mostly a want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Answers on `listener` until `shutdown`, then lets running requests finish for at most `drain_timeout`. Watching gateways are
/// sent away at once: they go elsewhere, or come back.
///
/// The tailer behind `parts` must outlive this: a change that is being made waits for it. So must the store, in which is noted
/// at the end which gateways are gone.
pub async fn serve(listener: TcpListener, parts: ControlParts, shutdown: CancellationToken, drain_timeout: Duration) {
    serve_within(GatewayBounds::default(), listener, parts, shutdown, drain_timeout).await;
}

/// [`serve`] with other bounds on gateways.
pub async fn serve_within(
    bounds: GatewayBounds,
    listener: TcpListener,
    parts: ControlParts,
    shutdown: CancellationToken,
    drain_timeout: Duration,
) {
    let (router, api) = assemble(parts, bounds, shutdown.clone());
    let tending = CancellationToken::new();
    let tended = tokio::spawn(housekeeping::tend(api, tending.clone()));
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let connections = TaskTracker::new();
    // Ends connections that outlive the drain.
    let end = CancellationToken::new();
    while let Some((stream, address, permit)) = accept(&listener, &places, &shutdown).await {
        let handle = ConnectionHandle::new(address, permit);
        connections.spawn(connection::serve(
            stream,
            handle,
            router.clone(),
            shutdown.clone(),
            end.clone(),
        ));
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(drain_timeout, connections.wait()).await.is_err() {
        tracing::warn!("control connections were cut: they did not finish in time");
        end.cancel();
    }
    tending.cancel();
    // It bounds its own end; that it panicked is in the log already.
    let _ = tended.await;
}

/// The next connection, or `None` at shutdown.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
    shutdown: &CancellationToken,
) -> Option<(TcpStream, IpAddr, OwnedSemaphorePermit)> {
    shutdown
        .run_until_cancelled(async {
            loop {
                // The semaphore is never closed.
                let Ok(permit) = Arc::clone(places).acquire_owned().await else {
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
