//! What is known of one plain request and its answer, from its head to its record.
//!
//! The lean sibling of [`crate::exchange`]: however it ends, also when its client leaves and its future is dropped, it is recorded
//! exactly once. It enters the watch list only once it lasts: most are over before anybody could want to cut them.

use super::request_head::Method;
use crate::cut::Cut;
use crate::flow::FlowParts;
use crate::request_log::{CLIENT_LEFT, RequestLine};
use crate::route::Route;
use crate::watchlist::{Place, Watched};
use portcullis_http::RequestId;
use portcullis_http::rate_limit_headers::Told;
use portcullis_record::InFlightGuard;
use portcullis_verify::{KeyHash, Moment, StoredKey};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// One request and its answer.
pub(crate) struct Exchange<'a> {
    /// What all requests share.
    pub(crate) parts: &'a FlowParts,
    /// The id given to the upstream and to the client.
    pub(crate) request_id: RequestId,
    /// The method.
    pub(crate) method: Method,
    /// The client's address.
    pub(crate) client: IpAddr,
    /// The route.
    pub(crate) route: Arc<Route>,
    /// The key, as far as it is known.
    pub(crate) key: Option<Arc<StoredKey>>,
    /// The key it was admitted with.
    pub(crate) hash: Option<KeyHash>,
    /// Index in the key's rules of the rule that refused the request.
    pub(crate) blocked_rule: Option<usize>,
    /// Which headers about limits were written.
    pub(crate) told: Told,
    /// The true reason of how it went: what is logged, and not always what the client is told.
    pub(crate) outcome: &'static str,
    /// The status of the answer, once its head is passed on.
    pub(crate) status: Option<u16>,
    /// The connection ends with this exchange.
    pub(crate) closes: bool,
    /// When it began.
    pub(crate) started: Moment,
    watched: Option<(Place, Arc<Cut>)>,
    is_recorded: bool,
    _in_flight: InFlightGuard,
}

impl<'a> Exchange<'a> {
    /// An exchange that began at `started`.
    pub(crate) fn begin(
        parts: &'a FlowParts,
        route: &Arc<Route>,
        (method, client, request_id): (Method, IpAddr, RequestId),
        started: Moment,
    ) -> Exchange<'a> {
        Exchange {
            parts,
            request_id,
            method,
            client,
            route: Arc::clone(route),
            key: None,
            hash: None,
            blocked_rule: None,
            told: Told::NOTHING,
            outcome: "client_left",
            status: None,
            closes: false,
            started,
            watched: None,
            is_recorded: false,
            _in_flight: parts.metrics.request_in_flight(),
        }
    }

    /// Has it cut, from now on, when its key no longer opens the route. Answers with its end, if it can be cut at all.
    pub(crate) fn watch(&mut self) -> Option<Arc<Cut>> {
        if self.watched.is_none() {
            let cut = Arc::<Cut>::default();
            let place = self.parts.watchlist.as_ref()?.enter(Watched {
                hash: self.hash?,
                route: Arc::clone(&self.route),
                since: self.started,
                is_stream: false,
                cut: Arc::clone(&cut),
            });
            self.watched = Some((place, cut));
        }
        self.watched.as_ref().map(|(_, cut)| Arc::clone(cut))
    }

    /// Notes that it lasts by its nature: it is cut at any age.
    pub(crate) fn is_a_stream(&self) {
        if let Some((place, _)) = &self.watched {
            place.is_a_stream();
        }
    }

    /// Records it, unless it is recorded already. Answers how long it took.
    pub(crate) fn end(&mut self) -> Duration {
        let elapsed = self.parts.elapsed(self.started);
        if std::mem::replace(&mut self.is_recorded, true) {
            return elapsed;
        }
        if self.watched.as_ref().is_some_and(|(_, cut)| cut.is_made()) {
            self.outcome = "cut";
        }
        let status = self.status.unwrap_or(CLIENT_LEFT);
        self.parts.metrics.proxied(status, elapsed);
        if self.parts.log_requests {
            self.log(status, elapsed);
        }
        elapsed
    }

    #[cold]
    fn log(&self, status: u16, elapsed: Duration) {
        let line = RequestLine {
            request_id: &self.request_id,
            method: self.method.as_str(),
            route: Some(&self.route),
            client: Some(self.client),
            key: self.key.as_deref(),
            outcome: self.outcome,
            blocked_rule: self.blocked_rule,
            status,
            elapsed,
        };
        line.log();
    }
}

impl Drop for Exchange<'_> {
    fn drop(&mut self) {
        if !self.is_recorded {
            self.end();
        }
    }
}
