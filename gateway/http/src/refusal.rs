//! Turns a denial, or a fault of ours, into what the caller is told: status, reason, code and message.
//!
//! The private reason stays with whoever logs it: a key that is unknown, revoked, expired, malformed, of a switched-off app
//! or of another app reads the same from outside. The proxy answers with these; the decision API overrides some.

use crate::rate_limit_headers::{retry_after_s, seconds_up};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, StatusCode};
use portcullis_verify::{Denial, DenialReason, VerifyError};
use serde::Serialize;
use std::borrow::Cow;

mod http1;
#[cfg(test)]
mod tests;

/// An answer that lets nothing through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The status line.
    pub status: StatusCode,
    /// The stable public name of what happened.
    pub reason: &'static str,
    /// The stable public number of what happened: the status and two digits, from 50 up (below that are the control API's).
    pub code: u32,
    /// A sentence for a person.
    pub message: Cow<'static, str>,
    /// Seconds after which trying again may help.
    pub retry_after_s: Option<u64>,
    /// Whether to ask for credentials with `WWW-Authenticate: Bearer`.
    pub challenge: bool,
}

impl Refusal {
    /// A refusal without waiting time and without challenge.
    #[must_use]
    pub const fn new(status: StatusCode, reason: &'static str, code: u32, message: &'static str) -> Refusal {
        Refusal {
            status,
            reason,
            code,
            message: Cow::Borrowed(message),
            retry_after_s: None,
            challenge: false,
        }
    }

    /// What a denied caller is told. With `challenge`, a missing key is answered 401 instead of 403.
    #[must_use]
    pub fn of_denial(denial: &Denial, challenge: bool) -> Refusal {
        match denial.reason {
            DenialReason::KeyMissing if challenge => Refusal {
                challenge: true,
                ..Refusal::new(
                    StatusCode::UNAUTHORIZED,
                    "key_missing",
                    40150,
                    "An API key is required.",
                )
            },
            DenialReason::KeyMissing => {
                Refusal::new(StatusCode::FORBIDDEN, "key_missing", 40350, "An API key is required.")
            }
            DenialReason::KeyMalformed
            | DenialReason::KeyUnknown
            | DenialReason::KeyRevoked
            | DenialReason::AppInactive
            | DenialReason::KeyExpired
            | DenialReason::AppNotAllowed => Refusal::key_invalid(),
            DenialReason::AmbiguousCredentials => Refusal::new(
                StatusCode::FORBIDDEN,
                "ambiguous_credentials",
                40352,
                "The request carries more than one API key. Send one.",
            ),
            DenialReason::PermissionDenied => Refusal::new(
                StatusCode::FORBIDDEN,
                "permission_denied",
                40353,
                "The API key lacks a permission that this request needs.",
            ),
            DenialReason::ResourceDenied => Refusal::new(
                StatusCode::FORBIDDEN,
                "resource_denied",
                40354,
                "The API key's app has no access to this resource.",
            ),
            DenialReason::TooManyFailures { retry_after_us } => Refusal {
                retry_after_s: Some(seconds_up(retry_after_us)),
                ..Refusal::new(
                    StatusCode::TOO_MANY_REQUESTS,
                    "too_many_failures",
                    42951,
                    "Too many invalid API keys came from this address. Try again later.",
                )
            },
            DenialReason::RateLimited {
                blocked_rule,
                retry_after_us,
            } => Refusal::rate_limited(denial, blocked_rule, retry_after_us),
        }
    }

    /// What a caller is told when the engine could not decide.
    #[must_use]
    pub fn of_error(error: &VerifyError) -> Refusal {
        match error {
            VerifyError::Source(_) | VerifyError::TooStale { .. } => Refusal {
                retry_after_s: Some(1),
                ..Refusal::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "control_unavailable",
                    50350,
                    "The API key cannot be checked right now. Try again shortly.",
                )
            },
        }
    }

    /// The key does not open this door; why is not said.
    #[must_use]
    pub const fn key_invalid() -> Refusal {
        Refusal::new(
            StatusCode::FORBIDDEN,
            "key_invalid",
            40351,
            "The API key is not valid here.",
        )
    }

    fn rate_limited(denial: &Denial, blocked_rule: usize, retry_after_us: u64) -> Refusal {
        let seconds = denial
            .charge
            .as_ref()
            .and_then(retry_after_s)
            .unwrap_or_else(|| seconds_up(retry_after_us));
        let rule = denial.key.as_ref().and_then(|key| key.rules.rules.get(blocked_rule));
        let message = match rule {
            Some(rule) => format!("The rate limit {} is used up. Try again in {seconds} s.", rule.name),
            None => format!("A rate limit is used up. Try again in {seconds} s."),
        };
        Refusal {
            message: Cow::Owned(message),
            retry_after_s: Some(seconds),
            ..Refusal::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", 42950, "")
        }
    }

    /// The request is one that servers may read differently, or not a request at all.
    #[must_use]
    pub const fn bad_request(message: &'static str) -> Refusal {
        Refusal::new(StatusCode::BAD_REQUEST, "bad_request", 40050, message)
    }

    /// No route of this gateway matches.
    #[must_use]
    pub const fn no_route() -> Refusal {
        Refusal::new(
            StatusCode::NOT_FOUND,
            "no_route",
            40450,
            "No route matches this host and path.",
        )
    }

    /// The body did not arrive in time.
    #[must_use]
    pub const fn request_timeout() -> Refusal {
        Refusal::new(
            StatusCode::REQUEST_TIMEOUT,
            "request_timeout",
            40850,
            "The request did not arrive in time.",
        )
    }

    /// The body is longer than this server takes.
    #[must_use]
    pub const fn payload_too_large() -> Refusal {
        Refusal::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "payload_too_large",
            41350,
            "The request body is too large.",
        )
    }

    /// The request target is longer than this server takes.
    #[must_use]
    pub const fn uri_too_long() -> Refusal {
        Refusal::new(
            StatusCode::URI_TOO_LONG,
            "uri_too_long",
            41450,
            "The request target is too long.",
        )
    }

    /// The header fields are more, or longer, than this server takes.
    #[must_use]
    pub const fn header_too_large() -> Refusal {
        Refusal::new(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "header_too_large",
            43150,
            "The request header fields are too large.",
        )
    }

    /// No upstream of the route took the request.
    #[must_use]
    pub const fn upstream_unreachable() -> Refusal {
        Refusal::new(
            StatusCode::BAD_GATEWAY,
            "upstream_unreachable",
            50250,
            "The upstream cannot be reached.",
        )
    }

    /// The upstream took the request and stayed silent.
    #[must_use]
    pub const fn upstream_timeout() -> Refusal {
        Refusal::new(
            StatusCode::GATEWAY_TIMEOUT,
            "upstream_timeout",
            50450,
            "The upstream did not answer in time.",
        )
    }

    /// This process is draining.
    #[must_use]
    pub fn shutting_down() -> Refusal {
        Refusal {
            retry_after_s: Some(1),
            ..Refusal::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "shutting_down",
                50351,
                "This gateway is shutting down.",
            )
        }
    }

    /// The JSON body: `{"errors":[{"message","code"}],"message","reason","request_id"}`.
    #[must_use]
    pub fn body(&self, request_id: &str) -> Bytes {
        let message = self.message.as_ref();
        let body = Body {
            errors: [Entry {
                message,
                code: self.code,
            }],
            message,
            reason: self.reason,
            request_id,
        };
        // Strings and integers always serialise.
        serde_json::to_vec(&body).map_or_else(|_| Bytes::from_static(b"{}"), Bytes::from)
    }

    /// The headers that belong to the body and the status. To be set, not appended.
    pub fn headers(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> + use<> {
        let always = [
            (CONTENT_TYPE, HeaderValue::from_static("application/json")),
            // A 404 or 414 would otherwise be fair game for a cache.
            (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        ];
        let retry_after = self
            .retry_after_s
            .map(|seconds| (RETRY_AFTER, HeaderValue::from(seconds)));
        let challenge = self
            .challenge
            .then(|| (WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")));
        always.into_iter().chain(retry_after).chain(challenge)
    }
}

#[derive(Serialize)]
struct Body<'a> {
    errors: [Entry<'a>; 1],
    message: &'a str,
    reason: &'a str,
    request_id: &'a str,
}

#[derive(Serialize)]
struct Entry<'a> {
    message: &'a str,
    code: u32,
}
