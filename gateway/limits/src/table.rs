//! Every counter of a limiter, reached by its subject.
//!
//! Decides who gets a counter of their own and who must share one when the table is full; a live counter is never dropped to
//! make room. Knows nothing of requests; the limiter asks it, and sweeps it once a second.
//!
//! Locks are taken in one order: shard of own counters, shard of shared counters, counter, floor. Charging holds counters
//! only.

use crate::counter::Counter;
use crate::quota::Quota;
use crate::sharded_map::{Hashed, ShardedMap};
use crate::subject::{RuleDigest, Subject};
use crate::tally::{Floor, Tally};
use parking_lot::{Mutex, RwLock};
use portcullis_verify::Moment;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Shared counters per rule: few enough that thousands of rules may overflow, many enough that a flood of subjects does not
/// soon reach all of them.
const SHARED_PER_RULE: u64 = 1_024;

/// Shards swept per call: at one call a second an idle counter is gone within 32 s.
const SHARDS_PER_SWEEP: usize = 8;

/// Calls of [`CounterTable::sweep`] after which every counter has been looked at.
#[cfg(test)]
pub(crate) const SWEEPS_PER_ROUND: usize = crate::sharded_map::SHARDS / SHARDS_PER_SWEEP;

/// The subjects of one rule that share a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Share {
    rule: RuleDigest,
    bucket: u64,
}

/// The counters.
///
/// A subject's admissions are all in its own counter if it has one, else all in the shared counter of its bucket. A subject
/// moves from the second to the first with a copy of the shared tally, and the shared counter is replaced at that moment,
/// so that a charge which had already reached it comes back here and finds the subject's own.
#[derive(Debug)]
pub(crate) struct CounterTable {
    own: ShardedMap<Subject>,
    own_max: usize,
    shared: ShardedMap<Share>,
    floor: Mutex<Floor>,
    evicted: AtomicU64,
    hand: AtomicUsize,
}

/// A counter that was looked up.
#[derive(Debug)]
pub(crate) enum Found {
    /// The subject's own.
    Own(Arc<Counter>),
    /// One that the subject shares, for want of room.
    Shared(Arc<Counter>),
}

impl CounterTable {
    /// An empty table with room for `own_max` subjects.
    pub(crate) fn new(own_max: usize) -> CounterTable {
        CounterTable {
            own: ShardedMap::new(),
            own_max,
            shared: ShardedMap::new(),
            floor: Mutex::default(),
            evicted: AtomicU64::new(0),
            hand: AtomicUsize::new(0),
        }
    }

    /// The subject with its place in this table.
    pub(crate) fn hashed(&self, subject: Subject) -> Hashed<Subject> {
        self.own.hashed(subject)
    }

    /// The counter that holds the subject's admissions; `None` when it has none that count.
    pub(crate) fn find(&self, subject: &Hashed<Subject>) -> Option<Found> {
        // Held to the end: a subject must not get its own counter between the two looks.
        let shard = self.own.read(subject);
        if let Some(counter) = shard.get(subject) {
            return Some(Found::Own(Arc::clone(counter)));
        }
        if self.shared.len() == 0 {
            return None;
        }
        let share = self.share(subject);
        self.shared
            .read(&share)
            .get(&share)
            .map(|counter| Found::Shared(Arc::clone(counter)))
    }

    /// Whether one more subject can have its own counter.
    pub(crate) fn has_room(&self) -> bool {
        self.own.len() < self.own_max
    }

    /// Sees to it that the subject has a counter: its own if there is room, else a shared one.
    pub(crate) fn place(&self, subject: &Hashed<Subject>, quota: &Quota) {
        let mut shard = self.own.write(subject);
        if shard.contains_key(subject) {
            return;
        }
        let share = self.share(subject);
        if self.own.reserve(self.own_max) {
            let tally = self.leave(&share).unwrap_or_else(|| self.fresh(quota));
            shard.insert(*subject, Arc::new(Counter::new(tally)));
        } else {
            self.shared.write(&share).entry(share).or_insert_with(|| {
                self.shared.reserve(usize::MAX);
                Arc::new(Counter::new(self.fresh(quota)))
            });
        }
    }

    /// What a subject without a counter has admitted: nothing that counts.
    pub(crate) fn fresh(&self, quota: &Quota) -> Tally {
        Tally::fresh(quota, &self.floor.lock())
    }

    /// Forgets idle counters in the next few shards.
    pub(crate) fn sweep(&self, now: Moment) {
        let first = self.hand.fetch_add(SHARDS_PER_SWEEP, Ordering::Relaxed);
        for index in first..first + SHARDS_PER_SWEEP {
            let evicted = self.sweep_shard(&self.own, index, now) + self.sweep_shard(&self.shared, index, now);
            self.evicted.fetch_add(evicted, Ordering::Relaxed);
        }
    }

    /// Counters held, shared ones included.
    pub(crate) fn counters(&self) -> u64 {
        u64::try_from(self.own.len() + self.shared.len()).unwrap_or(u64::MAX)
    }

    /// Counters forgotten since the start.
    pub(crate) fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    /// Every tally with the debug text of whom it counts, in a fixed order.
    #[cfg(test)]
    pub(crate) fn tallies(&self) -> Vec<(String, Option<Tally>)> {
        fn of<K: Copy + Eq + Hash + std::fmt::Debug>(map: &ShardedMap<K>) -> Vec<(String, Option<Tally>)> {
            let shards = (0..crate::sharded_map::SHARDS).map(|index| map.shard(index).read());
            shards
                .flat_map(|shard| shard.iter().map(entry).collect::<Vec<_>>())
                .collect()
        }
        fn entry<K: std::fmt::Debug>((key, counter): (&Hashed<K>, &Arc<Counter>)) -> (String, Option<Tally>) {
            (format!("{:?}", key.key), *counter.lock())
        }
        let mut tallies = of(&self.own);
        tallies.extend(of(&self.shared));
        tallies.sort_unstable_by(|left, right| left.0.cmp(&right.0));
        tallies
    }

    /// The tally of a shared counter, for a subject that goes on with a copy of it.
    fn leave(&self, share: &Hashed<Share>) -> Option<Tally> {
        if self.shared.len() == 0 {
            return None;
        }
        let mut shard = self.shared.write(share);
        let counter = shard.get_mut(share)?;
        let tally = counter.retire()?;
        *counter = Arc::new(Counter::new(tally));
        Some(tally)
    }

    /// Looks under a lock that lets charges pass; only what was found idle then is removed under one that does not.
    fn sweep_shard<K: Copy + Eq + Hash>(&self, map: &ShardedMap<K>, index: usize, now: Moment) -> u64 {
        let lock: &RwLock<_> = map.shard(index);
        let idle: Vec<Hashed<K>> = lock
            .read()
            .iter()
            .filter(|(_, counter)| counter.is_idle(now))
            .map(|(key, _)| *key)
            .collect();
        if idle.is_empty() {
            return 0;
        }
        let mut shard = lock.write();
        let mut evicted = 0;
        for key in idle {
            let Some(tally) = shard.get(&key).and_then(|counter| counter.retire_if_idle(now)) else {
                continue;
            };
            self.floor.lock().raise(&tally, now);
            shard.remove(&key);
            evicted += 1;
        }
        if shard.len() < shard.capacity() / 4 {
            shard.shrink_to_fit();
        }
        map.release(evicted);
        u64::try_from(evicted).unwrap_or(u64::MAX)
    }

    fn share(&self, subject: &Hashed<Subject>) -> Hashed<Share> {
        self.shared.hashed(Share {
            rule: subject.key.rule,
            bucket: subject.hash() % SHARED_PER_RULE,
        })
    }
}

#[cfg(test)]
mod tests;
