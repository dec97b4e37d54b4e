//! A request's body: read within bounds, then JSON into a request type.
//!
//! Knows sizes, media types and JSON; which fields there are is [`crate::wire`]'s business. Nothing that was sent is
//! repeated in an error: published clients send their own configuration, token included, where options are left out.

use crate::error::ApiError;
use crate::error_code::ErrorCode;
use crate::router::Api;
use axum::extract::{FromRequest, Request};
use bytes::Bytes;
use http::{HeaderMap, header};
use http_body_util::LengthLimitError;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::error::Category;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Says, to whoever limits a request's time, whether its body is still being read. A request extension.
#[derive(Debug, Clone, Default)]
pub(crate) struct BodyPending(Arc<AtomicBool>);

impl BodyPending {
    /// Whether the handler still waits for its caller's bytes.
    pub(crate) fn is_pending(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// A whole body, unparsed.
#[derive(Debug)]
pub(crate) struct RequestBody {
    bytes: Bytes,
    is_json: bool,
}

impl FromRequest<Api> for RequestBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Self::Rejection> {
        let bytes_max = api.body_bytes_max();
        let is_json = has_json_type(request.headers());
        let announced = request
            .headers()
            .get(header::CONTENT_LENGTH)
            .and_then(|value| value.to_str().ok()?.parse().ok());
        if announced.is_some_and(|announced: usize| announced > bytes_max) {
            return Err(too_large(bytes_max));
        }
        let pending = request.extensions().get::<BodyPending>().cloned().unwrap_or_default();
        pending.0.store(true, Ordering::Release);
        let read = axum::body::to_bytes(request.into_body(), bytes_max).await;
        pending.0.store(false, Ordering::Release);
        match read {
            Ok(bytes) => Ok(RequestBody { bytes, is_json }),
            Err(error) if std::error::Error::source(&error).is_some_and(|cause| cause.is::<LengthLimitError>()) => {
                Err(too_large(bytes_max))
            }
            Err(_) => Err(ApiError::refused(
                ErrorCode::UnreadableBody,
                "The body could not be read to its end.",
            )),
        }
    }
}

impl RequestBody {
    /// The bytes, for fingerprints.
    pub(crate) fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Whether there is nothing in it.
    fn is_blank(&self) -> bool {
        self.bytes.iter().all(u8::is_ascii_whitespace)
    }

    /// The request that the body must hold.
    pub(crate) fn required<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        if self.is_blank() {
            return Err(ApiError::refused(
                ErrorCode::MissingField,
                "The body must be a JSON object; it is empty.",
            ));
        }
        match self.parse()? {
            Value::Null => Err(not_an_object()),
            value => read(value),
        }
    }

    /// The request that the body may hold; an empty one, without a body or with `null`.
    pub(crate) fn optional<T: DeserializeOwned + Default>(&self) -> Result<T, ApiError> {
        if self.is_blank() {
            return Ok(T::default());
        }
        match self.parse()? {
            Value::Null => Ok(T::default()),
            value => read(value),
        }
    }

    fn parse(&self) -> Result<Value, ApiError> {
        if !self.is_json {
            return Err(ApiError::refused(
                ErrorCode::WrongMediaType,
                "The body must be sent with `Content-Type: application/json`.",
            ));
        }
        serde_json::from_slice(&self.bytes).map_err(|error| {
            let message = match error.classify() {
                // These texts are fixed by the parser and end in line and column.
                Category::Syntax | Category::Eof => format!("The body is not valid JSON: {error}."),
                // These may repeat what was sent.
                Category::Data | Category::Io => {
                    format!(
                        "The body is not valid JSON at line {} column {}.",
                        error.line(),
                        error.column()
                    )
                }
            };
            ApiError::refused(ErrorCode::MalformedJson, message)
        })
    }
}

fn read<T: DeserializeOwned>(value: Value) -> Result<T, ApiError> {
    if !value.is_object() {
        return Err(not_an_object());
    }
    // Fields report their own faults, so that this fails for no object.
    serde_json::from_value(value).map_err(|_| not_an_object())
}

fn not_an_object() -> ApiError {
    ApiError::refused(ErrorCode::WrongType, "The body must be a JSON object.")
}

fn too_large(bytes_max: usize) -> ApiError {
    ApiError::refused(
        ErrorCode::BodyTooLarge,
        format!("The body is larger than {bytes_max} bytes."),
    )
}

/// Whether the body is said to be JSON: `application/json` or `application/…+json`, with any parameters.
fn has_json_type(headers: &HeaderMap) -> bool {
    let Some(Ok(value)) = headers.get(header::CONTENT_TYPE).map(|value| value.to_str()) else {
        return false;
    };
    let media_type = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    media_type == "application/json" || (media_type.starts_with("application/") && media_type.ends_with("+json"))
}
