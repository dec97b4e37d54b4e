//! Where known keys are kept: as many as fit, or every one that there is.
//!
//! Decides what goes when there is no room. Knows no fence and no change: what is outdated is the parent's business.

use crate::{KeyHash, Moment, StoredKey};
use dashmap::{DashMap, Entry};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Parts of the table, each with a lock of its own; a power of two.
const PARTS: usize = 256;
/// How long ago a key's end must be to be sure of it, should the wall clock be wrong.
const CERTAINLY_US: i64 = 24 * 3_600 * 1_000_000;

/// The keys held.
pub(super) enum KnownKeys {
    /// The ones asked for most and last.
    Cache(moka::sync::Cache<KeyHash, Arc<StoredKey>>),
    /// All that were let in. None goes because another comes.
    Table(KeyTable),
}

/// A map that nothing is evicted from.
pub(super) struct KeyTable {
    keys: DashMap<KeyHash, Arc<StoredKey>, BuildHasherDefault<HashOfHash>>,
    count: AtomicUsize,
    keys_max: usize,
    /// How many keys there must be for the next look for dead ones.
    prune_at: AtomicUsize,
}

/// A hash is as random as bits get, and strangers cannot choose those that are held: eight bytes of it will do.
#[derive(Default)]
struct HashOfHash(u64);

impl Hasher for HashOfHash {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // Not the first: these choose the stripe.
        if let Some(chunk) = bytes.get(8..16).and_then(|bytes| bytes.first_chunk()) {
            self.0 = u64::from_le_bytes(*chunk);
        }
    }

    fn write_usize(&mut self, _length: usize) {}
}

impl KnownKeys {
    /// Holds up to `keys_max` keys, and makes room for those that are asked for.
    pub(super) fn cache(keys_max: u64) -> KnownKeys {
        KnownKeys::Cache(moka::sync::Cache::builder().max_capacity(keys_max).build())
    }

    /// Holds all keys that come, up to `keys_max`.
    pub(super) fn table(keys_max: u64) -> KnownKeys {
        let keys_max = usize::try_from(keys_max).unwrap_or(usize::MAX);
        KnownKeys::Table(KeyTable {
            keys: DashMap::with_capacity_and_hasher_and_shard_amount(0, BuildHasherDefault::default(), PARTS),
            count: AtomicUsize::new(0),
            keys_max,
            prune_at: AtomicUsize::new(keys_max - keys_max / 8),
        })
    }

    #[inline]
    pub(super) fn get(&self, hash: &KeyHash) -> Option<Arc<StoredKey>> {
        match self {
            KnownKeys::Cache(cache) => cache.get(hash),
            KnownKeys::Table(table) => table.keys.get(hash).map(|key| Arc::clone(&key)),
        }
    }

    /// False: there is no room for one more.
    pub(super) fn insert(&self, hash: KeyHash, key: Arc<StoredKey>) -> bool {
        match self {
            KnownKeys::Cache(cache) => {
                cache.insert(hash, key);
                true
            }
            KnownKeys::Table(table) => table.insert(hash, key),
        }
    }

    pub(super) fn remove(&self, hash: &KeyHash) {
        match self {
            KnownKeys::Cache(cache) => cache.invalidate(hash),
            KnownKeys::Table(table) => {
                if table.keys.remove(hash).is_some() {
                    table.count.fetch_sub(1, Ordering::AcqRel);
                }
            }
        }
    }

    pub(super) fn clear(&self) {
        match self {
            KnownKeys::Cache(cache) => cache.invalidate_all(),
            KnownKeys::Table(table) => table.keys.retain(|_, _| {
                table.count.fetch_sub(1, Ordering::AcqRel);
                false
            }),
        }
    }

    /// How many are held; of a cache, roughly.
    pub(super) fn count(&self) -> u64 {
        match self {
            KnownKeys::Cache(cache) => cache.entry_count(),
            KnownKeys::Table(table) => u64::try_from(table.count.load(Ordering::Acquire)).unwrap_or(u64::MAX),
        }
    }

    pub(super) fn is_table(&self) -> bool {
        matches!(self, KnownKeys::Table(_))
    }

    /// Housekeeping. A table that is nearly full forgets keys that open nothing any more, and never will.
    pub(super) fn sweep(&self, now: Moment) {
        match self {
            KnownKeys::Cache(cache) => cache.run_pending_tasks(),
            KnownKeys::Table(table) => table.prune(now),
        }
    }
}

impl KeyTable {
    fn insert(&self, hash: KeyHash, key: Arc<StoredKey>) -> bool {
        match self.keys.entry(hash) {
            Entry::Occupied(mut held) => {
                held.insert(key);
                true
            }
            Entry::Vacant(place) => {
                if self.count.fetch_add(1, Ordering::AcqRel) >= self.keys_max {
                    self.count.fetch_sub(1, Ordering::AcqRel);
                    return false;
                }
                place.insert(key);
                true
            }
        }
    }

    fn prune(&self, now: Moment) {
        if self.count.load(Ordering::Acquire) < self.prune_at.load(Ordering::Relaxed) {
            return;
        }
        self.keys.retain(|_, key| {
            let is_over = is_long_over(key, now);
            if is_over {
                self.count.fetch_sub(1, Ordering::AcqRel);
            }
            !is_over
        });
        // Not again for a few: a look at all of them is not for every second.
        let first = self.keys_max - self.keys_max / 8;
        let next = self.count.load(Ordering::Acquire).saturating_add(self.keys_max / 16);
        self.prune_at
            .store(next.clamp(first, self.keys_max.max(first)), Ordering::Relaxed);
    }
}

fn is_long_over(key: &StoredKey, now: Moment) -> bool {
    [key.revoked_at_us, key.expires_at_us]
        .into_iter()
        .flatten()
        .any(|end_us| end_us.saturating_add(CERTAINLY_US) <= now.wall_us)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lookup::scripted_source::record;
    use crate::{KeyId, RuleSet, Version};

    fn hash(n: u16) -> KeyHash {
        let mut bytes = [7; 32];
        bytes[8..10].copy_from_slice(&n.to_le_bytes());
        KeyHash(bytes)
    }

    fn key(revoked_at_us: Option<i64>, expires_at_us: Option<i64>) -> Arc<StoredKey> {
        let mut record = record(KeyId(1));
        record.revoked_at_us = revoked_at_us;
        record.expires_at_us = expires_at_us;
        let as_of = Version { epoch: 1, revision: 1 };
        Arc::new(StoredKey::compile(
            record,
            as_of,
            &Arc::new(RuleSet::compile(None, &[])),
        ))
    }

    const NOW: Moment = Moment {
        monotonic_us: 0,
        wall_us: 100 * CERTAINLY_US,
    };

    #[test]
    fn a_table_holds_what_it_holds_and_turns_away_what_is_too_much() {
        let table = KnownKeys::table(3);
        for n in 0..3 {
            assert!(table.insert(hash(n), key(None, None)));
        }
        assert!(!table.insert(hash(3), key(None, None)));
        assert!(
            table.insert(hash(0), key(None, None)),
            "one that is held may be replaced"
        );
        assert_eq!(table.count(), 3);
        table.remove(&hash(1));
        table.remove(&hash(1));
        assert_eq!(table.count(), 2);
        assert!(table.insert(hash(3), key(None, None)));
        assert!(table.get(&hash(1)).is_none() && table.get(&hash(3)).is_some());
    }

    #[test]
    fn only_keys_that_are_long_over_make_room() {
        fn check(revoked_at_us: Option<i64>, expires_at_us: Option<i64>, stays: bool) {
            let table = KnownKeys::table(8);
            for n in 0..7 {
                assert!(table.insert(hash(n), key(None, None)));
            }
            assert!(table.insert(hash(7), key(revoked_at_us, expires_at_us)));
            table.sweep(NOW);
            assert_eq!(
                table.get(&hash(7)).is_some(),
                stays,
                "{revoked_at_us:?} {expires_at_us:?}"
            );
            assert_eq!(table.count(), if stays { 8 } else { 7 });
        }
        let recently = NOW.wall_us - CERTAINLY_US / 24;
        let long_ago = NOW.wall_us - CERTAINLY_US;
        check(None, None, true);
        check(Some(0), None, false);
        check(Some(recently), None, true);
        check(None, Some(recently), true);
        check(None, Some(long_ago), false);
        check(Some(long_ago), Some(i64::MAX), false);
        check(None, Some(i64::MAX), true);
    }

    #[test]
    fn a_table_with_room_forgets_nobody() {
        let table = KnownKeys::table(100);
        assert!(table.insert(hash(0), key(Some(0), None)));
        table.sweep(NOW);
        assert!(
            table.get(&hash(0)).is_some(),
            "it still tells a revoked key from an unknown one"
        );
    }
}
