//! Who stays when there is no room: those asked for most and last, or all that were let in first.
//!
//! Decides which records must leave. Refuses to know fences and changes, and holds nothing that an answer is given from: that is
//! [`super::held_keys`], and the parent keeps the two in step.
//!
//! A cache leaves the choice to moka, whose own look-up takes a microsecond among a million keys. So moka is told of a record when it
//! comes, and once a second of every [`SAMPLE`]th hit, which keeps its order of who is used how often, and is asked nothing. What it lets go of is
//! collected here; the parent fetches it, after each record that is let in and in its housekeeping, and forgets it too. moka may be
//! told late or in another order than records came in: then one that is held may go too early, and one that is not takes a
//! place for a while.

use crate::{KeyHash, Moment, StoredKey};
use parking_lot::Mutex;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How long ago a key's end must be to be sure of it, should the wall clock be wrong.
const CERTAINLY_US: i64 = 24 * 3_600 * 1_000_000;
/// Of so many hits of a stripe, moka is told of one. A prime, so that no regular pattern of requests hides a key from it.
pub(super) const SAMPLE: u64 = 61;

/// Most of these that are remembered from one housekeeping to the next, which is a second: half a million hits.
const ASKED_MAX: usize = 8_192;

/// The room for keys.
pub(super) struct Room {
    count: AtomicUsize,
    order: Order,
}

/// Who goes.
enum Order {
    /// Those that moka lets go of.
    Moka {
        cache: moka::sync::Cache<u64, Arc<StoredKey>, BuildHasherDefault<Identity>>,
        keys_max: u64,
        departed: Arc<Mutex<Vec<Arc<StoredKey>>>>,
        /// The names of keys that were asked for, until the next housekeeping.
        asked: Mutex<Vec<u64>>,
    },
    /// Nobody because another comes.
    Nobody {
        keys_max: usize,
        /// How many keys there must be for the next look for dead ones.
        prune_at: AtomicUsize,
    },
}

/// Eight bytes of a hash are as random as bits get, and strangers cannot choose those that are held.
#[derive(Default)]
struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

/// What moka calls a key: not the whole hash, which the record holds. Two keys of one name would displace each other.
fn name_of(hash: &KeyHash) -> u64 {
    hash.0[16..24]
        .first_chunk()
        .map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

impl Room {
    /// Room for `keys_max` keys, which is made for those that are asked for.
    pub(super) fn cache(keys_max: u64) -> Room {
        let departed = Arc::new(Mutex::new(Vec::new()));
        let leaving = Arc::clone(&departed);
        let cache = moka::sync::Cache::builder()
            .max_capacity(keys_max)
            // Whatever the cause: what was removed or replaced is held no more already, unless two keys share a name.
            .eviction_listener(move |_, key, _| leaving.lock().push(key))
            .build_with_hasher(BuildHasherDefault::default());
        Room {
            count: AtomicUsize::new(0),
            order: Order::Moka {
                cache,
                keys_max,
                departed,
                asked: Mutex::new(Vec::with_capacity(ASKED_MAX)),
            },
        }
    }

    /// Room for all keys that come, up to `keys_max`.
    pub(super) fn table(keys_max: u64) -> Room {
        let keys_max = usize::try_from(keys_max).unwrap_or(usize::MAX);
        Room {
            count: AtomicUsize::new(0),
            order: Order::Nobody {
                keys_max,
                prune_at: AtomicUsize::new(prune_from(keys_max)),
            },
        }
    }

    pub(super) fn is_table(&self) -> bool {
        matches!(self.order, Order::Nobody { .. })
    }

    /// How many keys are held.
    pub(super) fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// Takes a place for one more key. False: there is none.
    pub(super) fn enter(&self) -> bool {
        let before = self.count.fetch_add(1, Ordering::AcqRel);
        match self.order {
            Order::Nobody { keys_max, .. } if before >= keys_max => {
                self.leave(1);
                false
            }
            _ => true,
        }
    }

    /// Gives the places of so many keys back.
    pub(super) fn leave(&self, keys: usize) {
        self.count.fetch_sub(keys, Ordering::AcqRel);
    }

    /// A record was let in. Not to be called under a lock that [`Room::departed`]'s caller takes.
    pub(super) fn welcome(&self, key: &Arc<StoredKey>) {
        if let Order::Moka { cache, .. } = &self.order {
            cache.insert(name_of(&key.hash), Arc::clone(key));
        }
    }

    /// A key was asked for. As long as there is room for as many again, that changes nothing. Allocates nothing: moka hears of it
    /// in the next housekeeping.
    pub(super) fn used(&self, hash: &KeyHash) {
        if let Order::Moka {
            cache, keys_max, asked, ..
        } = &self.order
            && cache.entry_count() >= keys_max / 2
        {
            let mut asked = asked.lock();
            if asked.len() < ASKED_MAX {
                asked.push(name_of(hash));
            }
        }
    }

    /// A record was taken out.
    pub(super) fn forget(&self, hash: &KeyHash) {
        if let Order::Moka { cache, .. } = &self.order {
            cache.invalidate(&name_of(hash));
        }
    }

    /// All records were.
    pub(super) fn forget_all(&self) {
        if let Order::Moka { cache, .. } = &self.order {
            cache.invalidate_all();
        }
    }

    /// Records that there is no room for any more. Whoever holds one must let it go.
    pub(super) fn departed(&self) -> Vec<Arc<StoredKey>> {
        match &self.order {
            Order::Moka { departed, .. } => std::mem::take(&mut *departed.lock()),
            Order::Nobody { .. } => Vec::new(),
        }
    }

    /// Does the housekeeping: tells moka who was asked for, and has it do what it put off.
    pub(super) fn sweep(&self) {
        if let Order::Moka { cache, asked, .. } = &self.order {
            let names = std::mem::replace(&mut *asked.lock(), Vec::with_capacity(ASKED_MAX));
            for name in names {
                cache.get(&name);
            }
            cache.run_pending_tasks();
        }
    }

    /// Whether a table is so full that it should forget keys that open nothing any more, and never will.
    pub(super) fn is_crowded(&self) -> bool {
        match &self.order {
            Order::Nobody { prune_at, .. } => self.count() >= prune_at.load(Ordering::Relaxed),
            Order::Moka { .. } => false,
        }
    }

    /// It has. Not again for a few: a look at all of them is not for every second.
    pub(super) fn pruned(&self) {
        if let Order::Nobody { keys_max, prune_at } = &self.order {
            let (first, next) = (prune_from(*keys_max), self.count().saturating_add(keys_max / 16));
            prune_at.store(next.clamp(first, *keys_max), Ordering::Relaxed);
        }
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
