//! How a handler changes something: commit, note what was changed, wait until the change is applied here, then answer.
//!
//! Knows nothing of HTTP, and of entities only what they are called in the log. Every mutating route goes through [`make`].

use crate::error::ApiError;
use crate::gateways::Change;
use crate::path::Wait;
use crate::router::Api;
use crate::wire::Enforced;
use portcullis_store::entity::{App, Key, Scheme, Token};
use portcullis_store::{Committed, StoreError};
use portcullis_verify::{DeploymentId, Version};
use std::time::Duration;
use tracing::field::display;
use tracing::{Instrument as _, Span};

/// How long an answer waits for its change to be applied.
const CONFIRMATION: Duration = Duration::from_secs(5);

/// What was changed, for the request's log line: whoever looks into an incident asks which key, and whose.
///
/// Only what the store answered is noted. What a caller wrote into a path may be a secret in the wrong place.
pub(crate) trait Noted {
    /// Writes its names into the request's span.
    fn note(&self, span: &Span);
}

impl Noted for App {
    fn note(&self, span: &Span) {
        span.record("app", self.slug.as_str());
    }
}

impl Noted for Key {
    fn note(&self, span: &Span) {
        span.record("app", self.app_slug.as_str());
        span.record("key_id", display(self.id));
        if let Some(replaced) = self.rotated_from {
            span.record("rotated_from", display(replaced));
        }
    }
}

impl Noted for Scheme {
    fn note(&self, span: &Span) {
        span.record("scheme", self.slug.as_str());
    }
}

impl Noted for Token {
    fn note(&self, span: &Span) {
        span.record("token_id", self.id);
    }
}

/// What is deleted has no entity left; see [`deleted`].
impl Noted for () {
    fn note(&self, _: &Span) {}
}

/// Notes a deletion that was committed: `what` is `app` or `scheme`, as the span calls them.
pub(crate) fn deleted(what: &'static str, slug: &str) {
    Span::current().record(what, slug);
}

/// Commits `change` and waits until it is applied in this process.
///
/// # Errors
/// Those of [`commit`] and [`confirm`].
pub(crate) async fn make<T: Noted + Send + 'static>(
    api: &Api,
    change: impl Future<Output = Result<Committed<T>, StoreError>> + Send + 'static,
) -> Result<Committed<T>, ApiError> {
    let committed = commit(api, change).await?;
    confirm(api, committed.version).await?;
    Ok(committed)
}

/// Runs `change` to its end, even if the caller hangs up meanwhile, and notes what it changed.
///
/// # Errors
/// What `change` fails with.
pub(crate) async fn commit<T: Noted + Send + 'static>(
    api: &Api,
    change: impl Future<Output = Result<Committed<T>, StoreError>> + Send + 'static,
) -> Result<Committed<T>, ApiError> {
    let ended = tokio::spawn(change.in_current_span()).await;
    let committed = ended.map_err(|_| ApiError::Internal("a change panicked"))??;
    committed.value.note(&Span::current());
    api.fleet().note_own(committed.version.revision);
    Ok(committed)
}

/// Waits until the tailer has applied the change with this version.
///
/// # Errors
/// [`ApiError::NotConfirmed`] when it was not applied in time.
pub(crate) async fn confirm(api: &Api, version: Version) -> Result<(), ApiError> {
    match tokio::time::timeout(CONFIRMATION, api.tailer().wait_for(version)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(ApiError::NotConfirmed {
            revision: version.revision,
            key_id: None,
        }),
    }
}

/// How far a change has come that is committed and applied in this process; with `wait`, once every gateway decides by it or
/// refuses.
///
/// # Errors
/// [`ApiError::NotConfirmed`] when it cannot be known whom to wait for.
pub(crate) async fn enforcement(
    api: &Api,
    deployment_id: DeploymentId,
    version: Version,
    wait: &Wait,
) -> Result<Enforced, ApiError> {
    let change = Change {
        deployment_id,
        version,
        // A little later than it was, so that nobody is taken to refuse too early.
        committed: api.fleet().now(),
    };
    let enforcement = if wait.for_fleet {
        wait.patience.begin();
        change.everywhere(api).await?
    } else {
        change.standing(api).await
    };
    Ok(enforcement.into())
}
