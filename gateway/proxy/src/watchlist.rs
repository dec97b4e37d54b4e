//! Who is still served, with which key, and whether that key still opens the route: a revocation ends streams too.
//!
//! Every admitted exchange is on the list from its admission to its end. Each round cuts those whose key no longer opens their
//! route: streams at any age, everything else once it is old enough, so that short requests finish. The verifier says what a key
//! opens; why it does not is of no interest here. Exchanges put themselves on the list, [`crate::proxy`] runs the rounds.
//!
//! Cost: an exchange pays for two short locks of one shard in [`SHARDS`], to enter and to leave. A round holds each lock while
//! it copies what it has to ask about, asks once per key and route, from memory as a rule, and holds no lock while it asks.

use crate::cut::Cut;
use crate::route::Route;
use futures_util::StreamExt;
use portcullis_verify::{KeyHash, Moment, Verifier};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::MissedTickBehavior;

/// Exchanges are dealt out to them in turn, so that their locks are seldom asked for by two at once.
const SHARDS: usize = 16;
/// From the end of a key to the end of its streams it may take as long as this, and what the round itself takes.
const ROUND_INTERVAL: Duration = Duration::from_millis(250);
/// Keys that are asked for at their source at once. Requests wait for the same source, and they go first.
const ASKED_AT_ONCE: usize = 16;
/// How long a round waits for the source, so that a silent one does not hold up what can be told from memory. What it answers
/// later is in memory by the next round.
const ASKING_TIME_MAX: Duration = Duration::from_secs(1);

/// The exchanges under way.
#[derive(Default)]
pub(crate) struct Watchlist {
    shards: [Mutex<HashMap<u64, Watched>>; SHARDS],
    next: AtomicU64,
}

/// An exchange under way.
#[derive(Clone)]
pub(crate) struct Watched {
    /// The key it was admitted with.
    pub(crate) hash: KeyHash,
    /// What it was admitted to.
    pub(crate) route: Arc<Route>,
    /// When it began.
    pub(crate) since: Moment,
    /// It lasts by its nature, and is cut at any age.
    pub(crate) is_stream: bool,
    /// Its end.
    pub(crate) cut: Arc<Cut>,
}

/// A place on the list. Dropping it leaves the list.
pub(crate) struct Place {
    list: Arc<Watchlist>,
    number: u64,
}

impl Watchlist {
    /// Puts an exchange on the list.
    pub(crate) fn enter(self: &Arc<Self>, watched: Watched) -> Place {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.shard(number).insert(number, watched);
        Place {
            list: Arc::clone(self),
            number,
        }
    }

    /// Cuts for ever what its key no longer opens: streams, and whatever is as old as `age` or older.
    pub(crate) async fn watch(&self, age: Duration, verifier: &Verifier) {
        let mut rounds = tokio::time::interval(ROUND_INTERVAL);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            rounds.tick().await;
            self.round(age, verifier).await;
        }
    }

    async fn round(&self, age: Duration, verifier: &Verifier) {
        let due = self.due(age, verifier.clock().now());
        let mut not_held = Vec::new();
        for admitted in due.chunk_by(Watched::is_admitted_like) {
            let Some(one) = admitted.first() else { continue };
            match verifier.still_opens_as_held(&one.hash, &one.route.requirement) {
                Some(true) => {}
                Some(false) => cut(admitted),
                None => not_held.push((one, admitted)),
            }
        }
        let asking = futures_util::stream::iter(not_held).for_each_concurrent(ASKED_AT_ONCE, |(one, admitted)| async {
            match verifier.still_opens(&one.hash, &one.route.requirement).await {
                Ok(true) => {}
                Ok(false) => cut(admitted),
                // Nothing is known of the key, so that nothing is done. The next round asks again.
                Err(error) => tracing::debug!(%error, "it cannot be told whether a stream may go on"),
            }
        });
        let _ = tokio::time::timeout(ASKING_TIME_MAX, asking).await;
    }

    /// What has to be asked about, those with the same key and route side by side.
    fn due(&self, age: Duration, now: Moment) -> Vec<Watched> {
        let age_us = u64::try_from(age.as_micros()).unwrap_or(u64::MAX);
        let mut due = Vec::new();
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            let is_due = |watched: &&Watched| {
                watched.is_stream || now.monotonic_us.saturating_sub(watched.since.monotonic_us) >= age_us
            };
            due.extend(shard.values().filter(is_due).cloned());
        }
        due.sort_unstable_by_key(|watched| (watched.hash.0, Arc::as_ptr(&watched.route)));
        due
    }

    fn shard(&self, number: u64) -> MutexGuard<'_, HashMap<u64, Watched>> {
        let index = usize::try_from(number).unwrap_or(0) % SHARDS;
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watched {
    /// Whether one answer holds for both.
    fn is_admitted_like(&self, other: &Watched) -> bool {
        self.hash == other.hash && Arc::ptr_eq(&self.route, &other.route)
    }
}

impl Place {
    /// Notes that the exchange lasts by its nature.
    pub(crate) fn is_a_stream(&self) {
        if let Some(watched) = self.list.shard(self.number).get_mut(&self.number) {
            watched.is_stream = true;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.list.shard(self.number).remove(&self.number);
    }
}

fn cut(admitted: &[Watched]) {
    for watched in admitted {
        watched.cut.make();
    }
}
