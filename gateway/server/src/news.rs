//! Says in the log when this process stops trusting what it holds, and when it trusts it again.
//!
//! Decides nothing: it looks at the one place that does, ten times a second. Whoever is called at night should find the moment.

use crate::wiring::Engine;
use portcullis_verify::Standing;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Tells of every change until `stop`.
pub(crate) async fn tell(engine: Engine, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    // Nothing is known yet, which is no news.
    let mut told = None;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let now = engine.clock.now();
        let Some(staleness) = engine.freshness.staleness(now) else {
            continue;
        };
        let (standing, stale_ms) = (engine.freshness.standing(now), staleness.as_millis());
        match (told, standing) {
            (Some(before), now) if before == now => {}
            (None, Standing::Fresh) => tracing::info!(stale_ms, "up to date"),
            (Some(_), Standing::Fresh) => tracing::info!(stale_ms, "up to date again: every key is decided"),
            (_, Standing::Stale) => tracing::warn!(
                stale_ms,
                "no news for longer than gateway.stale_soft: known keys are served, others are answered 503"
            ),
            (_, Standing::TooStale) => tracing::error!(
                stale_ms,
                "no news for longer than gateway.stale_max: every request is answered 503"
            ),
        }
        told = Some(standing);
    }
}
