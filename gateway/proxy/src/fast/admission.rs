//! May this plain request go on? Route, credential, decision, as in [`crate::admission`], from what is in memory.
//!
//! It writes what is to be sent: the request for the upstream, or the refusal. What it cannot judge without waiting, or what is
//! no plain request, it leaves untouched for pingora's way. Nothing is sent here. Called by [`crate::fast`].

use super::buffers::Buffer;
use super::exchange::Exchange;
use super::request_head::{self, Field, FieldKind, Forwarding, RequestHead};
use super::{Caller, credential};
use crate::flow::FlowParts;
use crate::framing;
use crate::route::Route;
use http::header::{FORWARDED, HeaderMap, HeaderName};
use portcullis_http::{
    Refusal, RequestId, RequestPath, client_address, identity_headers, rate_limit_headers, request_id,
};
use portcullis_record::Surface;
use portcullis_verify::{Charge, Denial, DenialReason, Moment, StoredKey, Verdict, VerifyError, VerifyRequest};
use std::net::IpAddr;
use std::sync::Arc;

/// Longest body of a plain request: it is held whole before it is decided.
pub(super) const BODY_BYTES_MAX: u64 = 16 * 1024;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// A plain request that was decided.
pub(super) struct Admitted<'a> {
    /// What is known of it.
    pub(super) exchange: Exchange<'a>,
    /// Bytes of its head.
    pub(super) head_bytes: usize,
    /// Bytes of the body behind it.
    pub(super) body_bytes: usize,
    /// What it is answered, if it may not go on.
    pub(super) refusal: Option<Refusal>,
}

/// Where what is to be sent is written.
pub(super) struct Outbox {
    /// The request for the upstream, its body included.
    pub(super) request: Buffer,
    /// The lines that tell the client where its key stands with its limits.
    pub(super) limits: Buffer,
}

/// What a plain request comes to.
#[expect(
    clippy::large_enum_variant,
    reason = "it is unpacked at once, and a box would cost every request an allocation"
)]
pub(super) enum Admission<'a> {
    /// It is not plain.
    NotPlain,
    /// Its body is not whole: it takes so many bytes in all.
    Partial(usize),
    /// It was decided.
    Decided(Admitted<'a>),
    /// It cannot be decided from memory: somebody has to ask.
    Unknown(Question),
}

/// What has to be asked of a request before it can be decided.
pub(super) struct Question {
    credential: Vec<u8>,
    path: String,
    client: IpAddr,
    route: Arc<Route>,
    asked: Moment,
}

/// An answer to a question.
pub(super) struct Reply {
    verdict: Result<Verdict, VerifyError>,
    asked: Moment,
}

impl Question {
    /// Asks the key source.
    pub(super) async fn ask(self, parts: &FlowParts) -> Reply {
        let asked = VerifyRequest {
            credential: &self.credential,
            path: &self.path,
            address: Some(self.client),
            requirement: &self.route.requirement,
        };
        Reply {
            verdict: parts.verifier.verify(&asked).await,
            asked: self.asked,
        }
    }
}

/// Decides the request at the start of `bytes`: from memory, or by the `reply` to what had to be asked about the same bytes.
pub(super) fn admit<'a>(
    parts: &'a FlowParts,
    caller: &Caller,
    bytes: &[u8],
    outbox: &mut Outbox,
    reply: Option<Reply>,
) -> Admission<'a> {
    decide(parts, caller, bytes, outbox, reply).unwrap_or(Admission::NotPlain)
}

fn decide<'a>(
    parts: &'a FlowParts,
    caller: &Caller,
    bytes: &[u8],
    outbox: &mut Outbox,
    reply: Option<Reply>,
) -> Option<Admission<'a>> {
    let head = request_head::parse(bytes)?;
    let limits = &parts.limits;
    let fits = head.length <= limits.header_bytes_max
        && head.target.len() <= limits.uri_bytes_max
        && head.fields.len() <= limits.header_count_max
        && head.body_bytes <= limits.body_bytes_max.unwrap_or(u64::MAX).min(BODY_BYTES_MAX);
    if !fits {
        return None;
    }
    // It was compared with what fits.
    let body_bytes = usize::try_from(head.body_bytes).ok()?;
    if bytes.len() < head.length + body_bytes {
        return Some(Admission::Partial(head.length + body_bytes));
    }
    let host = framing::host_name(head.host)?;
    let path = RequestPath::parse(head.path()).ok()?;
    let route = parts.routes.find(&host, path.as_str())?;
    if !route.is_plain {
        return None;
    }
    let (client, given_id) = meet(parts, caller, &head);
    let started = reply.as_ref().map_or_else(|| parts.now(), |reply| reply.asked);
    let verdict = match (credential::find(&route.places, &head), reply) {
        (_, Some(reply)) => reply.verdict,
        (Err(crate::credential::Ambiguous), None) => Ok(denied(DenialReason::AmbiguousCredentials)),
        (Ok(None), None) => Ok(denied(DenialReason::KeyMissing)),
        (Ok(Some(credential)), None) => {
            let asked = VerifyRequest {
                credential,
                path: path.as_str(),
                address: Some(client),
                requirement: &route.requirement,
            };
            match parts.verifier.verify_held(&asked, started) {
                Some(verdict) => verdict,
                None => {
                    return Some(Admission::Unknown(Question {
                        credential: credential.to_vec(),
                        path: path.as_str().to_owned(),
                        client,
                        route: Arc::clone(route),
                        asked: started,
                    }));
                }
            }
        }
    };
    let request_id = given_id.unwrap_or_else(request_id::generate);
    let mut exchange = Exchange::begin(parts, route, (head.method, client, request_id), started);
    exchange.closes = head.closes;
    let refusal = settle(&mut exchange, verdict, outbox);
    if refusal.is_none() {
        write_request(&mut outbox.request, &head, caller, &exchange);
        let body = bytes.get(head.length..).and_then(|rest| rest.get(..body_bytes));
        outbox.request.extend_from_slice(body.unwrap_or_default());
    }
    Some(Admission::Decided(Admitted {
        exchange,
        head_bytes: head.length,
        body_bytes,
        refusal,
    }))
}

/// Who is calling: the client's address, and the request's id if a trusted peer gave one.
fn meet(parts: &FlowParts, caller: &Caller, head: &RequestHead<'_>) -> (IpAddr, Option<RequestId>) {
    if !caller.is_trusted {
        return (caller.peer, None);
    }
    let mut named = HeaderMap::new();
    let mut id = None;
    for field in &head.fields {
        let name = match field.kind {
            FieldKind::Forwarding(Forwarding::For) => X_FORWARDED_FOR,
            FieldKind::Forwarding(Forwarding::Standard) => FORWARDED,
            FieldKind::RequestId if id.is_none() => {
                id = Some(std::str::from_utf8(field.value).ok().and_then(request_id::accept));
                continue;
            }
            _ => continue,
        };
        if let Ok(value) = http::HeaderValue::from_bytes(field.value) {
            named.append(name, value);
        }
    }
    let client = client_address::resolve(caller.peer, &parts.trusted_proxies, &named);
    (client, id.flatten())
}

/// Notes a verdict; what the client is told, if it may not go on.
fn settle(exchange: &mut Exchange<'_>, verdict: Result<Verdict, VerifyError>, outbox: &mut Outbox) -> Option<Refusal> {
    let parts = exchange.parts;
    let elapsed = parts.elapsed(exchange.started);
    if let Ok(verdict) = &verdict {
        parts.usage.note(verdict, exchange.started);
    }
    let refusal = match verdict {
        Ok(Verdict::Allow(permit)) => {
            exchange.outcome = "allowed";
            tell_limits(exchange, &permit.key, &permit.charge, outbox);
            exchange.hash = Some(permit.hash);
            exchange.key = Some(permit.key);
            None
        }
        Ok(Verdict::Deny(denial)) => {
            exchange.outcome = denial.reason.name();
            if let DenialReason::RateLimited { blocked_rule, .. } = denial.reason {
                exchange.blocked_rule = Some(blocked_rule);
            }
            let refusal = Refusal::of_denial(&denial, exchange.route.challenge);
            if let (Some(key), Some(charge)) = (&denial.key, &denial.charge) {
                tell_limits(exchange, key, charge, outbox);
            }
            exchange.key = denial.key;
            Some(refusal)
        }
        Err(error) => {
            let refusal = Refusal::of_error(&error);
            exchange.outcome = refusal.reason;
            tracing::warn!(request_id = %exchange.request_id, %error, "a request cannot be decided");
            Some(refusal)
        }
    };
    parts.metrics.decision(Surface::Proxy, exchange.outcome, elapsed);
    refusal
}

fn tell_limits(exchange: &mut Exchange<'_>, key: &StoredKey, charge: &Charge, outbox: &mut Outbox) {
    exchange.told = rate_limit_headers::write(&key.rules, charge, exchange.parts.legacy_headers, &mut outbox.limits);
}

fn denied(reason: DenialReason) -> Verdict {
    Verdict::Deny(Denial {
        reason,
        key: None,
        charge: None,
    })
}

/// Writes the upstream's head: what the client sent, without what is the connection's, the key's or ours to say.
fn write_request(out: &mut Vec<u8>, head: &RequestHead<'_>, caller: &Caller, exchange: &Exchange<'_>) {
    let route = &*exchange.route;
    out.extend_from_slice(head.request_line);
    for field in &head.fields {
        if is_passed_on(field, caller, route) {
            out.extend_from_slice(field.line);
        }
    }
    if let Some(key) = &exchange.key {
        identity_headers::write(key, out);
    }
    exchange.request_id.write(out);
    write_forwarding(out, head, caller);
    out.extend_from_slice(b"\r\n");
}

fn is_passed_on(field: &Field<'_>, caller: &Caller, route: &Route) -> bool {
    let kind_passes = match field.kind {
        FieldKind::Other | FieldKind::Authorization => true,
        FieldKind::Dropped | FieldKind::RequestId | FieldKind::Forwarding(Forwarding::For) => false,
        FieldKind::Forwarding(_) => caller.is_trusted,
    };
    kind_passes && (route.keep_credential || !credential::holds(&route.places, field))
}

/// Tells the upstream where the request came from. What a trusted peer said stays, and the peer itself is appended.
fn write_forwarding(out: &mut Vec<u8>, head: &RequestHead<'_>, caller: &Caller) {
    let has = |which| {
        caller.is_trusted
            && head
                .fields
                .iter()
                .any(|field| field.kind == FieldKind::Forwarding(which))
    };
    out.extend_from_slice(b"X-Forwarded-For: ");
    if has(Forwarding::For) {
        write_list(out, head);
    }
    out.extend_from_slice(caller.peer_text.as_bytes());
    if !has(Forwarding::Proto) {
        out.extend_from_slice(b"\r\nX-Forwarded-Proto: ");
        out.extend_from_slice(if caller.is_tls { b"https" } else { b"http" });
    }
    if !has(Forwarding::Host) {
        out.extend_from_slice(b"\r\nX-Forwarded-Host: ");
        out.extend_from_slice(head.host.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

/// Writes the addresses that `X-Forwarded-For` lists so far, each with a comma behind it. A list that is not ASCII is none.
fn write_list(out: &mut Vec<u8>, head: &RequestHead<'_>) {
    let start = out.len();
    for field in &head.fields {
        if field.kind != FieldKind::Forwarding(Forwarding::For) {
            continue;
        }
        if !field.value.is_ascii() {
            return out.truncate(start);
        }
        if !field.value.is_empty() {
            out.extend_from_slice(field.value);
            out.extend_from_slice(b", ");
        }
    }
}
