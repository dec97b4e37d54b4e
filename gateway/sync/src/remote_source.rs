//! The control API as a source of keys: look-ups that come at the same time are asked in one call.
//!
//! Decides which look-ups go together and when it is of no use to ask. Knows nothing of what is done with an answer: who is
//! outdated is the look-up's business, which compares `as_of` with its fences. The verifier of a gateway asks it on a miss.

#[cfg(test)]
mod tests;

use crate::breaker::{Breaker, Turn};
use crate::key_reader::KeyReader;
use crate::link::{Link, LinkError};
use crate::message::{HashText, LOOK_UP_MAX};
use portcullis_verify::{Clock, Fetched, KeyHash, KeySource, SourceError};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

/// Look-ups that may wait for their call.
const WAITING_MAX: usize = 4_096;
/// When so many calls are under way, more look-ups are awaited before the next one.
const BUSY_CALLS: usize = 2;
/// For how long: the shortest that the timer can wait.
const GATHERING: Duration = Duration::from_millis(1);

/// How hard the control API may be pressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemoteSourceSettings {
    /// Calls under way at the same time; at least 1.
    pub calls_max: usize,
    /// How long one call may take, connecting included.
    pub call_timeout: Duration,
}

impl Default for RemoteSourceSettings {
    fn default() -> RemoteSourceSettings {
        RemoteSourceSettings {
            calls_max: 8,
            call_timeout: Duration::from_secs(1),
        }
    }
}

/// What was counted since the source was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RemoteSourceStats {
    /// Look-ups that were asked for.
    pub look_ups: u64,
    /// Look-ups that were turned away because the control API did not answer others.
    pub turned_away: u64,
    /// Calls that were made.
    pub calls: u64,
    /// Calls that failed.
    pub failed_calls: u64,
    /// Only one look-up in a while is let through now.
    pub is_shut: bool,
}

/// A [`KeySource`] over a link.
pub struct RemoteSource {
    waiting: mpsc::Sender<Waiting>,
    shared: Arc<Shared>,
}

struct Waiting {
    hash: KeyHash,
    answer: oneshot::Sender<Result<Fetched, SourceError>>,
}

struct Shared {
    breaker: Breaker,
    clock: Clock,
    call_timeout: Duration,
    look_ups: AtomicU64,
    turned_away: AtomicU64,
    calls: AtomicU64,
    failed_calls: AtomicU64,
}

impl RemoteSource {
    /// A source that asks over `link`. Must be called on a tokio runtime; what it starts there ends with it.
    #[must_use]
    pub fn new(link: Arc<Link>, settings: RemoteSourceSettings, clock: Clock) -> RemoteSource {
        RemoteSource::over(link, settings, clock)
    }

    fn over(reader: Arc<impl KeyReader>, settings: RemoteSourceSettings, clock: Clock) -> RemoteSource {
        let (waiting, queue) = mpsc::channel(WAITING_MAX);
        let shared = Arc::new(Shared {
            breaker: Breaker::default(),
            clock,
            call_timeout: settings.call_timeout,
            look_ups: AtomicU64::new(0),
            turned_away: AtomicU64::new(0),
            calls: AtomicU64::new(0),
            failed_calls: AtomicU64::new(0),
        });
        let calls_max = settings.calls_max.clamp(1, Semaphore::MAX_PERMITS);
        tokio::spawn(gather(queue, reader, Arc::clone(&shared), calls_max));
        RemoteSource { waiting, shared }
    }

    /// Counts.
    #[must_use]
    pub fn stats(&self) -> RemoteSourceStats {
        RemoteSourceStats {
            look_ups: self.shared.look_ups.load(Ordering::Relaxed),
            turned_away: self.shared.turned_away.load(Ordering::Relaxed),
            calls: self.shared.calls.load(Ordering::Relaxed),
            failed_calls: self.shared.failed_calls.load(Ordering::Relaxed),
            is_shut: self.shared.breaker.is_shut(),
        }
    }
}

#[async_trait::async_trait]
impl KeySource for RemoteSource {
    async fn fetch(&self, hash: &KeyHash) -> Result<Fetched, SourceError> {
        self.shared.look_ups.fetch_add(1, Ordering::Relaxed);
        let now_us = self.shared.clock.now().monotonic_us;
        if let Err(cause) = self.shared.breaker.may_ask(now_us) {
            self.shared.turned_away.fetch_add(1, Ordering::Relaxed);
            return Err(error(format!("{cause} (others were not answered a moment ago)")));
        }
        let (answer, answered) = oneshot::channel();
        let waiting = Waiting { hash: *hash, answer };
        self.waiting
            .try_send(waiting)
            .map_err(|_| error("too many look-ups wait for the control API".to_owned()))?;
        answered
            .await
            .unwrap_or_else(|_| Err(error("the look-up ended without an answer".to_owned())))
    }
}

/// Puts look-ups together, for as long as somebody may ask.
async fn gather(
    mut queue: mpsc::Receiver<Waiting>,
    reader: Arc<impl KeyReader>,
    shared: Arc<Shared>,
    calls_max: usize,
) {
    let places = Arc::new(Semaphore::new(calls_max));
    while let Some(first) = queue.recv().await {
        // While all places are taken, more come together.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        if calls_max - places.available_permits() > BUSY_CALLS {
            tokio::time::sleep(GATHERING).await;
        } else {
            // Whoever is about to ask at this very moment, does.
            tokio::task::yield_now().await;
        }
        let mut batch = vec![first];
        while batch.len() < LOOK_UP_MAX
            && let Ok(next) = queue.try_recv()
        {
            batch.push(next);
        }
        // Who has left needs no answer.
        batch.retain(|waiting| !waiting.answer.is_closed());
        if !batch.is_empty() {
            tokio::spawn(call(batch, Arc::clone(&reader), Arc::clone(&shared), place));
        }
    }
}

/// Asks for all of a batch, and tells everybody who waits.
async fn call(mut batch: Vec<Waiting>, reader: Arc<impl KeyReader>, shared: Arc<Shared>, _place: OwnedSemaphorePermit) {
    // An answer that is too long is asked for in halves.
    let mut pieces = vec![std::mem::take(&mut batch)];
    while let Some(mut piece) = pieces.pop() {
        shared.calls.fetch_add(1, Ordering::Relaxed);
        let hashes = piece.iter().map(|waiting| HashText(waiting.hash)).collect();
        match reader.look_up(hashes, shared.call_timeout).await {
            Ok(answer) => {
                shared.succeeded();
                for (waiting, record) in piece.into_iter().zip(answer.records) {
                    // Who has left needs no answer.
                    let _ = waiting.answer.send(Ok(Fetched {
                        as_of: answer.as_of,
                        record,
                    }));
                }
            }
            Err(LinkError::TooLong) if piece.len() > 1 => {
                let rest = piece.split_off(piece.len() / 2);
                pieces.extend([rest, piece]);
            }
            Err(failure) => {
                shared.failed(&failure);
                for waiting in piece {
                    let _ = waiting.answer.send(Err(error(failure.to_string())));
                }
            }
        }
    }
}

impl Shared {
    fn succeeded(&self) {
        if self.breaker.succeeded() == Turn::Opened {
            tracing::info!("the control API answers look-ups again");
        }
    }

    fn failed(&self, failure: &LinkError) {
        self.failed_calls.fetch_add(1, Ordering::Relaxed);
        let cause = failure.to_string();
        if self.breaker.failed(self.clock.now().monotonic_us, &cause) == Turn::Shut {
            tracing::warn!(
                cause,
                "the control API does not answer look-ups; few are tried until it does"
            );
        }
    }
}

fn error(cause: String) -> SourceError {
    SourceError { cause }
}
