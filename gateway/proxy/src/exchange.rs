//! What is known of one request and its answer, from its head to its record.
//!
//! It holds what the stages of [`crate::flow`] hand on to each other and decides nothing. However the request ends, also
//! when its client leaves and its future is dropped, it is recorded exactly once.

use crate::cut::Cut;
use crate::flow::FlowParts;
use crate::request_log::{CLIENT_LEFT, RequestLine};
use crate::route::Route;
use crate::upstream_pool::Attempts;
use crate::watchlist::{Place, Watched};
use http::{HeaderName, HeaderValue};
use portcullis_http::{Refusal, RequestId, request_id};
use portcullis_record::InFlightGuard;
use portcullis_verify::{KeyHash, Moment, StoredKey};
use std::net::IpAddr;
use std::sync::Arc;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// One request and its answer.
pub(crate) struct Exchange {
    /// The id given to the upstream and to the client.
    pub(crate) request_id: RequestId,
    /// The client's address, once it is known.
    pub(crate) client: Option<IpAddr>,
    /// The peer's forwarding headers are believed.
    pub(crate) peer_is_trusted: bool,
    /// The route, once it is found.
    pub(crate) route: Option<Arc<Route>>,
    /// The key, as far as it is known.
    pub(crate) key: Option<Arc<StoredKey>>,
    /// Where the key stands with its limits.
    pub(crate) rate_limit_headers: Vec<(HeaderName, HeaderValue)>,
    /// Index in the key's rules of the rule that refused the request.
    pub(crate) blocked_rule: Option<usize>,
    /// The true reason of how it went: what is logged, and not always what the client is told.
    pub(crate) outcome: &'static str,
    /// Where it stands with its upstreams.
    pub(crate) attempts: Attempts,
    /// Body bytes received in the attempt under way.
    pub(crate) body_bytes: u64,
    /// Since when; `None` for one that may take its time.
    pub(crate) body_since: Option<Moment>,
    /// The body has arrived to its end, or there is none.
    pub(crate) body_is_whole: bool,
    /// What a stage decided to answer instead of going on, when it could not answer itself.
    pub(crate) refusal: Option<Refusal>,
    /// The status of the upstream's answer, once it is passed on.
    pub(crate) passed_on: Option<u16>,
    /// Its end, when others make it.
    cut: Arc<Cut>,
    /// Its place among those whose key is watched.
    place: Option<Place>,
    started: Moment,
    method: http::Method,
    parts: Arc<FlowParts>,
    is_recorded: bool,
    _in_flight: InFlightGuard,
    _tracked: TaskTrackerToken,
}

impl Exchange {
    /// An exchange that begins now.
    pub(crate) fn begin(parts: &Arc<FlowParts>) -> Exchange {
        Exchange {
            request_id: request_id::generate(),
            client: None,
            peer_is_trusted: false,
            route: None,
            key: None,
            rate_limit_headers: Vec::new(),
            blocked_rule: None,
            outcome: "client_left",
            attempts: Attempts::default(),
            body_bytes: 0,
            body_since: None,
            body_is_whole: false,
            refusal: None,
            passed_on: None,
            cut: Cut::of_this_exchange(),
            place: None,
            started: parts.now(),
            method: http::Method::GET,
            is_recorded: false,
            _in_flight: parts.metrics.request_in_flight(),
            _tracked: parts.exchanges.token(),
            parts: Arc::clone(parts),
        }
    }

    /// Notes the method, for the log.
    pub(crate) fn set_method(&mut self, method: &http::Method) {
        self.method = method.clone();
    }

    /// Has it cut, from now on, when the key with this hash no longer opens the route.
    pub(crate) fn watch(&mut self, hash: KeyHash, route: &Arc<Route>) {
        self.place = self.parts.watchlist.as_ref().map(|watchlist| {
            watchlist.enter(Watched {
                hash,
                route: Arc::clone(route),
                since: self.started,
                is_stream: false,
                cut: Arc::clone(&self.cut),
            })
        });
    }

    /// Notes that it lasts by its nature: it is cut at any age.
    pub(crate) fn is_a_stream(&self) {
        if let Some(place) = &self.place {
            place.is_a_stream();
        }
    }

    /// Records the exchange: `status` is what the client was answered, `None` if it left before.
    pub(crate) fn record(&mut self, status: Option<u16>) {
        if std::mem::replace(&mut self.is_recorded, true) {
            return;
        }
        if status.is_none() && !self.cut.is_made() {
            self.cut.note_client_left();
        }
        let status = status.unwrap_or(CLIENT_LEFT);
        let elapsed = self.parts.elapsed(self.started);
        self.parts.metrics.proxied(status, elapsed);
        if self.parts.log_requests {
            let line = RequestLine {
                request_id: &self.request_id,
                method: self.method.as_str(),
                route: self.route.as_deref(),
                client: self.client,
                key: self.key.as_deref(),
                outcome: self.outcome,
                blocked_rule: self.blocked_rule,
                status,
                elapsed,
            };
            line.log();
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if self.cut.is_made() {
            self.outcome = "cut";
        }
        self.record(self.passed_on);
    }
}
