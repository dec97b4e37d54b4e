//! Which key has this hash? Answered from memory where it can be, from the [`KeySource`] where it must.
//!
//! Holds keys, remembers for a while which hashes are unknown, and forgets both when a change says so. Decides nothing about what
//! a key may do. Called by [`crate::verifier`].
//!
//! Invariant: once [`Lookup::apply`] has returned for a change, no answer read before that change is given or kept, whatever was
//! in flight. Three things carry it:
//!
//! - Every hash belongs to a stripe, whose lock orders hits, the landing of fills and the changes of single keys. A change raises the
//!   stripe's fence and drops the entry in one critical section; a fill lands, and is handed out, only if it was read at or
//!   after the fence, in one critical section too; a hit takes its share of the entry in a third, which is short.
//! - A change that concerns many keys at once is not carried to each of them. It is noted in `WideFences` and counted in
//!   `wide`; an entry remembers the count up to which it was held against the notes, so that a hit costs one comparison until the
//!   next such change.
//! - A new history of the store, or a doubt, raises the floor: what was read before it is not given any more.
//!
//! What is held is what the stripes hold. Whether a key must go is [`room`]'s to say, and which one its stripe's: after the lock of
//! what was let in was given back, so that nobody waits for it.
//!
//! A lookup may be made to hold every key ([`Lookup::of_every_key`]). Then a hash that is not held is unknown without asking, once
//! the table is whole and for as long as no change names it: a change makes it *pending* in the critical section that drops the
//! entry, and only an answer that covers the change ends that, in the critical section in which it lands.

mod completeness;
mod fence;
mod flight;
mod held_keys;
#[cfg(test)]
mod interleaving_tests;
mod landing;
mod room;
#[cfg(test)]
mod room_tests;
#[cfg(test)]
pub(crate) mod scripted_source;
mod shared_apps;
mod shared_grants;
mod shared_rules;
mod stripe;
mod table;
#[cfg(test)]
mod table_interleaving_tests;
#[cfg(test)]
mod table_tests;
#[cfg(test)]
mod tests;

use crate::{Change, ChangeKind, Clock, Freshness, KeyHash, KeySource, Moment, RuleSet, Standing, StoredKey, Version};
use completeness::Completeness;
pub use completeness::TableState;
use fence::WideFences;
use moka::policy::EvictionPolicy;
use parking_lot::{MutexGuard, RwLock};
use room::Room;
use shared_apps::SharedApps;
use shared_grants::SharedGrants;
use shared_rules::SharedRules;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use stripe::{Stripe, Stripes};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

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
    /// Keys held.
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
    stripes: Stripes,
    room: Room,
    /// Of a table of every key. Of anything else, never complete.
    completeness: Completeness,
    unknown: moka::sync::Cache<KeyHash, Absence>,
    wide_fences: RwLock<WideFences>,
    /// How many wide changes there were. Written only under the write lock of `wide_fences`.
    wide: AtomicU64,
    /// How often the floor was raised. Written likewise.
    floors: AtomicU64,
    source: Arc<dyn KeySource>,
    rules: SharedRules,
    apps: SharedApps,
    grants: SharedGrants,
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
struct Counters {
    /// Hashes that were known to be unknown. Hits of keys are counted in their stripes.
    absences: AtomicU64,
    misses: AtomicU64,
    fills: AtomicU64,
    fill_errors: AtomicU64,
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
        let room = Room::cache(settings.keys_max);
        Lookup::holding(room, settings, source, default_rules, clock)
    }

    fn holding(
        room: Room,
        settings: CacheSettings,
        source: Arc<dyn KeySource>,
        default_rules: Arc<RuleSet>,
        clock: Clock,
    ) -> Lookup {
        Lookup {
            stripes: Stripes::new(),
            room,
            completeness: Completeness::default(),
            // By recency: what a flood of junk leaves behind should be what goes first.
            unknown: moka::sync::Cache::builder()
                .max_capacity(settings.unknown_keys_max)
                .eviction_policy(EvictionPolicy::lru())
                .build(),
            wide_fences: RwLock::default(),
            wide: AtomicU64::new(0),
            floors: AtomicU64::new(0),
            source,
            rules: SharedRules::new(default_rules),
            apps: SharedApps::default(),
            grants: SharedGrants::default(),
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

    /// The answer, if it is in memory. Never waits for the source, allocates nothing.
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
        let mut stripe = self.stripes.of(hash);
        let Some(key) = stripe.held.get_to_use(hash).map(Arc::clone) else {
            let found = self.recall_absence(stripe, hash, now);
            let is_found = u64::from(found.is_some());
            self.counters.absences.fetch_add(is_found, Ordering::Relaxed);
            return found;
        };
        if !self.is_trusted(&key) {
            drop(stripe);
            if !self.trusts(&key) {
                return None;
            }
            stripe = self.stripes.of(hash);
        }
        stripe.hits += 1;
        drop(stripe);
        Some(Found::Known(key))
    }

    /// Counts a look-up that was not answered from memory.
    pub(crate) fn count_miss(&self) {
        self.counters.misses.fetch_add(1, Ordering::Relaxed);
    }

    /// The same, for those who look again at what a request was admitted with: it is counted neither as a hit nor as a miss.
    #[must_use]
    pub(crate) fn recall(&self, hash: &KeyHash, now: Moment) -> Option<Found> {
        let stripe = self.stripes.of(hash);
        match stripe.held.get(hash).map(Arc::clone) {
            Some(key) => {
                drop(stripe);
                self.trusts(&key).then_some(Found::Known(key))
            }
            None => self.recall_absence(stripe, hash, now),
        }
    }

    /// The same, for who has the stripe. What was there when the stripe was taken is what counts.
    fn recall_all(&self, stripe: &Stripe, hash: &KeyHash, now: Moment) -> Option<Found> {
        if let Some(key) = stripe.held.get(hash) {
            return self.trusts(key).then(|| Found::Known(Arc::clone(key)));
        }
        let is_absent = self.is_absent(stripe, hash, now) || self.remembers_absence(hash, now);
        is_absent.then_some(Found::Unknown)
    }

    /// Whether a hash that is not held in this stripe is known to be unknown. Gives the stripe back as soon as can be.
    fn recall_absence(&self, stripe: MutexGuard<'_, Stripe>, hash: &KeyHash, now: Moment) -> Option<Found> {
        let is_absent = self.is_absent(&stripe, hash, now);
        drop(stripe);
        (is_absent || self.remembers_absence(hash, now)).then_some(Found::Unknown)
    }

    /// Whether a hash that is not held is unknown because the table is whole.
    fn is_absent(&self, stripe: &Stripe, hash: &KeyHash, now: Moment) -> bool {
        self.completeness.is_complete() && !stripe.pending.contains(hash) && self.tells_absence(now)
    }

    /// Whether this hash was read to be unknown, and that still counts.
    fn remembers_absence(&self, hash: &KeyHash, now: Moment) -> bool {
        self.unknown.get(hash).is_some_and(|absence| {
            absence.floors == self.floors.load(Ordering::Acquire)
                && now.monotonic_us < absence.until_us
                && self.tells_absence(now)
        })
    }

    /// Whether `key` was held against every wide change already.
    #[inline]
    fn is_trusted(&self, key: &StoredKey) -> bool {
        key.trusted_at.load(Ordering::Relaxed) >= self.wide.load(Ordering::Acquire)
    }

    /// Whether no wide change came after `key` was read. Remembers a yes in the entry.
    fn trusts(&self, key: &StoredKey) -> bool {
        if self.is_trusted(key) {
            return true;
        }
        // Read before the notes: a change that comes in between leaves the entry to be asked about again.
        let wide = self.wide.load(Ordering::Acquire);
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
                let mut stripe = self.stripes.of(&hash);
                stripe.fence.raise(change.version);
                self.make_pending(&mut stripe, &hash);
                self.drop_held(&mut stripe, &hash);
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
        for mut stripe in self.stripes.each() {
            self.room.leave(stripe.held.clear());
        }
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

    /// Does the caches' put-off housekeeping.
    pub fn sweep(&self) {
        if self.room.is_crowded() {
            let now = self.clock.now();
            for mut stripe in self.stripes.each() {
                self.room.leave(stripe.held.retain(|key| !room::is_long_over(key, now)));
            }
            self.room.pruned();
        }
        self.unknown.run_pending_tasks();
    }

    /// Counts and sizes.
    #[must_use]
    pub fn stats(&self) -> LookupStats {
        LookupStats {
            known_keys: u64::try_from(self.room.count()).unwrap_or(u64::MAX),
            unknown_keys: self.unknown.entry_count(),
            hits: self.counters.absences.load(Ordering::Relaxed)
                + self.stripes.each().map(|stripe| stripe.hits).sum::<u64>(),
            misses: self.counters.misses.load(Ordering::Relaxed),
            fills: self.counters.fills.load(Ordering::Relaxed),
            fill_errors: self.counters.fill_errors.load(Ordering::Relaxed),
        }
    }
}
