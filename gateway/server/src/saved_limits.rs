//! Counters that outlive the process: restored before anything is admitted, saved on a timer and once everything has drained.
//!
//! Decides when, and tells the operator what came of it. What is saved and how is the limits crate's business. The roles that
//! admit requests call it.

use crate::wiring::Engine;
use anyhow::Context;
use portcullis_config::settings::Limits;
use portcullis_limits::{CountersFile, LimiterSettings, LocalLimiter, Restored};
use portcullis_record::Metrics;
use portcullis_verify::Clock;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio_util::sync::CancellationToken;

/// What a limiter may hold.
pub(crate) fn settings(limits: &Limits) -> LimiterSettings {
    LimiterSettings {
        counters_max: limits.counters_max,
    }
}

/// The limiter to begin with, and the file that it is saved to, if it is.
///
/// # Errors
///
/// When another process uses the file, or it cannot be kept from being overwritten.
pub(crate) async fn open(limits: &Limits, clock: &Clock) -> anyhow::Result<(Arc<LocalLimiter>, Option<CountersFile>)> {
    let settings = settings(limits);
    if !limits.persist {
        return Ok((Arc::new(LocalLimiter::new(settings)), None));
    }
    let (path, clock) = (limits.persist_file.clone(), clock.clone());
    let (limiter, restored, file) = spawn_blocking(move || {
        let file = CountersFile::open(&path)?;
        let (limiter, restored) = file.restore(settings, clock.now())?;
        Ok::<_, portcullis_limits::CountersFileError>((limiter, restored, file))
    })
    .await?
    .context("limits.persist_file")?;
    tell(&restored, limits);
    Ok((Arc::new(limiter), Some(file)))
}

fn tell(restored: &Restored, limits: &Limits) {
    let file = limits.persist_file.display();
    match restored {
        Restored::NoFile => tracing::info!(%file, "no counters are saved yet: counting begins afresh"),
        Restored::Counters(taken) => tracing::info!(
            %file,
            counters = taken.counters,
            shared_for_want_of_room = taken.shared,
            passed_meanwhile = taken.passed,
            away_ms = taken.elapsed_us / 1_000,
            "counters restored"
        ),
        Restored::PutAside { why, kept_as } => tracing::error!(
            %file,
            error = %why,
            kept_as = %kept_as.display(),
            "saved counters cannot be used: counting begins afresh, and the file is kept under another name"
        ),
    }
}

/// What is saved, by which clock, and how often.
struct Saving {
    file: CountersFile,
    limiter: Arc<LocalLimiter>,
    clock: Clock,
    every: Duration,
    metrics: Arc<Metrics>,
}

/// Starts to save every so often. When told to stop, saves once more and ends.
pub(crate) fn keep(
    file: CountersFile,
    limits: &Limits,
    engine: &Engine,
    metrics: &Arc<Metrics>,
    stop: CancellationToken,
) -> JoinHandle<()> {
    let saving = Arc::new(Saving {
        file,
        limiter: Arc::clone(&engine.limiter),
        clock: engine.clock.clone(),
        every: limits.persist_interval,
        metrics: Arc::clone(metrics),
    });
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(saving.every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        // The first would be at once.
        ticks.reset();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = ticks.tick() => if let Some(counters) = save(&saving).await {
                    tracing::debug!(counters, "counters saved");
                },
            }
        }
        if let Some(counters) = save(&saving).await {
            tracing::info!(counters, "counters saved");
        }
    })
}

/// Saves, on a thread that may wait for the disk, and answers how many counters.
async fn save(saving: &Arc<Saving>) -> Option<u64> {
    let of_thread = Arc::clone(saving);
    let saved = spawn_blocking(move || of_thread.file.save(&of_thread.limiter, of_thread.clock.now())).await;
    saving.metrics.limits_saved(matches!(saved, Ok(Ok(_))));
    match saved {
        Ok(Ok(counters)) => Some(counters),
        Ok(Err(error)) => {
            tracing::error!(%error, "counters are not saved: a restart goes on from what was saved before");
            None
        }
        Err(error) => {
            tracing::error!(%error, "saving counters broke");
            None
        }
    }
}
