//! Holds the connections of the decision API: accepts them, bounds their number and their patience, drains them at the end.
//!
//! Speaks HTTP/1.1 and HTTP/2 with prior knowledge on one port; reads nothing of a request, which is [`crate::flow`]'s
//! business. Started once per process.

use crate::AuthzParts;
use crate::flow::Flow;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use portcullis_record::Surface;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

#[cfg(test)]
mod tests;

/// Most connections at once; further ones wait in the listen queue.
const CONNECTIONS_MAX: usize = 10_000;
/// Most streams of one HTTP/2 connection at once.
const STREAMS_MAX: u32 = 250;
/// Largest request head in bytes, and most fields in it.
const HEAD_BYTES_MAX: usize = 32 * 1024;
const HEAD_FIELDS_MAX: usize = 100;
/// Pause after a failed accept: the process is out of descriptors, and asking again at once would only burn a core.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long the server waits for its callers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// From the accept to the end of the first request's head.
    pub(crate) first_head: Duration,
    /// For a whole request body.
    pub(crate) body: Duration,
    /// Between two requests; at most twice this on HTTP/2.
    pub(crate) keepalive: Duration,
    /// For a peer that was told goodbye to go.
    pub(crate) goodbye: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience {
            first_head: Duration::from_secs(10),
            body: Duration::from_secs(10),
            keepalive: Duration::from_secs(60),
            goodbye: Duration::from_secs(15),
        }
    }
}

/// Answers on `listener` until `shutdown`, then finishes the requests under way, for at most `drain_timeout`.
pub async fn serve(listener: TcpListener, parts: AuthzParts, shutdown: CancellationToken, drain_timeout: Duration) {
    let server = Server::new(parts, Patience::default(), CONNECTIONS_MAX);
    server.run(listener, shutdown, drain_timeout).await;
}

/// What all connections share.
pub(crate) struct Server {
    flow: Arc<Flow>,
    protocol: Arc<auto::Builder<TokioExecutor>>,
    patience: Patience,
    places: Arc<Semaphore>,
    connections: TaskTracker,
    /// Cancelled when a drain took too long.
    cut: CancellationToken,
}

impl Server {
    pub(crate) fn new(parts: AuthzParts, patience: Patience, connections_max: usize) -> Server {
        Server {
            flow: Arc::new(Flow::new(parts, patience.body)),
            protocol: Arc::new(protocol(patience)),
            patience,
            places: Arc::new(Semaphore::new(connections_max)),
            connections: TaskTracker::new(),
            cut: CancellationToken::new(),
        }
    }

    pub(crate) async fn run(self, listener: TcpListener, shutdown: CancellationToken, drain_timeout: Duration) {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = self.accept(&listener, &shutdown) => {}
        }
        // New connections are refused from here on, not left waiting.
        drop(listener);
        self.connections.close();
        if timeout(drain_timeout, self.connections.wait()).await.is_err() {
            tracing::warn!(
                connections = self.connections.len(),
                "the decision API cuts what did not end in time"
            );
            self.cut.cancel();
            self.connections.wait().await;
        }
    }

    async fn accept(&self, listener: &TcpListener, shutdown: &CancellationToken) {
        // The semaphore is never closed, so the loop ends only with the task that runs it.
        while let Ok(place) = Arc::clone(&self.places).acquire_owned().await {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    let connection = self.connection(stream, peer, shutdown.clone());
                    self.connections.spawn(async move {
                        connection.await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "the decision API cannot accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Serves one connection to its end.
    fn connection(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        shutdown: CancellationToken,
    ) -> impl Future<Output = ()> + Send + use<> {
        let (flow, protocol, patience) = (Arc::clone(&self.flow), Arc::clone(&self.protocol), self.patience);
        let cut = self.cut.clone();
        async move {
            let _counted = flow.metrics().connection(Surface::Authz);
            // Answers are small and whole; a socket that refuses the option still works.
            let _refused = stream.set_nodelay(true);
            let activity = Arc::new(Activity::default());
            let service = service_fn(|request| {
                let (flow, busy) = (Arc::clone(&flow), Busy::new(&activity));
                async move {
                    let answer = flow.answer(peer.ip(), request).await;
                    drop(busy);
                    Ok::<_, Infallible>(answer)
                }
            });
            let mut connection = std::pin::pin!(protocol.serve_connection(TokioIo::new(stream), service));
            let told_goodbye = tokio::select! {
                _ended = connection.as_mut() => false,
                () = cut.cancelled() => false,
                () = activity.no_first_request(patience) => false,
                () = activity.idle(patience) => true,
                () = shutdown.cancelled() => true,
            };
            if told_goodbye {
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    _ended = connection.as_mut() => {}
                    () = cut.cancelled() => {}
                    () = activity.gone(patience) => {}
                }
            }
        }
    }
}

/// Settings of both protocols.
fn protocol(patience: Patience) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        // Runs from the end of the last request, so that it bounds an idle connection and a slow head alike.
        .header_read_timeout(patience.keepalive)
        .max_headers(HEAD_FIELDS_MAX)
        .max_buf_size(HEAD_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(u32::try_from(HEAD_BYTES_MAX).unwrap_or(u32::MAX))
        // Finds peers that vanished without closing.
        .keep_alive_interval(patience.keepalive)
        .keep_alive_timeout(patience.goodbye);
    builder
}

/// What a connection has done, to tell an idle one from a busy one.
#[derive(Debug, Default)]
struct Activity {
    begun: AtomicUsize,
    under_way: AtomicUsize,
}

impl Activity {
    /// Ends when the peer sent no whole request head in time; never, if it did.
    async fn no_first_request(&self, patience: Patience) {
        sleep(patience.first_head).await;
        if self.begun.load(Ordering::Acquire) > 0 {
            std::future::pending::<()>().await;
        }
    }

    /// Ends when nothing was asked for as long as a connection is kept.
    async fn idle(&self, patience: Patience) {
        loop {
            let begun = self.begun.load(Ordering::Acquire);
            sleep(patience.keepalive).await;
            if self.under_way.load(Ordering::Acquire) == 0 && self.begun.load(Ordering::Acquire) == begun {
                return;
            }
        }
    }

    /// Ends when a peer that was told goodbye had its time and has no request under way.
    async fn gone(&self, patience: Patience) {
        loop {
            sleep(patience.goodbye).await;
            if self.under_way.load(Ordering::Acquire) == 0 {
                return;
            }
        }
    }
}

/// A request under way on a connection, until it is dropped.
struct Busy(Arc<Activity>);

impl Busy {
    fn new(activity: &Arc<Activity>) -> Busy {
        activity.begun.fetch_add(1, Ordering::AcqRel);
        activity.under_way.fetch_add(1, Ordering::AcqRel);
        Busy(Arc::clone(activity))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::AcqRel);
    }
}
