//! Sends what keys were used for, in batches, until each is acknowledged.
//!
//! Decides when rows become a batch, in which order batches go, and how long to wait after a failure. Knows nothing of what was counted
//! or of where it goes. The server starts one beside its [`UsageMeter`], and finishes it after everything that notes has ended.
//!
//! A batch keeps its id until it is acknowledged, so that it counts once however often it is sent. While batches wait, new counts stay
//! in the meter, where they fold. All of it is in memory: a process that is killed loses what was not acknowledged, at most what was
//! counted since the last batch, and what waited while the sink was away.

use super::{RESEND_TIME_MAX, SinkError, USAGE_ROWS_MAX, UsageBatch, UsageMeter, UsageSink};
use crate::metrics::{Metrics, UsageTotals};
use portcullis_verify::{Clock, Moment};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

mod backoff;
#[cfg(test)]
mod tests;

use backoff::{Backoff, up_to};

/// Most batches that wait to be acknowledged.
pub const BATCHES_MAX: usize = 64;
/// How often a batch is refused until it is given up: what stands between may have spoken for the sink.
const REFUSALS_MAX: u32 = 3;
/// How long a sink may take to answer for one batch.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// Waits after the first failure, and after many.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));
/// The same when the process ends: trying again soon costs nobody much then.
const BACKOFF_AT_THE_END: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(200));

/// What a reporter is made of.
pub struct ReporterParts {
    /// What was counted.
    pub meter: Arc<UsageMeter>,
    /// Where it goes.
    pub sink: Arc<dyn UsageSink>,
    /// Where the reporter says how it fares.
    pub metrics: Arc<Metrics>,
    /// The time, for ages.
    pub clock: Clock,
    /// How often counts are reported.
    pub interval: Duration,
}

/// A reporter at work. It stops at once when this is dropped.
#[derive(Debug)]
pub struct UsageReporter {
    stop: CancellationToken,
    task: AbortOnDropHandle<()>,
    meter: Arc<UsageMeter>,
}

/// A batch that is not acknowledged.
#[derive(Debug)]
struct Waiting {
    batch: UsageBatch,
    since: Moment,
    refusals: u32,
}

struct Reporter {
    parts: ReporterParts,
    waiting: VecDeque<Waiting>,
    backoff: Backoff,
    send_timeout: Duration,
    /// The sink did not answer the last time.
    is_away: bool,
    sent: u64,
    failed: u64,
    rows_given_up: u64,
}

impl UsageReporter {
    /// Starts reporting. Must be called in a tokio runtime.
    #[must_use]
    pub fn start(parts: ReporterParts) -> UsageReporter {
        Reporter::new(parts).start()
    }

    /// Reports all that was counted until now and ends; false if that took longer than `within` and the rest is lost. To be called when
    /// nothing is noted any more.
    pub async fn finish(self, within: Duration) -> bool {
        self.stop.cancel();
        let is_done = matches!(timeout(within, self.task).await, Ok(Ok(())));
        if !is_done {
            tracing::warn!(
                rows_in_no_batch = self.meter.rows_waiting(),
                "not all that keys were used for could be reported; the rest is lost"
            );
        }
        is_done
    }
}

/// The sink did not take what there is.
struct Unsent;

impl Reporter {
    fn new(parts: ReporterParts) -> Reporter {
        Reporter {
            parts,
            waiting: VecDeque::new(),
            backoff: Backoff::new(BACKOFF.0, BACKOFF.1),
            send_timeout: SEND_TIMEOUT,
            is_away: false,
            sent: 0,
            failed: 0,
            rows_given_up: 0,
        }
    }

    fn start(self) -> UsageReporter {
        let stop = CancellationToken::new();
        UsageReporter {
            meter: Arc::clone(&self.parts.meter),
            task: AbortOnDropHandle::new(tokio::spawn(self.run(stop.clone()))),
            stop,
        }
    }

    async fn run(mut self, stop: CancellationToken) {
        // Gateways that started together do not report together.
        let mut alarm = Box::pin(sleep(up_to(self.parts.interval)));
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = &mut alarm => {
                    self.gather().await;
                    let pause = match self.report().await {
                        Ok(()) => self.parts.interval,
                        Err(Unsent) => self.backoff.next(),
                    };
                    alarm = Box::pin(sleep(pause));
                }
                () = self.parts.meter.filling() => self.gather().await,
            }
        }
        self.gather().await;
        self.backoff = Backoff::new(BACKOFF_AT_THE_END.0, BACKOFF_AT_THE_END.1);
        while self.report().await.is_err() {
            sleep(self.backoff.next()).await;
        }
    }

    /// Sends all that was gathered, in order, until the sink fails.
    async fn report(&mut self) -> Result<(), Unsent> {
        let result = loop {
            if self.waiting.is_empty() {
                self.form_batches().await;
            }
            let Some(first) = self.waiting.front() else {
                // There are rows left if no id could be drawn for them.
                break if self.parts.meter.rows_waiting() == 0 {
                    Ok(())
                } else {
                    Err(Unsent)
                };
            };
            if self.age(first) > RESEND_TIME_MAX {
                self.give_up("it is so old that nobody remembers whether it was recorded");
                continue;
            }
            let answer = self.send(&first.batch).await;
            if self.conclude(answer).is_err() {
                break Err(Unsent);
            }
            self.tell();
        };
        self.tell();
        result
    }

    /// Sends a batch once. Goes on gathering meanwhile.
    async fn send(&self, batch: &UsageBatch) -> Result<(), SinkError> {
        let mut answer = std::pin::pin!(timeout(self.send_timeout, self.parts.sink.send(batch)));
        loop {
            tokio::select! {
                answer = &mut answer => return answer.unwrap_or_else(|_| {
                    Err(SinkError::Unanswered(format!("no answer within {:?}", self.send_timeout)))
                }),
                () = self.parts.meter.filling() => self.gather().await,
            }
        }
    }

    /// Gathers what was noted, where it holds up no request.
    async fn gather(&self) {
        let meter = Arc::clone(&self.parts.meter);
        // It neither panics nor is it cancelled; were it, the next one would go on.
        let _ = spawn_blocking(move || meter.gather()).await;
    }

    /// Notes what became of the first batch: it is done with, or waits on.
    fn conclude(&mut self, answer: Result<(), SinkError>) -> Result<(), Unsent> {
        let cause = match answer {
            Ok(()) => {
                self.sent += 1;
                self.waiting.pop_front();
                self.backoff.reset();
                if std::mem::replace(&mut self.is_away, false) {
                    tracing::info!("what keys were used for is reported again");
                }
                return Ok(());
            }
            Err(SinkError::Unanswered(cause)) => cause,
            Err(SinkError::Refused(cause)) => {
                if let Some(first) = self.waiting.front_mut() {
                    first.refusals += 1;
                    if first.refusals >= REFUSALS_MAX {
                        self.give_up(&cause);
                    }
                }
                cause
            }
        };
        self.failed += 1;
        if !std::mem::replace(&mut self.is_away, true) {
            tracing::warn!(
                cause,
                "what keys were used for cannot be reported; it is kept and sent again"
            );
        }
        Err(Unsent)
    }

    /// Drops the first batch.
    fn give_up(&mut self, cause: &str) {
        let rows = self.waiting.pop_front().map_or(0, |lost| lost.batch.rows.len());
        self.rows_given_up += u64::try_from(rows).unwrap_or(u64::MAX);
        tracing::error!(cause, rows, "a report of what keys were used for is given up");
    }

    /// Makes batches of the rows in the meter. None without randomness: two batches with one id would count as one.
    async fn form_batches(&mut self) {
        let count = self
            .parts
            .meter
            .rows_waiting()
            .div_ceil(USAGE_ROWS_MAX)
            .min(BATCHES_MAX);
        let ids: Vec<String> = match (0..count).map(|_| batch_id()).collect() {
            Ok(ids) => ids,
            Err(error) => {
                tracing::warn!(%error, "no id can be drawn for a report of what keys were used for");
                return;
            }
        };
        let since = self.parts.clock.now();
        let meter = Arc::clone(&self.parts.meter);
        let taken = spawn_blocking(move || meter.take(count * USAGE_ROWS_MAX)).await;
        let mut rows = taken.unwrap_or_default().into_iter();
        for batch_id in ids {
            let rows: Vec<_> = rows.by_ref().take(USAGE_ROWS_MAX).collect();
            if !rows.is_empty() {
                self.waiting.push_back(Waiting {
                    batch: UsageBatch { batch_id, rows },
                    since,
                    refusals: 0,
                });
            }
        }
    }

    fn age(&self, waiting: &Waiting) -> Duration {
        let now = self.parts.clock.now();
        Duration::from_micros(now.monotonic_us.saturating_sub(waiting.since.monotonic_us))
    }

    fn tell(&self) {
        let meter = &self.parts.meter;
        let in_batches: usize = self.waiting.iter().map(|waiting| waiting.batch.rows.len()).sum();
        self.parts.metrics.observe_usage(&UsageTotals {
            batches_sent: self.sent,
            batches_failed: self.failed,
            rows_waiting: u64::try_from(in_batches + meter.rows_waiting()).unwrap_or(u64::MAX),
            rows_dropped: meter.rows_dropped() + self.rows_given_up,
            oldest_s: self.waiting.front().map_or(0, |oldest| self.age(oldest).as_secs()),
        });
    }
}

/// 16 random bytes in hexadecimal digits.
fn batch_id() -> Result<String, getrandom::Error> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes)?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}
