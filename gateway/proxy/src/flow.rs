//! The way of one request, stage by stage, as pingora calls them.
//!
//! Each stage is one call into the module of its name; what is decided about a key is the verifier's. Reads top to bottom:
//! admit or refuse, choose an upstream, forward, answer, record.

use crate::admission::{RequestLimits, client_stream, peer};
use crate::exchange::Exchange;
use crate::forward::{self, Inbound};
use crate::route::{Route, RouteTable};
use crate::watchlist::Watchlist;
use crate::{failure, reply, tunnel_socket};
use async_trait::async_trait;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use ipnet::IpNet;
use pingora_core::modules::http::HttpModules;
use pingora_core::protocols::http::ServerSession;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, ErrorSource, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};
use portcullis_http::Refusal;
use portcullis_record::Metrics;
use portcullis_record::usage::UsageMeter;
use portcullis_verify::{Moment, Verifier};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio_util::task::TaskTracker;

/// Requests and answers of these types last by their nature. gRPC has variants, such as `application/grpc+proto`.
const GRPC: &str = "application/grpc";
const EVENT_STREAM: &str = "text/event-stream";

/// The stages of every request.
pub(crate) struct Flow(pub(crate) Arc<FlowParts>);

/// What the stages share.
pub(crate) struct FlowParts {
    /// The routes.
    pub(crate) routes: RouteTable<Arc<Route>>,
    /// Who decides about keys.
    pub(crate) verifier: Arc<Verifier>,
    /// Where things are counted.
    pub(crate) metrics: Arc<Metrics>,
    /// Where it is counted what keys are used for.
    pub(crate) usage: Arc<UsageMeter>,
    /// Peers whose forwarding headers are believed.
    pub(crate) trusted_proxies: Vec<IpNet>,
    /// Bounds of a request.
    pub(crate) limits: RequestLimits,
    /// Tell of limits in `X-RateLimit-*` headers too.
    pub(crate) legacy_headers: bool,
    /// Log every request.
    pub(crate) log_requests: bool,
    /// The gateway is draining: connections are not kept.
    pub(crate) draining: AtomicBool,
    /// The exchanges under way.
    pub(crate) exchanges: TaskTracker,
    /// Those of them that end with their key; `None` if none does.
    pub(crate) watchlist: Option<Arc<Watchlist>>,
}

impl FlowParts {
    /// The time, once per stage that needs it.
    pub(crate) fn now(&self) -> Moment {
        self.verifier.clock().now()
    }

    /// How long ago that was.
    pub(crate) fn elapsed(&self, since: Moment) -> Duration {
        self.verifier.clock().elapsed(since)
    }
}

/// The time from one moment to another.
pub(crate) fn between(since: Moment, until: Moment) -> Duration {
    Duration::from_micros(until.monotonic_us.saturating_sub(since.monotonic_us))
}

#[async_trait]
impl ProxyHttp for Flow {
    type CTX = Exchange;

    fn new_ctx(&self) -> Exchange {
        Exchange::begin(&self.0)
    }

    /// Bodies pass as they are: no modules.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn request_filter(&self, session: &mut Session, exchange: &mut Exchange) -> Result<bool> {
        self.0.meet(session, exchange);
        let (body, admitted) = match self.0.check_form(session, exchange) {
            Ok(body) => (body, self.0.admit(session, exchange).await),
            Err(refusal) => {
                // Where the next request begins is not to be trusted.
                session.set_keepalive(None);
                if let Some(stream) = client_stream(session) {
                    stream.abandon_rest();
                }
                (None, self.0.refused_undecided(exchange, refusal))
            }
        };
        let Err(refusal) = admitted else {
            if is_of_type(&session.req_header().headers, GRPC) {
                exchange.is_a_stream();
            }
            return Ok(false);
        };
        self.close_if_draining(session);
        reply::refuse(session, &refusal, exchange, body).await?;
        Ok(true)
    }

    async fn upstream_peer(&self, session: &mut Session, exchange: &mut Exchange) -> Result<Box<HttpPeer>> {
        let next = match &exchange.route {
            Some(route) => route.upstreams.next(&mut exchange.attempts, self.0.now()).await,
            None => None,
        };
        let Some(mut peer) = next else {
            self.0.metrics.upstream_error("unreachable");
            return Err(Error::explain(ErrorType::ConnectError, "no upstream of the route can be reached").into_up());
        };
        if session.is_upgrade_req() {
            tunnel_socket::prepare(&mut peer);
        }
        Ok(peer)
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        upstream: &mut RequestHeader,
        exchange: &mut Exchange,
    ) -> Result<()> {
        exchange.body_bytes = 0;
        let takes_its_time = is_of_type(&session.req_header().headers, GRPC);
        exchange.body_since = (!takes_its_time).then(|| self.0.now());
        exchange.body_is_whole = false;
        forward::request(upstream, exchange, inbound(session))
    }

    async fn request_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        exchange: &mut Exchange,
    ) -> Result<()> {
        if session.was_upgraded() {
            return Ok(());
        }
        let length = body.as_ref().map_or(0, Bytes::len);
        exchange.body_bytes = exchange
            .body_bytes
            .saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
        if self
            .0
            .limits
            .body_bytes_max
            .is_some_and(|max| exchange.body_bytes > max)
        {
            exchange.refusal = Some(Refusal::payload_too_large());
            return Error::e_explain(ErrorType::HTTPStatus(413), "the body is longer than allowed");
        }
        if !end_of_stream
            && let Some(since) = exchange.body_since
            && !self.0.limits.pace.is_kept(since, exchange.body_bytes, self.0.now())
        {
            self.0.metrics.turned_away("slow_body");
            exchange.refusal = Some(Refusal::request_timeout());
            return Error::e_explain(ErrorType::HTTPStatus(408), "the body comes too slowly");
        }
        if end_of_stream {
            exchange.body_is_whole = true;
            if let Some(stream) = client_stream(session) {
                stream.body_is_complete();
            }
        }
        Ok(())
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        upstream: &mut ResponseHeader,
        exchange: &mut Exchange,
    ) -> Result<()> {
        if upstream.status == StatusCode::SWITCHING_PROTOCOLS {
            if !session.is_upgrade_req() {
                return Err(Error::explain(ErrorType::InvalidHTTPHeader, "an upgrade that nobody asked for").into_up());
            }
            if let Some(stream) = client_stream(session) {
                stream.becomes_tunnel();
            }
            session.set_read_timeout(None);
            exchange.is_a_stream();
        } else if upstream.status.is_informational() {
            forward::informational(upstream);
            return Ok(());
        }
        if is_of_type(&upstream.headers, EVENT_STREAM) {
            exchange.is_a_stream();
        }
        exchange.passed_on = Some(upstream.status.as_u16());
        self.close_if_draining(session);
        forward::response(upstream, exchange, session.req_header().version)
    }

    fn fail_to_connect(
        &self,
        _session: &mut Session,
        peer: &HttpPeer,
        exchange: &mut Exchange,
        mut error: Box<Error>,
    ) -> Box<Error> {
        self.0.metrics.upstream_error(failure::kind_of(error.etype()));
        tracing::warn!(request_id = %exchange.request_id, upstream = %peer._address, %error, "an upstream cannot be reached");
        if let Some(route) = &exchange.route {
            route.upstreams.unreachable(&exchange.attempts, self.0.now());
        }
        // Nothing of the request was sent: whatever it is, it may be sent elsewhere.
        error.set_retry(exchange.attempts.has_alternative());
        error
    }

    fn error_while_proxy(
        &self,
        peer: &HttpPeer,
        session: &mut Session,
        mut error: Box<Error>,
        exchange: &mut Exchange,
        client_reused: bool,
    ) -> Box<Error> {
        if *error.esource() == ErrorSource::Upstream {
            self.0.metrics.upstream_error(failure::kind_of(error.etype()));
            tracing::warn!(
                request_id = %exchange.request_id,
                upstream = %peer._address,
                error = error.etype().as_str(),
                "an upstream failed"
            );
        }
        // A connection that was kept may have been closed at the very moment of its use. Only what may be done twice is
        // sent again then (RFC 9110 §9.2.2), and only with its whole body.
        if session.req_header().method.is_idempotent() && !session.as_ref().retry_buffer_truncated() {
            error.retry.decide_reuse(client_reused);
        } else {
            error.set_retry(false);
        }
        if error.retry() {
            exchange.attempts.repeat();
        }
        error
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, exchange: &mut Exchange) -> FailToProxy {
        if failure::is_slow_reader(error)
            && let Some(stream) = client_stream(session)
        {
            self.0.metrics.turned_away("slow_reader");
            stream.reset_on_close();
        }
        let refusal = exchange
            .refusal
            .take()
            .or_else(|| failure::refusal_of(error, exchange.body_is_whole));
        let answered = session
            .response_written()
            .is_some_and(|head| !head.status.is_informational());
        let error_code = match refusal {
            Some(refusal) if !answered && !session.was_upgraded() => {
                exchange.outcome = refusal.reason;
                session.set_keepalive(None);
                // The client is gone if this cannot be written.
                let _ = reply::refuse(session, &refusal, exchange, None).await;
                if !session.is_http2() {
                    session.shutdown().await;
                }
                refusal.status.as_u16()
            }
            _ => 0,
        };
        FailToProxy {
            error_code,
            can_reuse_downstream: false,
        }
    }

    async fn logging(&self, session: &mut Session, _error: Option<&Error>, exchange: &mut Exchange) {
        exchange.record(session.response_written().map(|head| head.status.as_u16()));
    }

    /// Failures are logged by the stages above, without the request's target.
    fn suppress_error_log(&self, _session: &Session, _exchange: &Exchange, _error: &Error) -> bool {
        true
    }

    fn suppress_proxy_warn_log(
        &self,
        _session: &Session,
        _exchange: &Exchange,
        _error: &Error,
        _context: ProxyWarnLogContext,
    ) -> bool {
        true
    }

    /// Never the target: it may hold a key.
    fn request_summary(&self, _session: &Session, exchange: &Exchange) -> String {
        format!("request {}", exchange.request_id)
    }
}

impl Flow {
    fn close_if_draining(&self, session: &mut Session) {
        if self.0.draining.load(Ordering::Relaxed) {
            session.set_keepalive(None);
        }
    }
}

/// Whether the `Content-Type` starts with this, in whatever case.
fn is_of_type(headers: &HeaderMap, media_type: &str) -> bool {
    headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.as_bytes().get(..media_type.len()))
        .is_some_and(|start| start.eq_ignore_ascii_case(media_type.as_bytes()))
}

fn inbound(session: &ServerSession) -> Inbound {
    let tls = session.digest().is_some_and(|digest| digest.ssl_digest.is_some());
    Inbound {
        version: session.req_header().version,
        peer: peer(session),
        tls,
    }
}
