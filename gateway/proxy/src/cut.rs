//! Ends one exchange from outside, whatever it waits for.
//!
//! pingora has no handle for that: the future that serves the exchange is dropped. Its client's connection is closed then or, in
//! HTTP/2, its stream is reset and the connection's other streams go on. Knows no reason to do so; [`crate::watchlist`] does.

use crate::flow::Flow;
use async_trait::async_trait;
use pingora_core::apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream};
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::http::v2::server::H2Options;
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
        let cut = Arc::<Cut>::default();
        let exchange = CUT.scope(Arc::clone(&cut), self.proxy.process_new_http(session, shutdown));
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

/// What pingora runs for each stream of an HTTP/2 connection.
#[async_trait]
impl HttpServerApp for CuttableProxy {
    async fn process_new_http(
        self: &Arc<Self>,
        session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        self.serve(session, shutdown).await
    }

    fn h2_options(&self) -> Option<H2Options> {
        self.proxy.h2_options()
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        self.proxy.server_options.as_ref()
    }

    async fn http_cleanup(&self) {
        self.proxy.http_cleanup().await;
    }
}
