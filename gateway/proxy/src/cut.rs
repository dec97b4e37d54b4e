//! Ends one exchange from outside, whatever it waits for.
//!
//! pingora has no handle for that: the future that serves the exchange is dropped. Its client's connection is closed then or, in
//! HTTP/2, its stream is reset and the connection's other streams go on. Knows no reason to do so; [`crate::watchlist`] does.

use crate::flow::Flow;
use pingora_core::apps::{HttpServerApp, ReusedHttpStream};
use pingora_core::protocols::http::ServerSession;
use pingora_core::server::ShutdownWatch;
use pingora_proxy::HttpProxy;
use portcullis_record::Metrics;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Notify;

tokio::task_local! {
    /// The cut of the exchange that this task serves. pingora makes the exchange itself, without a way to hand it anything.
    static CUT: Arc<Cut>;
}

/// The end of one exchange, to be made by somebody else.
#[derive(Debug, Default)]
pub(crate) struct Cut {
    is_made: AtomicBool,
    made: Notify,
    client_left: AtomicBool,
}

impl Cut {
    /// The one of the exchange that is being served; outside of any, one that ends nothing.
    pub(crate) fn of_this_exchange() -> Arc<Cut> {
        CUT.try_with(Arc::clone).unwrap_or_default()
    }

    /// Ends the exchange, if it has not ended yet.
    pub(crate) fn make(&self) {
        self.is_made.store(true, Ordering::Release);
        // Kept for an exchange that does not wait yet.
        self.made.notify_one();
    }

    /// Notes that the client left before it was answered.
    pub(crate) fn note_client_left(&self) {
        self.client_left.store(true, Ordering::Release);
    }

    /// Whether the client left before it was answered.
    pub(crate) fn client_left(&self) -> bool {
        self.client_left.load(Ordering::Acquire)
    }

    /// Waits until somebody ends the exchange. For one who waits.
    pub(crate) async fn until_made(&self) {
        self.made.notified().await;
    }

    /// Whether somebody ended the exchange.
    pub(crate) fn is_made(&self) -> bool {
        self.is_made.load(Ordering::Acquire)
    }
}

/// Serves exchanges that can be cut.
pub(crate) struct CuttableProxy {
    /// The exchanges' way.
    pub(crate) proxy: Arc<HttpProxy<Flow>>,
    /// Where cuts are counted.
    pub(crate) metrics: Arc<Metrics>,
}

impl CuttableProxy {
    /// Serves one exchange. `None` if its connection is of no further use, as after a cut.
    pub(crate) async fn serve(&self, session: ServerSession, shutdown: &ShutdownWatch) -> Option<ReusedHttpStream> {
        self.serve_until(session, shutdown, &Arc::default()).await
    }

    /// The same, with a cut that the caller keeps an eye on.
    pub(crate) async fn serve_until(
        &self,
        session: ServerSession,
        shutdown: &ShutdownWatch,
        cut: &Arc<Cut>,
    ) -> Option<ReusedHttpStream> {
        let exchange = CUT.scope(Arc::clone(cut), self.proxy.process_new_http(session, shutdown));
        tokio::select! {
            biased;
            reused = exchange => reused,
            () = cut.made.notified() => {
                self.metrics.stream_cut();
                None
            }
        }
    }
}
