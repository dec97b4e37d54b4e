//! Turns denials and unreadable questions into answers of this surface; the one place where its statuses are decided.
//!
//! Unlike a proxied stranger, the caller here learns whether a key is unknown (401) or known and dead (403). What belongs to
//! another tenant is unknown. Called by both endpoints.

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;
use portcullis_http::{Refusal, RequestId};
use portcullis_verify::{Denial, DenialReason};
use std::borrow::Cow;

#[cfg(test)]
mod tests;

/// What the API answers with.
pub(crate) type Answer = Response<Full<Bytes>>;

/// A denial that has no answer of its own shape.
pub(crate) fn denied(denial: &Denial) -> Refusal {
    match denial.reason {
        DenialReason::KeyMalformed | DenialReason::KeyUnknown => unknown_key(),
        // The engine withholds the key when it is another tenant's.
        DenialReason::AppNotAllowed if denial.key.is_none() => unknown_key(),
        DenialReason::KeyRevoked
        | DenialReason::KeyExpired
        | DenialReason::AppInactive
        | DenialReason::AppNotAllowed => Refusal {
            message: Cow::Borrowed("The API key is revoked or expired, or its app is inactive or not served here."),
            ..Refusal::key_invalid()
        },
        DenialReason::KeyMissing
        | DenialReason::AmbiguousCredentials
        | DenialReason::TooManyFailures { .. }
        | DenialReason::ResourceDenied
        | DenialReason::PermissionDenied
        | DenialReason::RateLimited { .. } => Refusal::of_denial(denial, true),
    }
}

fn unknown_key() -> Refusal {
    Refusal {
        challenge: true,
        ..Refusal::new(
            StatusCode::UNAUTHORIZED,
            "key_invalid",
            40151,
            "The API key is malformed or unknown.",
        )
    }
}

/// A question that cannot be answered; `message` says why and must not repeat what was sent.
pub(crate) fn bad_request(message: impl Into<Cow<'static, str>>) -> Refusal {
    Refusal {
        message: message.into(),
        ..Refusal::bad_request("")
    }
}

/// Principals other than API keys are nobody's here.
pub(crate) fn unsupported_principal() -> Refusal {
    Refusal::new(
        StatusCode::BAD_REQUEST,
        "unsupported_principal",
        40051,
        "Only principals of the type `api_key` are supported.",
    )
}

/// No endpoint has this path.
pub(crate) fn not_found() -> Refusal {
    Refusal::new(
        StatusCode::NOT_FOUND,
        "not_found",
        40451,
        "The decision API has no such path.",
    )
}

/// The endpoint takes POST only.
pub(crate) fn method_not_allowed() -> Refusal {
    Refusal::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        40550,
        "This path takes POST only.",
    )
}

/// The body is not declared as JSON.
pub(crate) fn unsupported_media_type() -> Refusal {
    Refusal::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "unsupported_media_type",
        41550,
        "The body must be sent with Content-Type application/json.",
    )
}

/// The refusal as a whole answer.
pub(crate) fn answer(refusal: &Refusal, request_id: &RequestId) -> Answer {
    let mut answer = Response::new(Full::new(refusal.body(request_id.as_str())));
    *answer.status_mut() = refusal.status;
    answer.headers_mut().extend(refusal.headers());
    answer
}
