//! The one reader of the change log: applies every committed change, in order, to all that holds copies of the data, and hands it
//! to the hub for the gateways elsewhere.
//!
//! Knows nothing of what a change means. Handlers never touch a cache themselves: they wait, through [`TailerHandle`], until the
//! tailer has come past their change, so that neither a caller who hangs up nor a commit of unknown outcome loses one. The
//! server starts it before anything that answers.

mod rounds;
#[cfg(test)]
mod tests;

use crate::gateways::Hub;
use portcullis_store::{Changes, Store, StoreError};
use portcullis_verify::{ChangeSink, Clock, Freshness, Version};
pub(crate) use rounds::{Round, Rounds};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How often the log is read when nothing woke the tailer: the bound on hearing of other processes' commits.
const POLL: Duration = Duration::from_millis(25);
/// The longest pause after an error of the store.
const BACK_OFF_MAX: Duration = Duration::from_millis(100);
/// Changes read at once.
const BATCH: u32 = 1_000;
/// How long rounds that are asked for are gathered, so that thousands who ask cost one read.
const GATHER: Duration = Duration::from_millis(5);

/// What the tailer reads, and whom it tells.
pub struct TailerParts {
    /// Whose change log is followed.
    pub store: Store,
    /// Who hears of every change.
    pub sinks: Vec<Arc<dyn ChangeSink>>,
    /// What time it is.
    pub clock: Clock,
    /// Where to note that the sinks are up to date. None: nobody asks.
    pub freshness: Option<Arc<Freshness>>,
}

/// How far the tailer is. Clones share it.
#[derive(Debug, Clone)]
pub struct TailerHandle {
    applied: watch::Receiver<Version>,
    rounds: Arc<Rounds>,
    hub: Arc<Hub>,
}

/// The tailer has ended; nothing more will be applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the change log is no longer followed")]
pub struct TailerEnded;

/// What [`TailerHandle::applied`] tells before the log was first read. No store has an epoch of 0.
const NOTHING_YET: Version = Version { epoch: 0, revision: 0 };

impl TailerHandle {
    /// The version up to which every sink has heard of every change; epoch 0 before the log was first read.
    #[must_use]
    pub fn applied(&self) -> Version {
        *self.applied.borrow()
    }

    /// Waits until the log was first read. From then on no sink can miss a change.
    pub async fn synchronised(&self) -> Result<(), TailerEnded> {
        let read = self
            .applied
            .clone()
            .wait_for(|applied| *applied != NOTHING_YET)
            .await
            .map(drop);
        read.map_err(|_| TailerEnded)
    }

    /// Waits until every sink has heard of every change up to `version`. Callers bound the wait: a version of a history that
    /// is not the log's is never reached.
    pub async fn wait_for(&self, version: Version) -> Result<(), TailerEnded> {
        let reached = self
            .applied
            .clone()
            .wait_for(|applied| applied.covers(version))
            .await
            .map(drop);
        reached.map_err(|_| TailerEnded)
    }

    /// The reads of the log.
    pub(crate) fn rounds(&self) -> &Arc<Rounds> {
        &self.rounds
    }

    /// Where the changes go on to those who watch.
    pub(crate) fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }
}

/// Starts the tailer on the current tokio runtime. It ends at `shutdown`, which must come after that of all who wait for it.
#[must_use]
pub fn start(parts: TailerParts, shutdown: CancellationToken) -> TailerHandle {
    let TailerParts {
        store,
        sinks,
        clock,
        freshness,
    } = parts;
    follow(store, sinks, clock, freshness, shutdown)
}

fn follow(
    log: impl ChangeLog,
    sinks: Vec<Arc<dyn ChangeSink>>,
    clock: Clock,
    freshness: Option<Arc<Freshness>>,
    shutdown: CancellationToken,
) -> TailerHandle {
    let (sender, applied) = watch::channel(NOTHING_YET);
    let (rounds, hub) = (Arc::new(Rounds::new()), Arc::new(Hub::new()));
    let tailer = Tailer {
        log,
        sinks,
        clock,
        freshness,
        applied: sender,
        rounds: Arc::clone(&rounds),
        hub: Arc::clone(&hub),
    };
    tokio::spawn(async move { shutdown.run_until_cancelled(tailer.run()).await });
    TailerHandle { applied, rounds, hub }
}

/// The log as the tailer reads it; the store's, except in tests, which make it fail in every way.
trait ChangeLog: Send + Sync + 'static {
    /// See [`Store::committed`].
    fn committed(&self) -> watch::Receiver<u64>;
    /// See [`Store::current_version`].
    fn head(&self) -> impl Future<Output = Result<Version, StoreError>> + Send;
    /// See [`Store::changes_after`].
    fn after(&self, revision: u64) -> impl Future<Output = Result<Changes, StoreError>> + Send;
}

impl ChangeLog for Store {
    fn committed(&self) -> watch::Receiver<u64> {
        Store::committed(self)
    }

    async fn head(&self) -> Result<Version, StoreError> {
        self.current_version().await
    }

    async fn after(&self, revision: u64) -> Result<Changes, StoreError> {
        self.changes_after(revision, BATCH).await
    }
}

struct Tailer<L> {
    log: L,
    sinks: Vec<Arc<dyn ChangeSink>>,
    clock: Clock,
    freshness: Option<Arc<Freshness>>,
    applied: watch::Sender<Version>,
    rounds: Arc<Rounds>,
    hub: Arc<Hub>,
}

impl<L: ChangeLog> Tailer<L> {
    async fn run(self) {
        let mut committed = self.log.committed();
        let mut failures: u32 = 0;
        loop {
            // Marked before the log is read: a commit during the read wakes the next round.
            committed.borrow_and_update();
            match self.round().await {
                Ok(is_behind) => {
                    if failures > 0 {
                        tracing::info!(failures, "the change log can be read again");
                    }
                    failures = 0;
                    if !is_behind {
                        tokio::select! {
                            // The sender lives as long as the log, which this tailer holds.
                            _ = committed.changed() => {}
                            () = tokio::time::sleep(POLL) => {}
                            () = self.asked() => {}
                        }
                    }
                }
                Err(error) => {
                    failures = failures.saturating_add(1);
                    if failures.is_power_of_two() {
                        tracing::error!(
                            failures,
                            error = &error as &dyn std::error::Error,
                            "the change log cannot be read"
                        );
                    }
                    let pause = Duration::from_millis(5).saturating_mul(1 << failures.min(6));
                    tokio::time::sleep(pause.min(BACK_OFF_MAX)).await;
                }
            }
        }
    }

    /// Waits until somebody asks for a round, and a moment longer, for others who ask.
    async fn asked(&self) {
        self.rounds.asked().await;
        tokio::time::sleep(GATHER).await;
    }

    /// Applies the next changes; answers whether there are more. When there are none, everything that was committed before the
    /// round began is applied.
    async fn round(&self) -> Result<bool, StoreError> {
        let number = self.rounds.begin();
        let began_us = self.clock.now().monotonic_us;
        let is_behind = self.advance().await?;
        if !is_behind {
            if let Some(freshness) = &self.freshness {
                freshness.note(began_us);
            }
            let head = *self.applied.borrow();
            self.rounds.complete(Round { number, head });
        }
        Ok(is_behind)
    }

    async fn advance(&self) -> Result<bool, StoreError> {
        let at = *self.applied.borrow();
        if at == NOTHING_YET {
            // What a sink was filled with before the log was first read may be older than what is read of it.
            let head = self.log.head().await?;
            self.reset(head);
            return Ok(false);
        }
        match self.log.after(at.revision).await? {
            Changes::Replay { changes, head } if head.epoch == at.epoch => {
                for change in &changes {
                    for sink in &self.sinks {
                        sink.apply(change);
                    }
                }
                let Some(last) = changes.last() else { return Ok(false) };
                self.hub.extend(&changes);
                self.applied.send_replace(last.version);
                Ok(last.version.revision < head.revision)
            }
            Changes::Replay { head, .. } | Changes::Reset { head } => {
                tracing::warn!(
                    from = at.revision,
                    to = head.revision,
                    "the change log starts anew; every copy is distrusted"
                );
                self.reset(head);
                Ok(false)
            }
        }
    }

    fn reset(&self, head: Version) {
        for sink in &self.sinks {
            sink.distrust_all(head);
        }
        self.hub.reset(head);
        self.applied.send_replace(head);
    }
}
