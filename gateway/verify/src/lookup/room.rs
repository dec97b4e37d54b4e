//! How many keys may be held, and what follows when there are more.
//!
//! Decides whether there is room, and from which stripe the next key must go; which of that stripe's keys, [`super::held_keys`] says.
//! Refuses to know fences and changes, and holds no key.
//!
//! A cache lets in whatever is asked for, and lets go of another key for it, a little later: at most as many are held too many as
//! there are threads that fill. The stripes are gone round for it, and those that hold much less than their share are passed over, so that
//! they stay alike. A table lets nobody go because another comes.

use crate::{Moment, StoredKey};
use std::sync::atomic::{AtomicUsize, Ordering};

/// How long ago a key's end must be to be sure of it, should the wall clock be wrong.
const CERTAINLY_US: i64 = 24 * 3_600 * 1_000_000;

/// The room for keys.
pub(super) struct Room {
    count: AtomicUsize,
    keys_max: usize,
    is_table: bool,
    /// How many keys a table must hold for the next look for dead ones.
    prune_at: AtomicUsize,
    /// The stripes that were looked at for a key that goes.
    hand: AtomicUsize,
}

impl Room {
    /// Room for `keys_max` keys, which is made for those that are asked for.
    pub(super) fn cache(keys_max: u64) -> Room {
        Room::new(keys_max, false)
    }

    /// Room for all keys that come, up to `keys_max`.
    pub(super) fn table(keys_max: u64) -> Room {
        Room::new(keys_max, true)
    }

    fn new(keys_max: u64, is_table: bool) -> Room {
        let keys_max = usize::try_from(keys_max).unwrap_or(usize::MAX);
        Room {
            count: AtomicUsize::new(0),
            keys_max,
            is_table,
            prune_at: AtomicUsize::new(prune_from(keys_max)),
            hand: AtomicUsize::new(0),
        }
    }

    pub(super) fn is_table(&self) -> bool {
        self.is_table
    }

    /// How many keys are held.
    pub(super) fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// Takes a place for one more key. False: there is none.
    pub(super) fn enter(&self) -> bool {
        let before = self.count.fetch_add(1, Ordering::AcqRel);
        let is_refused = self.is_table && before >= self.keys_max;
        if is_refused {
            self.leave(1);
        }
        !is_refused
    }

    /// Gives the places of so many keys back.
    pub(super) fn leave(&self, keys: usize) {
        self.count.fetch_sub(keys, Ordering::AcqRel);
    }

    /// Whether a key must go for one that came.
    pub(super) fn is_short(&self) -> bool {
        !self.is_table && self.count() > self.keys_max
    }

    /// The next of so many stripes that may have to let a key go.
    pub(super) fn next_stripe(&self, stripes: usize) -> usize {
        self.hand.fetch_add(1, Ordering::Relaxed) % stripes
    }

    /// Whether a stripe that holds so many, of so many stripes, holds its share or little less. Most do, so that the next is near.
    pub(super) fn is_share(&self, held: usize, stripes: usize) -> bool {
        held.saturating_mul(stripes) >= self.count() - self.count() / 8
    }

    /// Whether a table is so full that it should forget keys that open nothing any more, and never will.
    pub(super) fn is_crowded(&self) -> bool {
        self.is_table && self.count() >= self.prune_at.load(Ordering::Relaxed)
    }

    /// It has. Not again for a few: a look at all of them is not for every second.
    pub(super) fn pruned(&self) {
        let (first, next) = (
            prune_from(self.keys_max),
            self.count().saturating_add(self.keys_max / 16),
        );
        self.prune_at.store(next.clamp(first, self.keys_max), Ordering::Relaxed);
    }
}

/// How many keys a table must hold for the first look for dead ones.
fn prune_from(keys_max: usize) -> usize {
    keys_max - keys_max / 8
}

/// Whether a key opens nothing any more, even if the wall clock is wrong.
pub(super) fn is_long_over(key: &StoredKey, now: Moment) -> bool {
    [key.revoked_at_us(), key.expires_at_us()]
        .into_iter()
        .flatten()
        .any(|end_us| end_us.saturating_add(CERTAINLY_US) <= now.wall_us)
}
