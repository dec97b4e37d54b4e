//! The gateways of a deployment as an operator sees them: what the registry has, and what this process knows better.

use crate::error::ApiError;
use crate::gateways::registry::wall;
use crate::router::Api;
use jiff::{SignedDuration, Timestamp};
use portcullis_store::GatewayRow;
use portcullis_verify::{DeploymentId, Version};
use std::collections::BTreeMap;

/// A gateway that is known.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) row: GatewayRow,
    /// By how many changes it is behind.
    pub(crate) lag: u64,
    /// How long ago, in milliseconds, it last knew that it was up to date.
    pub(crate) staleness_ms: u64,
}

/// The gateways that were seen in the last `seen_for`, by name, and the head of the log that they are held against.
pub(crate) async fn known(
    api: &Api,
    deployment_id: DeploymentId,
    seen_for: SignedDuration,
) -> Result<(Version, Vec<Known>), ApiError> {
    let moment = api.fleet().now();
    let now = wall(moment);
    let seen_after = now.saturating_sub(seen_for).unwrap_or(Timestamp::MIN);
    let rows = api.store().list_gateways(deployment_id, seen_after).await?;
    let mut rows: BTreeMap<String, GatewayRow> = rows
        .into_iter()
        .map(|mut row| {
            // A process that was killed could not take back what it wrote.
            row.is_connected &= row.counts_until >= now;
            (row.gateway_id.clone(), row)
        })
        .collect();
    for live in api.fleet().of(deployment_id) {
        let here = live.shown(&api.fleet().control_id, (moment, now));
        match rows.get_mut(&here.gateway_id) {
            // It is back at another control process.
            Some(row) if !here.is_connected && row.control_id != here.control_id => {}
            Some(row) => *row = here,
            None => {
                rows.insert(here.gateway_id.clone(), here);
            }
        }
    }
    let head = api.tailer().applied();
    let mut known: Vec<Known> = rows.into_values().map(|row| measure(row, head, now)).collect();
    known.sort_by(|one, other| (&one.row.name, &one.row.gateway_id).cmp(&(&other.row.name, &other.row.gateway_id)));
    Ok((head, known))
}

fn measure(row: GatewayRow, head: Version, now: Timestamp) -> Known {
    let applied = if row.applied.epoch == head.epoch {
        row.applied.revision
    } else {
        0
    };
    let since_seen = u64::try_from(now.duration_since(row.seen_at).as_millis()).unwrap_or(0);
    Known {
        lag: head.revision.saturating_sub(applied),
        staleness_ms: row.staleness_ms.saturating_add(since_seen),
        row,
    }
}
