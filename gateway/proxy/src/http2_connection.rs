//! One HTTP/2 connection: what pingora runs for each of its streams.
//!
//! It tells the connection's seat what is under way, and ends a connection whose client opens streams only to reset them
//! (CVE-2023-44487): each costs us a request and its client nothing. It knows no key and no route.
//! [`crate::connection`] makes one per connection.

use crate::cut::{Cut, CuttableProxy};
use crate::occupancy::Seat;
use async_trait::async_trait;
use pingora_core::apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream};
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::http::v2::server::H2Options;
use pingora_core::server::ShutdownWatch;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

#[cfg(test)]
mod tests;

/// Streams that a client may leave before they were answered, whatever else it does; past it, at most half of all.
const LEFT_MAX: u32 = 100;

/// Serves the streams of one connection.
pub(crate) struct Http2Connection {
    proxy: Arc<CuttableProxy>,
    seat: Arc<Seat>,
    streams: Streams,
}

/// What became of a connection's streams.
#[derive(Debug, Default)]
struct Streams {
    ended: AtomicU32,
    left: AtomicU32,
}

impl Http2Connection {
    /// A connection that holds this seat.
    pub(crate) fn new(proxy: Arc<CuttableProxy>, seat: Arc<Seat>) -> Arc<Http2Connection> {
        Arc::new(Http2Connection {
            proxy,
            seat,
            streams: Streams::default(),
        })
    }
}

impl Streams {
    /// Notes the end of one, and gives whether its client has left too many by now.
    fn one_ended(&self, was_left: bool) -> bool {
        let ended = self.ended.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if !was_left {
            return false;
        }
        let left = self.left.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        left > LEFT_MAX && left > ended / 2
    }
}

#[async_trait]
impl HttpServerApp for Http2Connection {
    async fn process_new_http(
        self: &Arc<Self>,
        session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        let _under_way = self.seat.begins()?;
        let cut = Arc::<Cut>::default();
        let reused = self.proxy.serve_until(session, shutdown, &cut).await;
        if self.streams.one_ended(cut.client_left()) && self.seat.end() {
            self.proxy.metrics.turned_away("resets");
        }
        reused
    }

    fn h2_options(&self) -> Option<H2Options> {
        self.proxy.proxy.h2_options()
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        self.proxy.proxy.server_options.as_ref()
    }

    async fn http_cleanup(&self) {
        self.proxy.proxy.http_cleanup().await;
    }
}
