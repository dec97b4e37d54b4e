//! Keeps the store's registry of gateways true: a row before the first answer, renewed while the gateway is there, and its end.
//!
//! Writes in batches; decides nothing of who counts. The listener runs it beside its connections.

use crate::gateways::fleet::Fleet;
use crate::gateways::live::{Live, microseconds};
use crate::tailer::Rounds;
use jiff::Timestamp;
use portcullis_store::{GatewayRow, Store, StoreError};
use portcullis_verify::Moment;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Rows of one transaction: others who write wait for some milliseconds at most.
const BATCH: usize = 500;
/// How long gateways that come at once are gathered.
const GATHER: Duration = Duration::from_millis(3);
/// The pause after the store refused.
const PAUSE: Duration = Duration::from_millis(250);
/// How long the last write may take at the end of the process.
const LAST_WRITE: Duration = Duration::from_secs(2);

/// Runs until `shutdown`, then notes who is gone.
pub(crate) async fn keep(fleet: Arc<Fleet>, store: Store, rounds: Arc<Rounds>, shutdown: CancellationToken) {
    let mut failures: u32 = 0;
    loop {
        let renewal = fleet.lease() / 6;
        tokio::select! {
            () = shutdown.cancelled() => break,
            () = fleet.due.notified() => {}
            () = tokio::time::sleep(renewal) => {}
        }
        tokio::time::sleep(GATHER).await;
        let began = fleet.now();
        match write_due(&fleet, &store, &rounds).await {
            Ok(()) => failures = 0,
            Err(error) => {
                failures = failures.saturating_add(1);
                if failures.is_power_of_two() {
                    tracing::error!(
                        failures,
                        error = &error as &dyn std::error::Error,
                        "the registry of gateways cannot be written; gateways get no answers without it"
                    );
                }
                tokio::time::sleep(PAUSE).await;
                fleet.due.notify_one();
            }
        }
        fleet.sweep();
        // Others write too: what took long is not done again at once.
        let took_us = fleet.now().monotonic_us.saturating_sub(began.monotonic_us);
        tokio::time::sleep(Duration::from_micros(took_us.saturating_mul(2)).min(PAUSE)).await;
    }
    // Their connections have ended by now.
    if !matches!(
        tokio::time::timeout(LAST_WRITE, write_due(&fleet, &store, &rounds)).await,
        Ok(Ok(()))
    ) {
        tracing::warn!("which gateways are gone could not be noted; they are waited for a little longer");
    }
}

async fn write_due(fleet: &Fleet, store: &Store, rounds: &Rounds) -> Result<(), StoreError> {
    let lease = fleet.lease();
    // A third of it is left for a store that is away for a moment.
    let lease_left = lease * 2 / 3;
    let now = fleet.now();
    let due: Vec<Arc<Live>> = fleet
        .all()
        .into_iter()
        .filter(|live| live.is_due(now, lease_left))
        .collect();
    let mut outcome = Ok(());
    for batch in due.chunks(BATCH) {
        if outcome.is_err() {
            break;
        }
        let made = fleet.now();
        let at = (made, wall(made));
        let rows: Vec<GatewayRow> = batch
            .iter()
            .map(|live| live.row(&fleet.control_id, at, lease))
            .collect();
        outcome = store.note_gateways(&rows).await;
        let (round, now) = (rounds.mark(), fleet.now());
        for live in batch {
            match &outcome {
                Ok(()) => live.written(made, round, lease, now),
                Err(_) => live.not_written(),
            }
        }
    }
    outcome
}

/// The wall clock's time of a moment.
pub(crate) fn wall(moment: Moment) -> Timestamp {
    Timestamp::from_microsecond(moment.wall_us).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// What is left until `until_us`, from `now` on.
pub(crate) fn left(until_us: u64, now: Moment) -> Duration {
    Duration::from_micros(until_us.saturating_sub(now.monotonic_us))
}

/// A time so much after a moment, in monotonic microseconds.
pub(crate) fn after(moment: Moment, by: Duration) -> u64 {
    moment.monotonic_us.saturating_add(microseconds(by))
}
