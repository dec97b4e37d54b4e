//! One look-up at the source for all who ask for the same hash at the same time.
//!
//! The look-up is a task of its own: whoever asked first may hang up without harm to the others. Decides nothing about what is
//! outdated; asks its parent, which lands answers under the stripe's lock. Everything here is bounded: look-ups at the source,
//! look-ups queued, requests waiting, and the time that each may take.

use super::landing::Landed;
use super::{Found, Lookup};
use crate::{KeyHash, SourceError};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// Look-ups queued or at the source.
const FLIGHTS_MAX: usize = 8_192;
/// Requests waiting for any of them.
const WAITERS_MAX: usize = 65_536;
/// Times that one flight asks the source again because a change came in between.
const ATTEMPTS_MAX: u32 = 8;
/// Times that one request joins another flight because its answer was outdated before it could take it.
const ROUNDS_MAX: u32 = 8;
/// The first pause between attempts, which doubles. The first repetition does not pause: it reads after the change.
const PAUSE: Duration = Duration::from_millis(1);

/// How a flight ended.
pub(super) type Outcome = Result<Landed, SourceError>;

/// A flight that can be joined. Its task holds the other end.
pub(super) type Flight = watch::Receiver<Option<Outcome>>;

/// What asking comes to.
enum Joined {
    /// Somebody landed the answer in the meantime.
    Held(Found),
    /// It is on its way.
    Waits(Flight),
}

impl Lookup {
    /// Asks the source, together with all who ask for the same hash. Must be called on a tokio runtime with timers.
    ///
    /// Fails when the source fails or takes too long, or when too many wait for it already; never because another caller left.
    pub async fn fill(self: &Arc<Self>, hash: &KeyHash) -> Result<Found, SourceError> {
        let _place = Place::take(&self.waiters, WAITERS_MAX)
            .ok_or_else(|| error("too many requests wait for the key source".to_owned()))?;
        for _ in 0..ROUNDS_MAX {
            let mut flight = match self.join(hash)? {
                Joined::Held(found) => return Ok(found),
                Joined::Waits(flight) => flight,
            };
            let outcome = match flight.wait_for(Option::is_some).await {
                Ok(outcome) => outcome.clone(),
                Err(_) => None,
            };
            let answer = outcome.unwrap_or_else(|| Err(error("the look-up ended without an answer".to_owned())))?;
            // Between the landing and this task's turn a change may have been applied.
            if self.is_current(&self.stripes.of(hash), &answer) {
                return Ok(answer.found);
            }
        }
        Err(error("the key changed faster than it could be read".to_owned()))
    }

    /// Runs a look-up on the runtime that this was made on; without any, on the caller's.
    fn spawn(&self, flight: impl Future<Output = ()> + Send + 'static) {
        match &self.runtime {
            Some(runtime) => runtime.spawn(flight),
            None => tokio::spawn(flight),
        };
    }

    fn join(self: &Arc<Self>, hash: &KeyHash) -> Result<Joined, SourceError> {
        let mut stripe = self.stripes.of(hash);
        if let Some(flight) = stripe.flights.get(hash) {
            return Ok(Joined::Waits(flight.clone()));
        }
        // Under the lock: a flight that landed since the caller looked has left its answer here.
        if let Some(found) = self.recall_all(&stripe, hash, self.clock.now()) {
            return Ok(Joined::Held(found));
        }
        if self.flights.fetch_add(1, Ordering::Relaxed) >= FLIGHTS_MAX {
            self.flights.fetch_sub(1, Ordering::Relaxed);
            return Err(error("too many look-ups wait for the key source".to_owned()));
        }
        let (sender, flight) = watch::channel(None);
        stripe.flights.insert(*hash, flight.clone());
        drop(stripe);
        let pilot = Pilot {
            lookup: Arc::clone(self),
            hash: *hash,
            sender,
            is_listed: true,
            is_served: false,
        };
        self.spawn(pilot.fly());
        Ok(Joined::Waits(flight))
    }
}

/// The task's end of a flight. Dropping it, for whatever reason, takes the flight off the list and ends the wait of all who joined.
struct Pilot {
    lookup: Arc<Lookup>,
    hash: KeyHash,
    sender: watch::Sender<Option<Outcome>>,
    /// Whether the flight is in its stripe's list. Landing takes it off.
    is_listed: bool,
    /// Whether it ended with an answer, or without anybody who would have wanted one.
    is_served: bool,
}

impl Pilot {
    async fn fly(mut self) {
        let limit = self.lookup.settings.fill_timeout;
        let outcome = match tokio::time::timeout(limit, self.attempts()).await {
            Ok(outcome) => outcome,
            Err(_) => Err(error(format!("no answer within {limit:?}"))),
        };
        if outcome.is_err() {
            // Off the list before the outcome is told, so that whoever asks from now on starts anew.
            self.take_off_the_list();
        }
        self.sender.send_replace(Some(outcome));
    }

    async fn attempts(&mut self) -> Outcome {
        let lookup = Arc::clone(&self.lookup);
        let _slot = lookup
            .slots
            .acquire()
            .await
            .map_err(|_| error("the look-ups are closed".to_owned()))?;
        if self.is_deserted() {
            return Err(error("nobody waits for the answer any more".to_owned()));
        }
        for attempt in 0..ATTEMPTS_MAX {
            if attempt > 1 {
                tokio::time::sleep(PAUSE * (1 << (attempt - 2))).await;
            }
            lookup.counters.fills.fetch_add(1, Ordering::Relaxed);
            let fetched = lookup.source.fetch(&self.hash).await?;
            let found = match fetched.record {
                Some(record) => Found::Known(lookup.compile(&self.hash, record, fetched.as_of)),
                None => Found::Unknown,
            };
            let answer = Landed {
                found,
                as_of: fetched.as_of,
            };
            if lookup.land(&self.hash, &answer) {
                self.is_listed = false;
                self.is_served = true;
                return Ok(answer);
            }
        }
        Err(error("the key changed faster than it could be read".to_owned()))
    }

    /// Whether all who wanted the answer have left. Then nobody can join any more: the flight is off the list.
    fn is_deserted(&mut self) -> bool {
        let lookup = Arc::clone(&self.lookup);
        let mut stripe = lookup.stripes.of(&self.hash);
        // One receiver is the list's own.
        let is_deserted = self.sender.receiver_count() <= 1;
        if is_deserted {
            stripe.flights.remove(&self.hash);
            self.is_listed = false;
            self.is_served = true;
        }
        is_deserted
    }

    fn take_off_the_list(&mut self) {
        if std::mem::take(&mut self.is_listed) {
            self.lookup.stripes.of(&self.hash).flights.remove(&self.hash);
        }
    }
}

impl Drop for Pilot {
    fn drop(&mut self) {
        self.take_off_the_list();
        self.lookup.flights.fetch_sub(1, Ordering::Relaxed);
        if !self.is_served {
            self.lookup.counters.fill_errors.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A place among a bounded number, given back when dropped.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(taken: &'a AtomicUsize, max: usize) -> Option<Place<'a>> {
        let place = Place(taken);
        (taken.fetch_add(1, Ordering::Relaxed) < max).then_some(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn error(cause: String) -> SourceError {
    SourceError { cause }
}
