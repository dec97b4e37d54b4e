//! What the control API does unasked: it keeps the registry of gateways, and forgets what nobody needs any more.
//!
//! Decides how often; the settings say how long changes are kept. The listener runs it for as long as it answers.

use crate::gateways::keep_registry;
use crate::router::Api;
use jiff::{SignedDuration, Timestamp};
use portcullis_store::{Store, StoreError};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often it is looked whether the change log has outgrown its bound.
const LOOK: Duration = Duration::from_secs(1);
/// Looks between two clearings of what only ages.
const LOOKS_PER_CLEARING: u32 = 60;
/// The log may outgrow its bound by this part of it before it is cut back.
const SLACK: u64 = 16;
/// How long a gateway is remembered after it was last seen.
const GATEWAYS_KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);
/// How long counts of usage by the minute are kept.
const USAGE_KEPT: SignedDuration = SignedDuration::from_hours(31 * 24);

/// Runs until `shutdown`, which must come when no gateway is connected any more.
pub(crate) async fn tend(api: Api, shutdown: CancellationToken) {
    let registry = keep_registry(
        Arc::clone(api.fleet()),
        api.store().clone(),
        Arc::clone(api.tailer().rounds()),
        shutdown.clone(),
    );
    tokio::join!(registry, shutdown.run_until_cancelled(forget(&api)));
}

async fn forget(api: &Api) {
    let settings = api.settings();
    let mut compacted_at = 0;
    let mut looks: u32 = 0;
    loop {
        tokio::time::sleep(LOOK).await;
        looks = looks.wrapping_add(1);
        let head = api.tailer().applied().revision;
        let is_clearing = looks % LOOKS_PER_CLEARING == 1;
        if head.saturating_sub(compacted_at) > settings.change_log_rows_max / SLACK || is_clearing {
            let compacted = api
                .store()
                .compact_change_log(settings.change_log_rows_max, settings.change_log_keep);
            tell("the change log", compacted.await);
            compacted_at = head;
        }
        if is_clearing && let Ok(now) = api.now() {
            tell("the registry of gateways", forget_gateways(api.store(), now).await);
            tell("the counts of usage", forget_usage(api.store(), now).await);
        }
    }
}

async fn forget_gateways(store: &Store, now: Timestamp) -> Result<u64, StoreError> {
    store
        .forget_gateways(now.saturating_sub(GATEWAYS_KEPT).unwrap_or(Timestamp::MIN))
        .await
}

async fn forget_usage(store: &Store, now: Timestamp) -> Result<u64, StoreError> {
    let before = now.saturating_sub(USAGE_KEPT).unwrap_or(Timestamp::MIN);
    store.compact_usage(before.as_second().div_euclid(60)).await
}

fn tell(what: &'static str, forgotten: Result<u64, StoreError>) {
    match forgotten {
        Ok(0) => {}
        Ok(rows) => tracing::debug!(what, rows, "old entries are forgotten"),
        Err(error) => {
            tracing::warn!(
                what,
                error = &error as &dyn std::error::Error,
                "old entries cannot be forgotten now"
            );
        }
    }
}
