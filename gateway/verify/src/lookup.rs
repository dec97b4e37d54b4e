//! Which key has this hash? Answered from memory where it can be, from the [`KeySource`] where it must.
//!
//! Holds keys, remembers for a while which hashes are unknown, and forgets both when a change says so. Decides nothing about what
//! a key may do. Called by [`crate::verifier`].
//!
//! Invariant: once [`Lookup::apply`] has returned for a change, no answer read before that change is given or kept, whatever was
//! in flight. Three things carry it:
//!
//! - Every hash belongs to a stripe, whose lock orders the landing of fills and the changes of single keys. A change raises the
//!   stripe's fence and drops the entry in one critical section; a fill lands, and is handed out, only if it was read at or
//!   after the fence, in one critical section too.
//! - A change that concerns many keys at once is not carried to each of them. It is noted in `WideFences` and counted in
//!   `wide`; an entry remembers the count up to which it was held against the notes, so that a hit costs one comparison until the
//!   next such change.
//! - A new history of the store, or a doubt, raises the floor: what was read before it is not given any more.
//!
//! A lookup may be made to hold every key ([`Lookup::of_every_key`]). Then a hash that is not held is unknown without asking, once
//! the table is whole and for as long as no change names it: a change makes it *pending* in the critical section that drops the
//! entry, and only an answer that covers the change ends that, in the critical section in which it lands.

mod completeness;
mod fence;
mod flight;
#[cfg(test)]
mod interleaving_tests;
mod known_keys;
#[cfg(test)]
pub(crate) mod scripted_source;
mod shared_apps;
mod shared_rules;
mod table;
#[cfg(test)]
mod table_interleaving_tests;
#[cfg(test)]
mod table_tests;
#[cfg(test)]
mod tests;

use crate::{
    Change, ChangeKind, Clock, Freshness, KeyHash, KeyRecord, KeySource, Moment, RuleSet, Standing, StoredKey, Version,
};
use completeness::Completeness;
pub use completeness::TableState;
use fence::{StripeFence, WideFences};
use flight::Flight;
use known_keys::KnownKeys;
use moka::policy::EvictionPolicy;
use parking_lot::{Mutex, RwLock};
use shared_apps::SharedApps;
use shared_rules::SharedRules;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

/// Stripes of the hash; more than the fills that usually run at once, so that they seldom meet.
const STRIPES: usize = 256;
/// Hit counters, so that hits of different keys do not fight for one cache line.
const HIT_COUNTERS: usize = 16;

/// How much the cache holds and how hard it may press the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheSettings {
    /// Keys held.
    pub keys_max: u64,
    /// Hashes remembered as unknown.
    pub unknown_keys_max: u64,
    /// How long a hash is remembered as unknown, if no change says otherwise.
    pub unknown_ttl: Duration,
    /// Look-ups that may be at the source at the same time; at least 1.
    pub fills_max: usize,
    /// How long a look-up may take, waiting for its turn included.
    pub fill_timeout: Duration,
}

/// An answer.
#[derive(Debug, Clone)]
pub enum Found {
    /// A key with this hash was issued. It may be revoked, expired or of an inactive app.
    Known(Arc<StoredKey>),
    /// None was.
    Unknown,
}

/// What [`Lookup`] counted since it was made, and what it holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LookupStats {
    /// Keys held, roughly.
    pub known_keys: u64,
    /// Hashes remembered as unknown, roughly.
    pub unknown_keys: u64,
    /// Answers given from memory.
    pub hits: u64,
    /// Answers that were not in memory.
    pub misses: u64,
    /// Times that the source was asked.
    pub fills: u64,
    /// Fills that ended without an answer.
    pub fill_errors: u64,
}

/// The cache in front of a [`KeySource`].
pub struct Lookup {
    known: KnownKeys,
    /// Of a table of every key. Of anything else, never complete.
    completeness: Completeness,
    unknown: moka::sync::Cache<KeyHash, Absence>,
    stripes: Box<[Mutex<Stripe>]>,
    wide_fences: RwLock<WideFences>,
    /// How many wide changes there were. Written only under the write lock of `wide_fences`.
    wide: AtomicU64,
    /// How often the floor was raised. Written likewise.
    floors: AtomicU64,
    source: Arc<dyn KeySource>,
    rules: SharedRules,
    apps: SharedApps,
    clock: Clock,
    /// Unset: up to date at all times.
    freshness: OnceLock<Arc<Freshness>>,
    settings: CacheSettings,
    /// Where look-ups at the source run: whoever asks may be on a runtime that ends before the source's connections do.
    runtime: Option<Handle>,
    /// One permit per look-up at the source.
    slots: Semaphore,
    flights: AtomicUsize,
    waiters: AtomicUsize,
    counters: Counters,
}

/// That no key has a hash.
#[derive(Debug, Clone, Copy)]
struct Absence {
    /// `floors` when it was read.
    floors: u64,
    /// Monotonic microseconds from which it is forgotten.
    until_us: u64,
}

#[derive(Default)]
struct Stripe {
    fence: StripeFence,
    flights: HashMap<KeyHash, Flight>,
    /// Of a table: hashes that a change named, or that had a key when it was last heard of, and are not held.
    pending: HashSet<KeyHash>,
}

#[derive(Default)]
struct Counters {
    hits: [HitCounter; HIT_COUNTERS],
    misses: AtomicU64,
    fills: AtomicU64,
    fill_errors: AtomicU64,
}

/// Alone on its cache line.
#[derive(Default)]
#[repr(align(64))]
struct HitCounter(AtomicU64);

/// What became of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kept {
    /// It is held, or one that was read later.
    Held,
    /// It is good, and there is no room for it.
    NoRoom,
    /// A change that was applied came after it.
    Outdated,
}

/// An answer of the source that may still turn out to be outdated.
#[derive(Debug, Clone)]
struct Landed {
    found: Found,
    as_of: Version,
}

impl Lookup {
    /// An empty cache. `default_rules` hold for keys without a scheme.
    #[must_use]
    pub fn new(
        settings: CacheSettings,
        source: Arc<dyn KeySource>,
        default_rules: Arc<RuleSet>,
        clock: Clock,
    ) -> Lookup {
        let known = KnownKeys::cache(settings.keys_max);
        Lookup::holding(known, settings, source, default_rules, clock)
    }

    fn holding(
        known: KnownKeys,
        settings: CacheSettings,
        source: Arc<dyn KeySource>,
        default_rules: Arc<RuleSet>,
        clock: Clock,
    ) -> Lookup {
        Lookup {
            known,
            completeness: Completeness::default(),
            // By recency: what a flood of junk leaves behind should be what goes first.
            unknown: moka::sync::Cache::builder()
                .max_capacity(settings.unknown_keys_max)
                .eviction_policy(EvictionPolicy::lru())
                .build(),
            stripes: (0..STRIPES).map(|_| Mutex::default()).collect(),
            wide_fences: RwLock::default(),
            wide: AtomicU64::new(0),
            floors: AtomicU64::new(0),
            source,
            rules: SharedRules::new(default_rules),
            apps: SharedApps::default(),
            clock,
            freshness: OnceLock::new(),
            runtime: Handle::try_current().ok(),
            slots: Semaphore::new(settings.fills_max.clamp(1, Semaphore::MAX_PERMITS)),
            settings,
            flights: AtomicUsize::new(0),
            waiters: AtomicUsize::new(0),
            counters: Counters::default(),
        }
    }

    /// From now on, a hash that is remembered as unknown is one only while everything is known to have been heard.
    pub(crate) fn judge_by(&self, freshness: Arc<Freshness>) {
        // Whoever makes a verifier does so once.
        let _ = self.freshness.set(freshness);
    }

    /// What [`Lookup::judge_by`] set.
    #[inline]
    pub(crate) fn freshness(&self) -> Option<&Freshness> {
        self.freshness.get().map(|freshness| &**freshness)
    }

    /// Whether it can be said from memory that a key does not exist. One may have been created unheard.
    fn tells_absence(&self, now: Moment) -> bool {
        self.freshness()
            .is_none_or(|freshness| freshness.standing(now) == Standing::Fresh)
    }

    /// The answer, if it is in memory. Never waits for the source, allocates nothing. For a key that is held it takes no lock of
    /// ours.
    #[must_use]
    pub fn held(&self, hash: &KeyHash, now: Moment) -> Option<Found> {
        let found = self.find(hash, now);
        if found.is_none() {
            self.count_miss();
        }
        found
    }

    /// The same, for who will ask again or else say [`Lookup::count_miss`]: only what is found is counted.
    #[must_use]
    pub(crate) fn find(&self, hash: &KeyHash, now: Moment) -> Option<Found> {
        let found = self.recall(hash, now)?;
        self.counters.hits[usize::from(hash.0[1]) % HIT_COUNTERS]
            .0
            .fetch_add(1, Ordering::Relaxed);
        Some(found)
    }

    /// Counts a look-up that was not answered from memory.
    pub(crate) fn count_miss(&self) {
        self.counters.misses.fetch_add(1, Ordering::Relaxed);
    }

    /// The same, for those who look again at what a request was admitted with: it is counted neither as a hit nor as a miss.
    #[must_use]
    pub(crate) fn recall(&self, hash: &KeyHash, now: Moment) -> Option<Found> {
        if let Some(found) = self.recall_read(hash, now) {
            return Some(found);
        }
        if !self.completeness.is_complete() {
            return None;
        }
        self.recall_all(&self.stripe(hash).lock(), hash, now)
    }

    /// The same, for who has the stripe. What was there when the stripe was taken is what counts.
    fn recall_all(&self, stripe: &Stripe, hash: &KeyHash, now: Moment) -> Option<Found> {
        if let Some(found) = self.recall_read(hash, now) {
            return Some(found);
        }
        let is_absent = self.completeness.is_complete()
            && !stripe.pending.contains(hash)
            && self.tells_absence(now)
            // One that is held, and not trusted.
            && self.known.get(hash).is_none();
        is_absent.then_some(Found::Unknown)
    }

    /// The answer that was read for this hash, if one is remembered.
    fn recall_read(&self, hash: &KeyHash, now: Moment) -> Option<Found> {
        if let Some(key) = self.known.get(hash) {
            return self.trusts(&key).then_some(Found::Known(key));
        }
        let absence = self.unknown.get(hash)?;
        let is_current = absence.floors == self.floors.load(Ordering::Acquire) && now.monotonic_us < absence.until_us;
        (is_current && self.tells_absence(now)).then_some(Found::Unknown)
    }

    /// Whether no wide change came after `key` was read. Remembers a yes in the entry.
    fn trusts(&self, key: &StoredKey) -> bool {
        // Read before the notes: a change that comes in between leaves the entry to be asked about again.
        let wide = self.wide.load(Ordering::Acquire);
        if key.trusted_at.load(Ordering::Relaxed) >= wide {
            return true;
        }
        let is_current = self.wide_fences.read().admit(key.as_of, Some(key));
        if is_current {
            key.trusted_at.fetch_max(wide, Ordering::Relaxed);
        }
        is_current
    }

    /// Forgets what `change` made outdated, and keeps what is in flight from bringing it back.
    ///
    /// Changes come in the order of the log, from one caller. One that was applied before may be applied again.
    pub fn apply(&self, change: &Change) {
        self.follow(change.version);
        let revision = change.version.revision;
        match change.kind {
            ChangeKind::KeyCreated(hash) | ChangeKind::KeyChanged(hash) => {
                let mut stripe = self.stripe(&hash).lock();
                stripe.fence.raise(change.version);
                self.make_pending(&mut stripe, &hash);
                self.known.remove(&hash);
                self.unknown.invalidate(&hash);
            }
            ChangeKind::AppChanged(app) => self.note(|fences| fences.raise_app(app, revision)),
            ChangeKind::SchemeChanged(scheme) => self.note(|fences| fences.raise_scheme(scheme, revision)),
            ChangeKind::TokenRevoked(_) | ChangeKind::NoKey => {}
        }
    }

    /// Everything held must be read again, at `at` or later, before it is given.
    ///
    /// A table is not whole from then on; whoever fills it must hear of it after this.
    pub fn distrust_all(&self, at: Version) {
        self.completeness.spoil(Some(at));
        self.note(|fences| fences.raise_floor(at));
    }

    /// Forgets every key, because those held are not the ones that the source now has: it speaks for another tenant.
    ///
    /// What is in flight meanwhile must come from the source as it is now.
    pub fn forget_all(&self) {
        self.incomplete();
        self.known.clear();
        self.unknown.invalidate_all();
    }

    /// Sees to it that the floor is in the history that changes come from.
    fn follow(&self, version: Version) {
        if !self.wide_fences.read().is_in_history_of(version) {
            // All that was read before this change, in this history, includes the changes before it; of anything else it is
            // not known which changes it includes.
            let before = Version {
                revision: version.revision.saturating_sub(1),
                ..version
            };
            self.distrust_all(before);
        }
    }

    /// Notes a wide change.
    fn note(&self, raise: impl FnOnce(&mut WideFences) -> fence::Raised) {
        let mut fences = self.wide_fences.write();
        let raised = raise(&mut fences);
        self.wide.fetch_add(1, Ordering::AcqRel);
        if raised == fence::Raised::Floor {
            self.floors.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// What is kept of a record: what it has in common with others is held once.
    fn compile(&self, record: KeyRecord, as_of: Version) -> Arc<StoredKey> {
        let rules = self.rules.of(record.scheme.as_ref());
        let app = self.apps.of(&record.app);
        Arc::new(StoredKey::sharing(record, as_of, app, rules))
    }

    /// Lets an answer of the source in, if it is not outdated: keeps it, and ends the flight. The flight goes on otherwise.
    fn land(&self, hash: &KeyHash, answer: &Landed) -> bool {
        let mut stripe = self.stripe(hash).lock();
        let is_good = self.keep(&mut stripe, hash, answer) != Kept::Outdated;
        if is_good {
            stripe.flights.remove(hash);
        }
        is_good
    }

    /// Keeps an answer, if no change that was applied came after it.
    fn keep(&self, stripe: &mut Stripe, hash: &KeyHash, answer: &Landed) -> Kept {
        // Read before the notes, as in `trusts`.
        let wide = self.wide.load(Ordering::Acquire);
        let floors = self.floors.load(Ordering::Acquire);
        if !self.is_current(stripe, answer) {
            // There was a key, and all that is known of it is outdated.
            if matches!(answer.found, Found::Known(_)) && self.known.get(hash).is_none() {
                self.make_pending(stripe, hash);
            }
            return Kept::Outdated;
        }
        if self.holds_newer(hash, answer.as_of) {
            return Kept::Held;
        }
        match &answer.found {
            Found::Known(key) => {
                key.trusted_at.fetch_max(wide, Ordering::Relaxed);
                self.unknown.invalidate(hash);
                if !self.known.insert(*hash, Arc::clone(key)) {
                    self.completeness.spoil(None);
                    return Kept::NoRoom;
                }
            }
            Found::Unknown => {
                let ttl_us = u64::try_from(self.settings.unknown_ttl.as_micros()).unwrap_or(u64::MAX);
                let until_us = self.clock.now().monotonic_us.saturating_add(ttl_us);
                self.known.remove(hash);
                self.unknown.insert(*hash, Absence { floors, until_us });
            }
        }
        self.settle(stripe, hash);
        Kept::Held
    }

    /// Whether a key is held that was read after `as_of`, and is still good: an older answer must not take its place.
    fn holds_newer(&self, hash: &KeyHash, as_of: Version) -> bool {
        self.known
            .get(hash)
            .is_some_and(|held| held.as_of != as_of && held.as_of.covers(as_of) && self.trusts(&held))
    }

    /// Whether no change applied so far came after `answer` was read.
    fn is_current(&self, stripe: &Stripe, answer: &Landed) -> bool {
        let key = match &answer.found {
            Found::Known(key) => Some(&**key),
            Found::Unknown => None,
        };
        stripe.fence.admits(answer.as_of) && self.wide_fences.read().admit(answer.as_of, key)
    }

    fn stripe(&self, hash: &KeyHash) -> &Mutex<Stripe> {
        &self.stripes[usize::from(hash.0[0]) % STRIPES]
    }

    /// Does the caches' put-off housekeeping.
    pub fn sweep(&self) {
        self.known.sweep(self.clock.now());
        self.unknown.run_pending_tasks();
    }

    /// Counts and sizes.
    #[must_use]
    pub fn stats(&self) -> LookupStats {
        LookupStats {
            known_keys: self.known.count(),
            unknown_keys: self.unknown.entry_count(),
            hits: self
                .counters
                .hits
                .iter()
                .map(|counter| counter.0.load(Ordering::Relaxed))
                .sum(),
            misses: self.counters.misses.load(Ordering::Relaxed),
            fills: self.counters.fills.load(Ordering::Relaxed),
            fill_errors: self.counters.fill_errors.load(Ordering::Relaxed),
        }
    }
}
