//! A map from subjects to counters, in shards that are locked one by one.
//!
//! Decides where a subject is looked for. Hashes are keyed at random once per map, so that nobody can choose addresses that
//! collide. Knows nothing of counting or capacity; the counter table uses it.

use crate::counter::Counter;
use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A power of two, so many that a shard of a full map is swept in well under a millisecond.
pub(crate) const SHARDS: usize = 256;

/// A key and its hash, computed once for the choice of the shard and the look-up in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hashed<K> {
    hash: u64,
    /// The key.
    pub(crate) key: K,
}

impl<K> Hashed<K> {
    /// The hash.
    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }
}

impl<K> Hash for Hashed<K> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

/// Answers the hash that a [`Hashed`] already carries.
#[derive(Debug, Default)]
pub(crate) struct Carried(u64);

impl Hasher for Carried {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// The counters of one shard.
pub(crate) type Shard<K> = HashMap<Hashed<K>, Arc<Counter>, BuildHasherDefault<Carried>>;

/// Keeps the locks of neighbouring shards on cache lines of their own.
#[derive(Debug)]
#[repr(align(128))]
struct Padded<T>(T);

/// The map. Its length is counted apart from the shards, so that capacity can be reserved before a counter is made.
#[derive(Debug)]
pub(crate) struct ShardedMap<K> {
    shards: Box<[Padded<RwLock<Shard<K>>>]>,
    hasher: RandomState,
    len: AtomicUsize,
}

impl<K: Copy + Eq + Hash> ShardedMap<K> {
    /// An empty map.
    pub(crate) fn new() -> ShardedMap<K> {
        ShardedMap {
            shards: (0..SHARDS).map(|_| Padded(RwLock::default())).collect(),
            hasher: RandomState::new(),
            len: AtomicUsize::new(0),
        }
    }

    /// The key with its hash in this map.
    pub(crate) fn hashed(&self, key: K) -> Hashed<K> {
        Hashed {
            hash: self.hasher.hash_one(key),
            key,
        }
    }

    /// The shard that holds this key, for looking.
    pub(crate) fn read(&self, key: &Hashed<K>) -> RwLockReadGuard<'_, Shard<K>> {
        self.shard(shard_index(key.hash)).read()
    }

    /// The shard that holds this key, for changing.
    pub(crate) fn write(&self, key: &Hashed<K>) -> RwLockWriteGuard<'_, Shard<K>> {
        self.shard(shard_index(key.hash)).write()
    }

    /// The shard at this index, counted round and round.
    pub(crate) fn shard(&self, index: usize) -> &RwLock<Shard<K>> {
        &self.shards[index % SHARDS].0
    }

    /// Counters held and reserved.
    pub(crate) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// Reserves a place for one more counter, unless there are `max` already.
    pub(crate) fn reserve(&self, max: usize) -> bool {
        self.len
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |len| {
                (len < max).then_some(len + 1)
            })
            .is_ok()
    }

    /// Gives places back.
    pub(crate) fn release(&self, places: usize) {
        self.len.fetch_sub(places, Ordering::Relaxed);
    }
}

/// Bits that the shard's own map uses neither for its buckets nor for its tags.
fn shard_index(hash: u64) -> usize {
    usize::from(hash.to_be_bytes()[1])
}
