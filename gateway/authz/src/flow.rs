//! The life of one request to the decision API, from its head to its answer.
//!
//! Reads what an endpoint needs, asks the engine once, records once. The shapes of questions and answers are the endpoints'.
//! Called by [`crate::server`] for each request.

use crate::credential::Ambiguous;
use crate::refuse::{self, Answer};
use crate::{AuthzParts, check_answer, check_request, forward_auth};
use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use portcullis_http::{Refusal, RequestId, RequestPath, client_address, request_id};
use portcullis_record::{Metrics, Surface};
use portcullis_verify::{Denial, DenialReason, PermissionExpression, Requirement, Verdict, VerifyError, VerifyRequest};
use std::borrow::Cow;
use std::net::IpAddr;
use std::time::Duration;
use tokio::time::timeout;

#[cfg(test)]
mod tests;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Answers requests; one for all connections.
pub(crate) struct Flow {
    parts: AuthzParts,
    /// What every question without permissions of its own asks.
    requirement: Requirement,
    body_timeout: Duration,
}

/// One question to the engine, and who asks it.
pub(crate) struct Question<'a> {
    /// Names it in logs and answers.
    pub(crate) request_id: &'a RequestId,
    /// The key, if there was one, and only one.
    pub(crate) credential: Result<Option<&'a [u8]>, Ambiguous>,
    /// The method it is about.
    pub(crate) method: &'a Method,
    /// The path it is about.
    pub(crate) path: &'a RequestPath<'a>,
    /// The client's address, if rules on addresses are to hold.
    pub(crate) address: Option<IpAddr>,
    /// Permissions it needs.
    pub(crate) permissions: Vec<PermissionExpression>,
}

impl Flow {
    pub(crate) fn new(parts: AuthzParts, body_timeout: Duration) -> Flow {
        let requirement = Requirement {
            deployment_id: parts.deployment_id,
            apps: parts.apps.clone(),
            permissions: Vec::new(),
        };
        Flow {
            parts,
            requirement,
            body_timeout,
        }
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.parts.metrics
    }

    /// Whether limits are told of in `X-RateLimit-*` headers too.
    pub(crate) fn legacy_headers(&self) -> bool {
        self.parts.legacy_headers
    }

    /// Answers one request from the TCP peer `peer`.
    pub(crate) async fn answer(&self, peer: IpAddr, request: Request<Incoming>) -> Answer {
        let _in_flight = self.metrics().request_in_flight();
        let request_id = self.request_id(peer, request.headers());
        let mut answer = match request.uri().path() {
            "/v1/authz/check" => self.check(&request_id, request).await,
            "/v1/forward-auth" => forward_auth::answer(self, &request_id, peer, &request).await,
            _ => self.refuse(&refuse::not_found(), &request_id),
        };
        answer.headers_mut().insert(X_REQUEST_ID, request_id.header_value());
        answer
    }

    async fn check(&self, request_id: &RequestId, request: Request<Incoming>) -> Answer {
        if request.method() != Method::POST {
            let mut answer = self.refuse(&refuse::method_not_allowed(), request_id);
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
            return answer;
        }
        let question = async {
            if !is_json(request.headers()) {
                return Err(refuse::unsupported_media_type());
            }
            check_request::parse(&self.body(request.into_body()).await?)
        };
        let check = match question.await {
            Ok(check) => check,
            Err(refusal) => return self.refuse(&refusal, request_id),
        };
        let path = match check.path() {
            Ok(path) => path,
            Err(refusal) => return self.refuse(&refusal, request_id),
        };
        let question = Question {
            request_id,
            credential: Ok(check.credential()),
            method: &check.method,
            path: &path,
            address: check.address,
            permissions: check.permissions.clone(),
        };
        match self.decide(question).await {
            Ok(verdict) => check_answer::of(&verdict, request_id, self.legacy_headers()),
            Err(error) => refuse::answer(&Refusal::of_error(&error), request_id),
        }
    }

    /// Asks the engine, and records what it said.
    pub(crate) async fn decide(&self, question: Question<'_>) -> Result<Verdict, VerifyError> {
        let clock = self.parts.verifier.clock();
        let begun = clock.now();
        let requirement = if question.permissions.is_empty() {
            Cow::Borrowed(&self.requirement)
        } else {
            Cow::Owned(Requirement {
                permissions: question.permissions,
                ..self.requirement.clone()
            })
        };
        let verdict = match question.credential {
            Err(Ambiguous) => Ok(keyless(DenialReason::AmbiguousCredentials)),
            Ok(None) => Ok(keyless(DenialReason::KeyMissing)),
            Ok(Some(credential)) => {
                let request = VerifyRequest {
                    credential,
                    path: question.path.as_str(),
                    address: question.address,
                    requirement: &requirement,
                };
                self.parts.verifier.verify(&request).await
            }
        };
        let decided = clock.now();
        if let Ok(verdict) = &verdict {
            self.parts.usage.note(verdict, decided);
        }
        let elapsed = Duration::from_micros(decided.monotonic_us.saturating_sub(begun.monotonic_us));
        let (outcome, key, blocked_rule) = match &verdict {
            Ok(Verdict::Allow(permit)) => ("allowed", Some(&permit.key), None),
            Ok(Verdict::Deny(denial)) => (denial.reason.name(), denial.key.as_ref(), denial.blocked_rule()),
            Err(error @ (VerifyError::Source(_) | VerifyError::TooStale { .. })) => {
                tracing::warn!(request_id = %question.request_id, %error, "the decision API could not decide");
                ("control_unavailable", None, None)
            }
        };
        self.metrics().decision(Surface::Authz, outcome, elapsed);
        // Never the path, where a key may stand.
        if self.parts.log_requests {
            tracing::info!(
                request_id = %question.request_id,
                surface = "authz",
                outcome,
                blocked_rule,
                key_id = key.map(|key| key.key_id.0),
                app = key.map(|key| key.app.slug.as_str()),
                client = question.address.map(tracing::field::display),
                method = %question.method,
                elapsed_us = elapsed.as_micros(),
                "decided",
            );
        }
        verdict
    }

    /// Answers a request about which nothing was decided.
    pub(crate) fn refuse(&self, refusal: &Refusal, request_id: &RequestId) -> Answer {
        self.metrics().refused_before_decision(refusal.reason);
        refuse::answer(refusal, request_id)
    }

    /// The client's address, as far as `peer` may name another one.
    pub(crate) fn client_address(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        client_address::resolve(peer, &self.parts.trusted_proxies, headers)
    }

    /// A trusted peer's id for the request, else one of ours.
    fn request_id(&self, peer: IpAddr, headers: &HeaderMap) -> RequestId {
        let given = headers
            .get(X_REQUEST_ID)
            .filter(|_| client_address::is_trusted(peer, &self.parts.trusted_proxies));
        given
            .and_then(|id| id.to_str().ok())
            .and_then(request_id::accept)
            .unwrap_or_else(request_id::generate)
    }

    async fn body(&self, body: Incoming) -> Result<Bytes, Refusal> {
        let bytes_max = self.parts.body_bytes_max;
        // What announces itself as too long is not waited for.
        if body.size_hint().lower() > u64::try_from(bytes_max).unwrap_or(u64::MAX) {
            return Err(Refusal::payload_too_large());
        }
        match timeout(self.body_timeout, Limited::new(body, bytes_max).collect()).await {
            Ok(Ok(collected)) => Ok(collected.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Refusal::payload_too_large()),
            Ok(Err(_)) => Err(Refusal::bad_request("The body could not be read to its end.")),
            Err(_) => Err(Refusal::request_timeout()),
        }
    }
}

/// A denial for which the engine need not be asked.
fn keyless(reason: DenialReason) -> Verdict {
    Verdict::Deny(Denial {
        reason,
        key: None,
        charge: None,
    })
}

/// Whether the body is declared as JSON. A missing declaration is none: browsers send such bodies across origins unasked.
fn is_json(headers: &HeaderMap) -> bool {
    let declared = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = declared
        .and_then(|value| value.split(';').next())
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}
