//! May this request go on? Its form, its route, its credential, the verifier's decision: in this order, free checks first.
//!
//! It asks the modules of these names and sets down in the [`Exchange`] what they said; who holds a key is the verifier's to
//! say. Nothing is sent or answered here. Called by [`crate::flow`].

use crate::client_stream::{BodyLength, ClientStream};
use crate::exchange::Exchange;
use crate::flow::{FlowParts, between};
use crate::framing::{self, Upgrade};
use crate::pace::Pace;
use crate::route::Route;
use crate::{credential, reply};
use http::header::UPGRADE;
use http::{HeaderName, HeaderValue, Version};
use pingora_core::protocols::http::ServerSession;
use pingora_http::RequestHeader;
use pingora_proxy::Session;
use portcullis_config::settings;
use portcullis_http::{Refusal, RequestPath, client_address, rate_limit_headers, request_id};
use portcullis_record::Surface;
use portcullis_verify::{Charge, Denial, DenialReason, StoredKey, Verdict, VerifyError, VerifyRequest};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// Bounds of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RequestLimits {
    /// Longest head, in bytes.
    pub(crate) header_bytes_max: usize,
    /// Most header fields.
    pub(crate) header_count_max: usize,
    /// Longest target, in bytes.
    pub(crate) uri_bytes_max: usize,
    /// Largest body; `None` means no limit.
    pub(crate) body_bytes_max: Option<u64>,
    /// Longest silence while a body arrives.
    pub(crate) body_timeout: Duration,
    /// How fast a body must be on the whole.
    pub(crate) pace: Pace,
    /// Longest time a client may take nothing of its answer: then its connection is reset.
    pub(crate) write_timeout: Duration,
}

impl From<&settings::Gateway> for RequestLimits {
    fn from(gateway: &settings::Gateway) -> RequestLimits {
        RequestLimits {
            header_bytes_max: gateway.header_bytes_max,
            header_count_max: gateway.header_count_max,
            uri_bytes_max: gateway.uri_bytes_max,
            body_bytes_max: gateway.body_bytes_max,
            body_timeout: gateway.body_timeout,
            pace: Pace::from(gateway),
            write_timeout: gateway.body_timeout.max(gateway.keepalive_timeout),
        }
    }
}

impl FlowParts {
    /// Who is calling: the client's address and the request's id.
    pub(crate) fn meet(&self, session: &mut Session, exchange: &mut Exchange) {
        let limits = &self.limits;
        session.set_read_timeout(Some(limits.body_timeout));
        session.set_write_timeout(Some(limits.write_timeout));
        if session.req_header().version == Version::HTTP_10 {
            session.set_ignore_info_resp(true);
        }
        let request = session.req_header();
        exchange.set_method(&request.method);
        let Some(peer) = peer(session) else { return };
        exchange.peer_is_trusted = client_address::is_trusted(peer, &self.trusted_proxies);
        exchange.client = Some(client_address::resolve(peer, &self.trusted_proxies, &request.headers));
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
    pub(crate) fn check_form(&self, session: &mut Session, exchange: &Exchange) -> Result<Option<BodyLength>, Refusal> {
        let limits = &self.limits;
        framing::check_nominations(session.req_header_mut())?;
        if framing::asks_to_close(session.req_header()) {
            session.set_keepalive(None);
        }
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
    pub(crate) async fn admit(&self, session: &Session, exchange: &mut Exchange) -> Result<(), Refusal> {
        let request = session.req_header();
        let (route, path) = match self.find_route(request) {
            Ok(found) => found,
            Err(refusal) => return self.refused_undecided(exchange, refusal),
        };
        exchange.route = Some(Arc::clone(&route));
        let started = self.now();
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
                self.verifier.verify(&asked).await
            }
        };
        let decided = self.now();
        if let Ok(verdict) = &verdict {
            self.usage.note(verdict, decided);
        }
        let result = self.settle(exchange, &route, verdict);
        self.metrics
            .decision(Surface::Proxy, exchange.outcome, between(started, decided));
        result
    }

    fn find_route<'a>(&self, request: &'a RequestHeader) -> Result<(Arc<Route>, RequestPath<'a>), Refusal> {
        let host = framing::host(request)?;
        framing::check_target(request)?;
        let path = RequestPath::parse(request.uri.path()).map_err(|fault| Refusal::bad_request(fault.message()))?;
        let route = self
            .routes
            .find(&host, path.as_str())
            .ok_or(const { Refusal::no_route() })?;
        Ok((Arc::clone(route), path))
    }

    /// Notes a verdict, and turns it into an answer where it is one.
    fn settle(
        &self,
        exchange: &mut Exchange,
        route: &Arc<Route>,
        verdict: Result<Verdict, VerifyError>,
    ) -> Result<(), Refusal> {
        match verdict {
            Ok(Verdict::Allow(permit)) => {
                exchange.outcome = "allowed";
                exchange.rate_limit_headers = self.rate_limit_headers(&permit.key, &permit.charge);
                exchange.watch(permit.hash, route);
                exchange.key = Some(permit.key);
                Ok(())
            }
            Ok(Verdict::Deny(denial)) => {
                exchange.outcome = denial.reason.name();
                if let DenialReason::RateLimited { blocked_rule, .. } = denial.reason {
                    exchange.blocked_rule = Some(blocked_rule);
                }
                let refusal = Refusal::of_denial(&denial, route.challenge);
                if let (Some(key), Some(charge)) = (&denial.key, &denial.charge) {
                    exchange.rate_limit_headers = self.rate_limit_headers(key, charge);
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

    fn rate_limit_headers(&self, key: &StoredKey, charge: &Charge) -> Vec<(HeaderName, HeaderValue)> {
        rate_limit_headers::of(&key.rules, charge, self.legacy_headers)
    }

    /// Notes a refusal that no decision was needed for.
    pub(crate) fn refused_undecided(&self, exchange: &mut Exchange, refusal: Refusal) -> Result<(), Refusal> {
        exchange.outcome = refusal.reason;
        self.metrics.refused_before_decision(refusal.reason);
        Err(refusal)
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
pub(crate) fn client_stream(session: &ServerSession) -> Option<&ClientStream> {
    session.stream()?.as_any().downcast_ref()
}

/// The address of the TCP peer, or the one that the PROXY protocol announced.
pub(crate) fn peer(session: &ServerSession) -> Option<IpAddr> {
    let address = session.client_addr()?.as_inet()?;
    Some(client_address::canonical(address.ip()))
}
