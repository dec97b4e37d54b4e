//! The one place where what went wrong becomes an answer.
//!
//! Public text and private cause part here: the cause goes to the log under the request's id, never to the caller, and no
//! answer repeats what a caller sent. Every route and layer of the control API returns [`ApiError`].

use crate::error_code::ErrorCode;
use crate::fault::Fault;
use crate::wire::{ErrorBody, ErrorEntry};
use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, header};
use portcullis_store::StoreError;
use portcullis_store::entity::TokenKind;
use portcullis_verify::{KeyId, VerifyError};

/// Why a request is not answered as its caller hoped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    /// Something about the request itself; the first fault's code decides the status.
    #[error("the request is refused")]
    Refused(Vec<Fault>),
    /// No management token, or a wrong one.
    #[error("the token is missing or wrong")]
    Unauthenticated {
        /// Whether there was one at all.
        presented: bool,
    },
    /// The token is good, but of the other kind.
    #[error("the token is of the other kind")]
    WrongTokenKind {
        /// The kind that the path needs.
        needed: TokenKind,
    },
    /// As many gateways are connected as there may be.
    #[error("there are too many gateways")]
    TooManyGateways,
    /// The caller's address sent too many wrong tokens.
    #[error("too many wrong tokens")]
    TooManyFailures {
        /// Seconds until it may try again.
        retry_after_s: u64,
    },
    /// The key was created by the first request under this idempotency key; its secret is gone.
    #[error("the key is created already")]
    KeyAlreadyCreated(KeyId),
    /// The change is committed, but nobody confirmed in time that it is applied.
    #[error("the change is not confirmed as applied")]
    NotConfirmed {
        /// Its number in the change log.
        revision: u64,
        /// The key it made, when it made one: its secret is lost with this answer.
        key_id: Option<KeyId>,
    },
    /// The store refused, or cannot be asked.
    #[error("the store failed")]
    Store(#[from] StoreError),
    /// The engine could not decide.
    #[error("the engine failed")]
    Verify(#[from] VerifyError),
    /// Something that must not happen did.
    #[error("internal error: {0}")]
    Internal(&'static str),
}

impl ApiError {
    /// A refusal for one reason.
    pub(crate) fn refused(code: ErrorCode, message: impl Into<String>) -> ApiError {
        ApiError::Refused(vec![Fault::new(code, message)])
    }

    /// There is nothing at this path.
    pub(crate) fn no_such_route() -> ApiError {
        ApiError::refused(
            ErrorCode::NoSuchRoute,
            "The control API has no such path; /openapi.json lists those it has.",
        )
    }

    /// There is no such key, or it is revoked already.
    pub(crate) fn no_such_key() -> ApiError {
        ApiError::refused(ErrorCode::NoSuchKey, "There is no such key, or it is revoked already.")
    }

    /// There is no such gateway token, or it is revoked already.
    pub(crate) fn no_such_token() -> ApiError {
        ApiError::Store(StoreError::NotFound { what: "token" })
    }

    /// The same error, naming the key that was made all the same.
    pub(crate) fn about(self, id: KeyId) -> ApiError {
        match self {
            ApiError::NotConfirmed { revision, .. } => ApiError::NotConfirmed {
                revision,
                key_id: Some(id),
            },
            other => other,
        }
    }

    /// The faults that the caller is told of.
    fn faults(&self) -> Vec<Fault> {
        let one = |code: ErrorCode, message: String| vec![Fault::new(code, message)];
        match self {
            ApiError::Refused(faults) => faults.clone(),
            ApiError::Unauthenticated { presented: false } => one(
                ErrorCode::Unauthenticated,
                "A token is required: send `Authorization: Bearer <token>`.".to_owned(),
            ),
            ApiError::Unauthenticated { presented: true } => one(
                ErrorCode::Unauthenticated,
                "The token is not known, or is revoked.".to_owned(),
            ),
            ApiError::WrongTokenKind { needed } => one(
                ErrorCode::WrongTokenKind,
                match needed {
                    TokenKind::Management => "This is a gateway's token; a management token is required.",
                    TokenKind::Gateway => "This is a management token; a gateway's token is required.",
                }
                .to_owned(),
            ),
            ApiError::TooManyGateways => one(
                ErrorCode::TooManyGateways,
                "As many gateways are connected as this process takes; try again.".to_owned(),
            ),
            ApiError::TooManyFailures { retry_after_s } => one(
                ErrorCode::TooManyFailures,
                format!("This address sent too many wrong tokens; try again in {retry_after_s} s."),
            ),
            ApiError::KeyAlreadyCreated(id) => one(
                ErrorCode::KeyAlreadyCreated,
                format!(
                    "This Idempotency-Key has created the key {id} already. Its secret was shown once and is not \
                     stored: rotate or revoke that key."
                ),
            ),
            ApiError::NotConfirmed { revision, .. } => one(
                ErrorCode::NotConfirmed,
                format!("The change is committed as revision {revision}, but not yet confirmed as applied."),
            ),
            ApiError::Store(error) => vec![store_fault(error)],
            ApiError::Verify(VerifyError::Source(_) | VerifyError::TooStale { .. }) => one(
                ErrorCode::StoreUnavailable,
                "The store cannot be asked now; try again.".to_owned(),
            ),
            ApiError::Internal(_) => one(
                ErrorCode::Internal,
                "The server failed; its log has the cause.".to_owned(),
            ),
        }
    }

    /// Leaves the private cause in the log, for errors that have one.
    fn log(&self) {
        match self {
            ApiError::Store(error @ StoreError::Unavailable(_)) => {
                tracing::error!(cause = %causes(error), "the store failed");
            }
            ApiError::Verify(error) => tracing::error!(cause = %error, "the engine could not decide"),
            ApiError::Internal(cause) => tracing::error!(cause, "internal error"),
            ApiError::NotConfirmed { revision, .. } => tracing::error!(revision, "a change was not applied in time"),
            ApiError::Refused(_)
            | ApiError::Unauthenticated { .. }
            | ApiError::WrongTokenKind { .. }
            | ApiError::TooManyGateways
            | ApiError::TooManyFailures { .. }
            | ApiError::KeyAlreadyCreated(_)
            | ApiError::Store(_) => {}
        }
    }
}

impl From<Vec<Fault>> for ApiError {
    fn from(faults: Vec<Fault>) -> Self {
        ApiError::Refused(faults)
    }
}

/// What a caller is told when the store does not do what it was asked.
fn store_fault(error: &StoreError) -> Fault {
    match error {
        StoreError::NotFound { what } => match *what {
            "app" => Fault::new(ErrorCode::NoSuchApp, "This deployment has no app with this slug."),
            "key" => Fault::new(ErrorCode::NoSuchKey, "There is no such key, or it is revoked already."),
            "rate-limit scheme" => Fault::new(
                ErrorCode::NoSuchScheme,
                "This deployment has no rate-limit scheme with this slug.",
            ),
            "token" => Fault::new(
                ErrorCode::NoSuchToken,
                "This deployment has no such token, or it is revoked already.",
            ),
            what => Fault::new(ErrorCode::NoSuchRoute, format!("This deployment has no such {what}.")),
        },
        StoreError::Duplicate { what } => Fault::new(ErrorCode::Duplicate, sentence(format!("{what} already exists"))),
        StoreError::InUse { .. } => Fault::new(ErrorCode::SchemeInUse, sentence(error.to_string())),
        StoreError::Invalid { message } => Fault::new(ErrorCode::InvalidField, sentence(message.clone())),
        StoreError::PlanForbids => Fault::new(
            ErrorCode::PlanTooSmall,
            "Creating apps needs the deployment's plan to be `growth`.",
        ),
        StoreError::PrefixChanged { .. } => Fault::new(
            ErrorCode::Conflict,
            "The app's key prefix was being changed at the same time; try again.",
        ),
        StoreError::IdempotentReplay => Fault::new(
            ErrorCode::Conflict,
            "Another request with this Idempotency-Key was under way at the same time; try again.",
        ),
        StoreError::Unavailable(_) => Fault::new(
            ErrorCode::StoreUnavailable,
            "The store cannot be asked now; read before you retry, a change may have been made.",
        ),
    }
}

/// Makes a store's phrase a sentence: a capital first, unless it starts with a field's name, and a full stop last.
fn sentence(phrase: String) -> String {
    let stop = if phrase.ends_with('.') { "" } else { "." };
    match phrase.strip_prefix("the ") {
        Some(rest) => format!("The {rest}{stop}"),
        None => format!("{phrase}{stop}"),
    }
}

/// An error with all that caused it, for the log.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        self.log();
        let faults = self.faults();
        let status = faults.first().map_or(ErrorCode::Internal, |fault| fault.code).status();
        let messages: Vec<&str> = faults.iter().map(|fault| fault.message.as_str()).collect();
        let body = ErrorBody {
            message: messages.join(" "),
            key_id: match &self {
                ApiError::KeyAlreadyCreated(id) | ApiError::NotConfirmed { key_id: Some(id), .. } => {
                    Some(id.to_string())
                }
                _ => None,
            },
            errors: faults
                .iter()
                .map(|fault| ErrorEntry {
                    message: fault.message.clone(),
                    code: fault.code.number(),
                })
                .collect(),
        };
        let mut response = (status, Json(body)).into_response();
        if let Some(fault) = faults.first() {
            response.extensions_mut().insert(fault.code);
        }
        let headers = response.headers_mut();
        match self {
            ApiError::Unauthenticated { presented } => {
                let challenge = if presented {
                    r#"Bearer realm="portcullis", error="invalid_token""#
                } else {
                    r#"Bearer realm="portcullis""#
                };
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
            }
            ApiError::TooManyFailures { retry_after_s } => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(retry_after_s));
            }
            _ => {}
        }
        response
    }
}
