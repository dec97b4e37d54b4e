//! Answers `/v1/forward-auth`: nginx `auth_request`, ingress-nginx, Traefik and Caddy ask it before they let a request through.
//!
//! 200 with the identity headers to copy upstream, or a refusal that the proxy passes on. It trusts the asking proxy's word for
//! the request it asks about, and for the client's address only where the proxy is a trusted one. Called by [`crate::flow`].

use crate::flow::{Flow, Question};
use crate::refuse::{self, Answer, bad_request};
use crate::{credential, original_request};
use bytes::Bytes;
use http::header::CACHE_CONTROL;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use portcullis_http::{Refusal, RequestId, identity_headers, rate_limit_headers};
use portcullis_verify::{Charge, Denial, Permit, RuleSet, Verdict};
use std::net::IpAddr;

#[cfg(test)]
mod tests;

/// The status that `?only=403` hides.
const X_PORTCULLIS_STATUS: HeaderName = HeaderName::from_static("x-portcullis-status");

/// Answers for the request that `request`'s headers describe.
pub(crate) async fn answer(flow: &Flow, request_id: &RequestId, peer: IpAddr, request: &Request<Incoming>) -> Answer {
    let only_403 = match only_403(request.uri().query()) {
        Ok(only_403) => only_403,
        Err(refusal) => return flow.refuse(&refusal, request_id),
    };
    let mut answer = decide(flow, request_id, peer, request).await;
    if only_403 && answer.status() != StatusCode::OK {
        let hidden = HeaderValue::from(answer.status().as_u16());
        answer.headers_mut().insert(X_PORTCULLIS_STATUS, hidden);
        *answer.status_mut() = StatusCode::FORBIDDEN;
    }
    answer
}

async fn decide(flow: &Flow, request_id: &RequestId, peer: IpAddr, request: &Request<Incoming>) -> Answer {
    let headers = request.headers();
    let original = match original_request::read(headers, request.method()) {
        Ok(original) => original,
        Err(refusal) => return flow.refuse(&refusal, request_id),
    };
    let question = Question {
        request_id,
        credential: credential::find(headers),
        method: &original.method,
        path: &original.path,
        address: Some(flow.client_address(peer, headers)),
        permissions: Vec::new(),
    };
    match flow.decide(question).await {
        Ok(Verdict::Allow(permit)) => allowed(flow, &permit),
        Ok(Verdict::Deny(denial)) => denied(flow, &denial, request_id),
        Err(error) => refuse::answer(&Refusal::of_error(&error), request_id),
    }
}

fn allowed(flow: &Flow, permit: &Permit) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::new()));
    answer.headers_mut().extend(identity_headers::of(&permit.key));
    set_limits(flow, &mut answer, &permit.key.rules, &permit.charge);
    answer
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

fn denied(flow: &Flow, denial: &Denial, request_id: &RequestId) -> Answer {
    let mut answer = refuse::answer(&refuse::denied(denial), request_id);
    if let (Some(key), Some(charge)) = (&denial.key, &denial.charge) {
        set_limits(flow, &mut answer, &key.rules, charge);
    }
    answer
}

fn set_limits(flow: &Flow, answer: &mut Answer, rules: &RuleSet, charge: &Charge) {
    for (name, value) in rate_limit_headers::of(rules, charge, flow.legacy_headers()) {
        answer.headers_mut().insert(name, value);
    }
}

/// Whether the query asks for 403 in the place of every other refusal.
fn only_403(query: Option<&str>) -> Result<bool, Refusal> {
    let mut only = false;
    for parameter in query.unwrap_or_default().split('&') {
        match parameter.split_once('=').unwrap_or((parameter, "")) {
            ("only", "403") => only = true,
            ("only", _) => return Err(bad_request("`only` can be 403 and nothing else.")),
            // Proxies append what they like.
            _ => {}
        }
    }
    Ok(only)
}
