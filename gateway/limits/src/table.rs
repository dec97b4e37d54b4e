//! Every counter of a limiter, in shards that are locked one by one.
//!
//! Decides in which shard a subject is counted, and who gets a counter of their own when the table is full: a live counter is
//! never dropped to make room. Knows nothing of requests; charging locks its shards, and the limiter sweeps it once a second.
//!
//! Locks are taken in the order of their indices. Shards of subjects that are many come first and apps, which are few and hot,
//! last, so that nobody waits for another lock while holding the one that most requests want.

use crate::quota::Quota;
use crate::shard::{Dropped, Located, Shard};
use crate::subject::{Hashed, Subject, SubjectHasher};
use crate::sync::{AtomicU64, AtomicUsize, Mutex, MutexGuard, Ordering};
use portcullis_verify::{Mode, Moment};

mod carried;

/// Shards of each kind of subject. So many that a shard of a full table is swept in well under a millisecond, so few that their
/// locks stay in the processor's cache. In a model, so few that requests often meet.
pub(crate) const SHARDS_PER_KIND: usize = if cfg!(feature = "shuttle") { 4 } else { 256 };

/// Subjects with an address, keys, and apps.
const KINDS: usize = 3;

const SHARDS: usize = SHARDS_PER_KIND * KINDS;

/// Where the shards of apps begin.
const APPS: usize = 2 * SHARDS_PER_KIND;

/// Shards swept per call: at one call a second an idle counter is gone within 32 s.
const SHARDS_PER_SWEEP: usize = SHARDS / SWEEPS_PER_ROUND;

/// Calls of [`CounterTable::sweep`] after which every counter has been looked at.
pub(crate) const SWEEPS_PER_ROUND: usize = if cfg!(feature = "shuttle") { 4 } else { 32 };

/// Keeps the locks of neighbouring shards on cache lines of their own.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Padded(Mutex<Shard>);

/// The number of a shard among those of its kind: bits of the hash that the choice of the line does not use.
#[inline]
fn in_kind(hash: u64) -> usize {
    usize::from(hash.to_be_bytes()[3]) % SHARDS_PER_KIND
}

/// The index of a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct ShardIndex(usize);

/// The counters.
#[derive(Debug)]
pub(crate) struct CounterTable {
    shards: Box<[Padded]>,
    hasher: SubjectHasher,
    own_max: usize,
    own: AtomicUsize,
    shared: AtomicUsize,
    evicted: AtomicU64,
    hand: AtomicUsize,
}

impl ShardIndex {
    /// Whether apps are counted there.
    #[inline]
    pub(crate) fn is_of_apps(self) -> bool {
        self.0 >= APPS
    }
}

impl CounterTable {
    /// An empty table with room for `own_max` subjects.
    pub(crate) fn new(own_max: usize) -> CounterTable {
        CounterTable::with_hasher(own_max, SubjectHasher::new())
    }

    /// An empty table in which the same subjects share a counter as in another with this hasher.
    pub(crate) fn with_hasher(own_max: usize, hasher: SubjectHasher) -> CounterTable {
        CounterTable {
            shards: (0..SHARDS).map(|_| Padded::default()).collect(),
            hasher,
            own_max,
            own: AtomicUsize::new(0),
            shared: AtomicUsize::new(0),
            evicted: AtomicU64::new(0),
            hand: AtomicUsize::new(0),
        }
    }

    /// How subjects hash here.
    #[inline]
    pub(crate) fn hasher(&self) -> &SubjectHasher {
        &self.hasher
    }

    /// The subject with its hash here, and the shard in which a rule of this mode counts it.
    #[inline]
    pub(crate) fn key(&self, mode: Mode, subject: Subject) -> (Hashed, ShardIndex) {
        let hash = self.hasher.hash(&subject);
        let kind = match mode {
            Mode::PerIp | Mode::PerKeyAndIp | Mode::PerAppAndIp => 0,
            Mode::PerKey => SHARDS_PER_KIND,
            Mode::PerApp => APPS,
        };
        let shard = ShardIndex(kind + in_kind(hash));
        (Hashed { hash, subject }, shard)
    }

    /// Locks a shard. Whoever holds one already may lock only such as come after it.
    #[inline]
    pub(crate) fn lock(&self, index: ShardIndex) -> MutexGuard<'_, Shard> {
        self.shards[index.0].0.lock()
    }

    /// Whether one more subject can have its own counter in this shard. If so, its place is taken from the budget. A full table
    /// first drops what is idle near the shard's hand.
    pub(crate) fn reserve(&self, shard: &mut Shard, now: Moment) -> bool {
        if self.take_place() {
            return true;
        }
        let dropped = shard.make_room(now);
        self.give_back(dropped);
        dropped.own > 0 && self.take_place()
    }

    /// Gives the subject a counter in the shape of `quota`, unless it has one: its own if a place was reserved or is free, else
    /// a shared one.
    pub(crate) fn place(&self, shard: &mut Shard, key: &Hashed, quota: &Quota, is_reserved: bool, now: Moment) {
        let located = shard.locate(key, &self.hasher);
        let has_room = match located {
            Located::Own(_) | Located::Inherited(_) => false,
            Located::Shared(_) | Located::Missing => is_reserved || self.take_place(),
        };
        shard.place(key, quota, has_room, now, &self.hasher);
        if located == Located::Missing && !has_room {
            self.shared.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Forgets idle counters in the next few shards.
    pub(crate) fn sweep(&self, now: Moment) {
        let first = self.hand.fetch_add(SHARDS_PER_SWEEP, Ordering::Relaxed);
        for index in first..first + SHARDS_PER_SWEEP {
            let dropped = self.lock(ShardIndex(index % SHARDS)).sweep(now);
            self.give_back(dropped);
        }
    }

    /// Counters held, shared ones included.
    pub(crate) fn counters(&self) -> u64 {
        let counters = self.own.load(Ordering::Relaxed) + self.shared.load(Ordering::Relaxed);
        u64::try_from(counters).unwrap_or(u64::MAX)
    }

    /// Counters forgotten since the start.
    pub(crate) fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    /// Every shard, one after the other.
    pub(crate) fn shards(&self) -> impl Iterator<Item = MutexGuard<'_, Shard>> {
        (0..SHARDS).map(|index| self.lock(ShardIndex(index)))
    }

    /// Every shard of subjects with an address, one after the other.
    pub(crate) fn shards_of_addresses(&self) -> impl Iterator<Item = MutexGuard<'_, Shard>> {
        (0..SHARDS_PER_KIND).map(|index| self.lock(ShardIndex(index)))
    }

    /// The most subjects that have a counter of their own.
    pub(crate) fn own_max(&self) -> usize {
        self.own_max
    }

    fn take_place(&self) -> bool {
        self.own
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |own| {
                (own < self.own_max).then_some(own + 1)
            })
            .is_ok()
    }

    /// Every tally with the debug text of whom it counts, in a fixed order.
    #[cfg(test)]
    pub(crate) fn tallies(&self) -> Vec<(String, crate::tally::Tally)> {
        let entry = |(subject, tally)| (format!("{subject:?}"), tally);
        let mut tallies: Vec<_> = self
            .shards()
            .flat_map(|shard| shard.tallies().map(entry).collect::<Vec<_>>())
            .collect();
        tallies.sort_unstable_by(|left, right| left.0.cmp(&right.0));
        tallies
    }

    fn give_back(&self, dropped: Dropped) {
        if dropped != Dropped::default() {
            self.own.fetch_sub(dropped.own, Ordering::Relaxed);
            self.shared.fetch_sub(dropped.shared, Ordering::Relaxed);
            let evicted = u64::try_from(dropped.own + dropped.shared).unwrap_or(0);
            self.evicted.fetch_add(evicted, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests;
