//! How a handler changes something: commit, wait until the change is applied here, then answer.
//!
//! Knows neither entities nor HTTP. Every mutating route goes through [`make`].

use crate::error::ApiError;
use crate::router::Api;
use portcullis_store::{Committed, StoreError};
use portcullis_verify::Version;
use std::time::Duration;
use tracing::Instrument as _;

/// How long an answer waits for its change to be applied.
const CONFIRMATION: Duration = Duration::from_secs(5);

/// Commits `change` and waits until it is applied.
///
/// # Errors
/// Those of [`commit`] and [`confirm`].
pub(crate) async fn make<T: Send + 'static>(
    api: &Api,
    change: impl Future<Output = Result<Committed<T>, StoreError>> + Send + 'static,
) -> Result<Committed<T>, ApiError> {
    let committed = commit(change).await?;
    confirm(api, committed.version).await?;
    Ok(committed)
}

/// Runs `change` to its end, even if the caller hangs up meanwhile.
///
/// # Errors
/// What `change` fails with.
pub(crate) async fn commit<T: Send + 'static>(
    change: impl Future<Output = Result<Committed<T>, StoreError>> + Send + 'static,
) -> Result<Committed<T>, ApiError> {
    let ended = tokio::spawn(change.in_current_span()).await;
    Ok(ended.map_err(|_| ApiError::Internal("a change panicked"))??)
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
