//! `Idempotency-Key`: a creating call that is repeated within 24 hours creates nothing twice.
//!
//! Knows how calls are told apart and how a first answer is given again; the store keeps records and their age. A body is
//! remembered as a hash only, and a key's secret not at all.

use crate::body::RequestBody;
use crate::error::ApiError;
use crate::error_code::ErrorCode;
use crate::router::Api;
use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderName, HeaderValue, StatusCode, header};
use portcullis_store::{FirstAnswer, Once, StoredAnswer};
use portcullis_verify::DeploymentId;

/// The request header.
const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// Set on an answer that was given before.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// Longest key.
const KEY_CHARS_MAX: usize = 255;
/// Domain of the fingerprints.
const FINGERPRINT_CONTEXT: &str = "portcullis 2026 idempotent request";

/// The caller's `Idempotency-Key`, if it sent one.
#[derive(Debug)]
pub(crate) struct IdempotencyKey(Option<String>);

impl FromRequestParts<Api> for IdempotencyKey {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Self, Self::Rejection> {
        let mut values = parts.headers.get_all(IDEMPOTENCY_KEY).iter();
        let Some(value) = values.next() else {
            return Ok(IdempotencyKey(None));
        };
        let key = value.to_str().unwrap_or_default();
        let is_fit = (1..=KEY_CHARS_MAX).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_fit || values.next().is_some() {
            return Err(ApiError::refused(
                ErrorCode::InvalidHeader,
                format!("`Idempotency-Key` must be sent once, with 1 to {KEY_CHARS_MAX} visible ASCII characters."),
            ));
        }
        Ok(IdempotencyKey(Some(key.to_owned())))
    }
}

impl IdempotencyKey {
    /// The mark of a call to `endpoint` on `subject` (the app's slug, or nothing) with `body`.
    pub(crate) fn mark(self, endpoint: &'static str, subject: &str, body: &RequestBody) -> Option<Once> {
        let idempotency_key = self.0?;
        let mut hasher = blake3::Hasher::new_derive_key(FINGERPRINT_CONTEXT);
        for part in [endpoint.as_bytes(), subject.as_bytes(), body.bytes()] {
            // Lengths keep two different triples from being the same bytes in a row.
            hasher.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
            hasher.update(part);
        }
        let fingerprint = *hasher.finalize().as_bytes();
        Some(Once {
            endpoint: endpoint.to_owned(),
            idempotency_key,
            fingerprint,
        })
    }
}

/// What the first call with this mark was answered, as an answer to its repetition; `None` if there was none.
pub(crate) async fn replay(api: &Api, deployment_id: DeploymentId, once: &Once) -> Result<Option<Response>, ApiError> {
    let first = api
        .store()
        .first_answer(deployment_id, &once.endpoint, &once.idempotency_key)
        .await?;
    let first_fingerprint = match &first {
        None => return Ok(None),
        Some(FirstAnswer::Answer { fingerprint, .. } | FirstAnswer::Key { fingerprint, .. }) => fingerprint,
    };
    if *first_fingerprint != once.fingerprint {
        return Err(ApiError::refused(
            ErrorCode::IdempotencyMismatch,
            "This Idempotency-Key was used with a different request; use a new one for each request.",
        ));
    }
    match first {
        Some(FirstAnswer::Answer { answer, .. }) => Ok(Some(again(answer))),
        Some(FirstAnswer::Key { key_id, .. }) => Err(ApiError::KeyAlreadyCreated(key_id)),
        None => Ok(None),
    }
}

fn again(answer: StoredAnswer) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (REPLAYED, HeaderValue::from_static("true")),
    ];
    (status, headers, answer.body).into_response()
}
