//! The way of one request, stage by stage, as pingora calls them.
//!
//! Each stage is one call into the module of its name; what is decided about a key is the verifier's. Reads top to bottom:
//! admit or refuse, choose an upstream, forward, answer, record.

use crate::client_stream::{BodyLength, ClientStream};
use crate::exchange::Exchange;
use crate::forward::{self, Inbound};
use crate::framing::{self, Upgrade};
use crate::route::{Route, RouteTable};
use crate::{credential, reply};
use async_trait::async_trait;
use bytes::Bytes;
use http::header::UPGRADE;
use http::{StatusCode, Version};
use ipnet::IpNet;
use pingora_core::modules::http::HttpModules;
use pingora_core::protocols::Digest;
use pingora_core::protocols::http::ServerSession;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, ErrorSource, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};
use portcullis_config::settings;
use portcullis_http::{Refusal, RequestPath, client_address, rate_limit_headers, request_id};
use portcullis_record::{Metrics, Surface};
use portcullis_verify::{Denial, DenialReason, Moment, Verdict, Verifier, VerifyRequest};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio_util::task::TaskTracker;

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
    /// Peers whose forwarding headers are believed.
    pub(crate) trusted_proxies: Vec<IpNet>,
    /// Bounds of a request.
    pub(crate) limits: RequestLimits,
    /// Log every request.
    pub(crate) log_requests: bool,
    /// The gateway is draining: connections are not kept.
    pub(crate) draining: AtomicBool,
    /// The exchanges under way.
    pub(crate) exchanges: TaskTracker,
}

/// Bounds of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RequestLimits {
    header_count_max: usize,
    uri_bytes_max: usize,
    body_bytes_max: Option<u64>,
    /// Longest silence while a body arrives.
    body_timeout: Duration,
    /// Longest time a client may take none of its answer.
    write_timeout: Duration,
}

impl From<&settings::Gateway> for RequestLimits {
    fn from(gateway: &settings::Gateway) -> RequestLimits {
        RequestLimits {
            header_count_max: gateway.header_count_max,
            uri_bytes_max: gateway.uri_bytes_max,
            body_bytes_max: gateway.body_bytes_max,
            body_timeout: gateway.body_timeout,
            write_timeout: gateway.body_timeout.max(gateway.keepalive_timeout),
        }
    }
}

impl FlowParts {
    /// The time, once per stage that needs it.
    pub(crate) fn now(&self) -> Moment {
        self.verifier.clock().now()
    }

    /// How long ago that was.
    pub(crate) fn elapsed(&self, since: Moment) -> Duration {
        Duration::from_micros(self.now().monotonic_us.saturating_sub(since.monotonic_us))
    }
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
        self.meet(session, exchange);
        let (body, admitted) = match self.check_form(session, exchange) {
            Ok(body) => (body, self.admit(session, exchange).await),
            Err(refusal) => {
                // Where the next request begins is not to be trusted.
                session.set_keepalive(None);
                if let Some(stream) = client_stream(session) {
                    stream.abandon_rest();
                }
                (None, self.refused_undecided(exchange, refusal))
            }
        };
        let Err(refusal) = admitted else { return Ok(false) };
        self.close_if_draining(session);
        reply::refuse(session, &refusal, exchange, body).await?;
        Ok(true)
    }

    async fn upstream_peer(&self, _session: &mut Session, exchange: &mut Exchange) -> Result<Box<HttpPeer>> {
        let next = match &exchange.route {
            Some(route) => route.upstreams.next(&mut exchange.attempts, self.0.now()).await,
            None => None,
        };
        next.ok_or_else(|| {
            self.0.metrics.upstream_error("unreachable");
            Error::explain(ErrorType::ConnectError, "no upstream of the route can be reached").into_up()
        })
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        upstream: &mut RequestHeader,
        exchange: &mut Exchange,
    ) -> Result<()> {
        exchange.body_bytes = 0;
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
        if end_of_stream && let Some(stream) = client_stream(session) {
            stream.body_is_complete();
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
        } else if upstream.status.is_informational() {
            return Ok(());
        }
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
        self.0.metrics.upstream_error(kind_of(error.etype()));
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
            self.0.metrics.upstream_error(kind_of(error.etype()));
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
        let refusal = exchange.refusal.take().or_else(|| refusal_of(error));
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
    /// Who is calling: the client's address and the request's id.
    fn meet(&self, session: &mut Session, exchange: &mut Exchange) {
        let limits = &self.0.limits;
        session.set_read_timeout(Some(limits.body_timeout));
        session.set_write_timeout(Some(limits.write_timeout));
        if session.req_header().version == Version::HTTP_10 {
            session.set_ignore_info_resp(true);
        }
        let request = session.req_header();
        exchange.set_method(&request.method);
        let Some(peer) = peer(session) else { return };
        exchange.peer_is_trusted = client_address::is_trusted(peer, &self.0.trusted_proxies);
        exchange.client = Some(client_address::resolve(peer, &self.0.trusted_proxies, &request.headers));
        if exchange.peer_is_trusted
            && let Some(accepted) = request
                .headers
                .get(reply::REQUEST_ID)
                .and_then(|id| id.to_str().ok())
                .and_then(request_id::accept)
        {
            exchange.request_id = accepted;
        }
    }

    /// Refuses what is no proper request, before anything is looked up. Lets the body that follows be read.
    fn check_form(&self, session: &mut Session, exchange: &Exchange) -> Result<Option<BodyLength>, Refusal> {
        let limits = &self.0.limits;
        let request = session.req_header();
        framing::check_method(&request.method)?;
        let body = framing::body_length(request, || session.as_http1().map(|head| head.get_headers_raw_bytes()))?;
        let upgrade = framing::upgrade(request);
        if upgrade == Upgrade::WebSocket && !matches!(body, None | Some(BodyLength::Exactly(0))) {
            return Err(Refusal::bad_request("A WebSocket handshake has no body."));
        }
        if request.raw_path().len() > limits.uri_bytes_max {
            return Err(Refusal::uri_too_long());
        }
        if request.headers.len() > limits.header_count_max {
            return Err(Refusal::header_too_large());
        }
        if let (Some(length), Some(stream)) = (body, client_stream(session)) {
            stream.expect_body(length);
        }
        if upgrade == Upgrade::Ignored {
            session.req_header_mut().remove_header(&UPGRADE);
        }
        match (body, limits.body_bytes_max) {
            (Some(BodyLength::Exactly(bytes)), Some(max)) if bytes > max => {
                tracing::debug!(request_id = %exchange.request_id, bytes, "a body is longer than allowed");
                Err(Refusal::payload_too_large())
            }
            _ => Ok(body),
        }
    }

    /// Route, credential, decision.
    async fn admit(&self, session: &Session, exchange: &mut Exchange) -> Result<(), Refusal> {
        let request = session.req_header();
        let (route, path) = match self.find_route(request) {
            Ok(found) => found,
            Err(refusal) => return self.refused_undecided(exchange, refusal),
        };
        exchange.route = Some(Arc::clone(&route));
        let started = self.0.now();
        let verdict = match credential::find(&route.places, request) {
            Err(credential::Ambiguous) => Ok(denied(DenialReason::AmbiguousCredentials)),
            Ok(None) => Ok(denied(DenialReason::KeyMissing)),
            Ok(Some(credential)) => {
                let asked = VerifyRequest {
                    credential: &credential,
                    path: path.as_str(),
                    address: exchange.client,
                    requirement: &route.requirement,
                };
                self.0.verifier.verify(&asked).await
            }
        };
        let result = self.settle(exchange, &route, verdict);
        self.0
            .metrics
            .decision(Surface::Proxy, exchange.outcome, self.0.elapsed(started));
        result
    }

    fn find_route<'a>(&self, request: &'a RequestHeader) -> Result<(Arc<Route>, RequestPath<'a>), Refusal> {
        let host = framing::host(request)?;
        let is_path = request
            .uri
            .path_and_query()
            .is_some_and(|target| target.as_str().starts_with('/'));
        if !is_path || !request.raw_path_is_utf8() {
            return Err(Refusal::bad_request("The request target must be a path."));
        }
        let path = RequestPath::parse(request.uri.path()).map_err(|fault| Refusal::bad_request(fault.message()))?;
        let route = self
            .0
            .routes
            .find(&host, path.as_str())
            .ok_or(const { Refusal::no_route() })?;
        Ok((Arc::clone(route), path))
    }

    /// Notes a verdict, and turns it into an answer where it is one.
    fn settle(
        &self,
        exchange: &mut Exchange,
        route: &Route,
        verdict: Result<Verdict, portcullis_verify::VerifyError>,
    ) -> Result<(), Refusal> {
        match verdict {
            Ok(Verdict::Allow(permit)) => {
                exchange.outcome = "allowed";
                exchange.rate_limit_headers = rate_limit_headers::of(&permit.key.rules, &permit.charge);
                exchange.key = Some(permit.key);
                Ok(())
            }
            Ok(Verdict::Deny(denial)) => {
                exchange.outcome = denial.reason.name();
                let refusal = Refusal::of_denial(&denial, route.challenge);
                if let (Some(key), Some(charge)) = (&denial.key, &denial.charge) {
                    exchange.rate_limit_headers = rate_limit_headers::of(&key.rules, charge);
                }
                exchange.key = denial.key;
                Err(refusal)
            }
            Err(error) => {
                let refusal = Refusal::of_error(&error);
                exchange.outcome = refusal.reason;
                tracing::warn!(request_id = %exchange.request_id, %error, "a request cannot be decided");
                Err(refusal)
            }
        }
    }

    fn refused_undecided(&self, exchange: &mut Exchange, refusal: Refusal) -> Result<(), Refusal> {
        exchange.outcome = refusal.reason;
        self.0.metrics.refused_before_decision(refusal.reason);
        Err(refusal)
    }

    fn close_if_draining(&self, session: &mut Session) {
        if self.0.draining.load(Ordering::Relaxed) {
            session.set_keepalive(None);
        }
    }
}

fn denied(reason: DenialReason) -> Verdict {
    Verdict::Deny(Denial {
        reason,
        key: None,
        charge: None,
    })
}

/// The connection under an HTTP/1 session.
fn client_stream(session: &ServerSession) -> Option<&ClientStream> {
    session.stream()?.as_any().downcast_ref()
}

fn peer(session: &ServerSession) -> Option<IpAddr> {
    let address = session.client_addr()?.as_inet()?;
    Some(client_address::canonical(address.ip()))
}

fn inbound(session: &ServerSession) -> Inbound {
    let tls = session
        .digest()
        .is_some_and(|digest: &Digest| digest.ssl_digest.is_some());
    Inbound {
        peer: peer(session),
        tls,
    }
}

/// What a failure is answered with; `None` when there is nobody to answer.
fn refusal_of(error: &Error) -> Option<Refusal> {
    match (error.esource(), error.etype()) {
        (ErrorSource::Upstream, kind) if is_timeout(kind) => Some(Refusal::upstream_timeout()),
        (ErrorSource::Downstream, kind) if is_timeout(kind) => Some(Refusal::request_timeout()),
        (ErrorSource::Downstream, ErrorType::ReadError | ErrorType::WriteError | ErrorType::ConnectionClosed) => None,
        (ErrorSource::Downstream, _) => Some(Refusal::bad_request("The request is malformed.")),
        (ErrorSource::Upstream | ErrorSource::Internal | ErrorSource::Unset, _) => {
            Some(Refusal::upstream_unreachable())
        }
    }
}

fn is_timeout(kind: &ErrorType) -> bool {
    matches!(
        kind,
        ErrorType::ConnectTimedout
            | ErrorType::TLSHandshakeTimedout
            | ErrorType::ReadTimedout
            | ErrorType::WriteTimedout
    )
}

/// The metric's word for a failure at an upstream.
fn kind_of(kind: &ErrorType) -> &'static str {
    match kind {
        ErrorType::ConnectRefused => "connect_refused",
        ErrorType::ConnectTimedout => "connect_timeout",
        ErrorType::TLSHandshakeFailure | ErrorType::TLSHandshakeTimedout | ErrorType::InvalidCert => "tls",
        ErrorType::ReadTimedout => "read_timeout",
        ErrorType::WriteTimedout => "write_timeout",
        ErrorType::ReadError | ErrorType::WriteError | ErrorType::ConnectionClosed => "reset",
        ErrorType::InvalidHTTPHeader | ErrorType::H1Error | ErrorType::H2Error | ErrorType::InvalidH2 => "protocol",
        _ => "unreachable",
    }
}
