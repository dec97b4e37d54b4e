//! The keys of one stripe, found by their hash in as few lines of memory as can be.
//!
//! A plain value: decides where a record lies and when to grow, and knows no lock, no fence and no limit. [`super::stripe`] owns one
//! each.
//!
//! Records lie in buckets of one cache line: five pointers, 32 bits of each hash, and how many records passed the bucket by because
//! it was full. So a look-up reads one line here, seldom two, and the record, which holds its whole hash to compare. The bits are
//! read as a fraction of the table, so that a table of any length can grow by a quarter without reading a record.

use crate::{KeyHash, StoredKey};
use std::sync::Arc;

/// Records in one bucket: with them it is a cache line.
const BUCKET_SLOTS: usize = 5;

/// The records of one stripe.
#[derive(Debug, Default)]
pub(super) struct HeldKeys {
    buckets: Box<[Bucket]>,
    count: usize,
}

#[derive(Debug, Default)]
#[repr(C, align(64))]
struct Bucket {
    keys: [Option<Arc<StoredKey>>; BUCKET_SLOTS],
    tags: [u32; BUCKET_SLOTS],
    /// Records whose home is this bucket or one before, and which lie in one behind it.
    passed: u32,
}

/// The bits of a hash that say where a record lies: none that choose the stripe.
fn tag_of(hash: &KeyHash) -> u32 {
    hash.0[12..16]
        .first_chunk()
        .map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

/// The bucket among `count` that a record with this tag should lie in.
fn home_of(tag: u32, count: usize) -> usize {
    let count = u64::try_from(count).unwrap_or(0);
    usize::try_from((u64::from(tag) * count) >> u32::BITS).unwrap_or(0)
}

impl HeldKeys {
    /// How many there are.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// The record with this hash.
    #[inline]
    pub(super) fn get(&self, hash: &KeyHash) -> Option<&Arc<StoredKey>> {
        let (bucket, slot) = self.find(hash)?;
        self.buckets.get(bucket)?.keys.get(slot)?.as_ref()
    }

    /// Lets a record in under its hash. Answers what was there before.
    pub(super) fn insert(&mut self, key: Arc<StoredKey>) -> Option<Arc<StoredKey>> {
        if let Some((bucket, slot)) = self.find(&key.hash) {
            return self.buckets[bucket].keys[slot].replace(key);
        }
        if (self.count + 1) * 5 > self.buckets.len() * BUCKET_SLOTS * 4 {
            self.grow();
        }
        place(&mut self.buckets, tag_of(&key.hash), key);
        self.count += 1;
        None
    }

    /// Takes out the record with this hash.
    pub(super) fn remove(&mut self, hash: &KeyHash) -> Option<Arc<StoredKey>> {
        let (bucket, slot) = self.find(hash)?;
        self.take(bucket, slot)
    }

    /// Takes out every record that is not to be kept. Answers how many those were.
    pub(super) fn retain(&mut self, mut keeps: impl FnMut(&StoredKey) -> bool) -> usize {
        let before = self.count;
        for bucket in 0..self.buckets.len() {
            for slot in 0..BUCKET_SLOTS {
                if self.buckets[bucket].keys[slot].as_ref().is_some_and(|key| !keeps(key)) {
                    self.take(bucket, slot);
                }
            }
        }
        before - self.count
    }

    /// Takes out every record, and gives the memory back. Answers how many there were.
    pub(super) fn clear(&mut self) -> usize {
        std::mem::take(self).count
    }

    /// Where the record with this hash lies.
    #[inline]
    fn find(&self, hash: &KeyHash) -> Option<(usize, usize)> {
        let tag = tag_of(hash);
        let mut index = home_of(tag, self.buckets.len());
        // No more than once around: it may be that every bucket was passed by.
        for _ in 0..self.buckets.len() {
            let bucket = self.buckets.get(index)?;
            for (slot, key) in bucket.keys.iter().enumerate() {
                if bucket.tags[slot] == tag && key.as_ref().is_some_and(|key| key.hash == *hash) {
                    return Some((index, slot));
                }
            }
            if bucket.passed == 0 {
                return None;
            }
            index = following(index, self.buckets.len());
        }
        None
    }

    fn take(&mut self, bucket: usize, slot: usize) -> Option<Arc<StoredKey>> {
        let key = self.buckets[bucket].keys[slot].take()?;
        let count = self.buckets.len();
        let mut index = home_of(self.buckets[bucket].tags[slot], count);
        while index != bucket {
            self.buckets[index].passed -= 1;
            index = following(index, count);
        }
        self.count -= 1;
        Some(key)
    }

    fn grow(&mut self) {
        let count = self.buckets.len() + self.buckets.len() / 4 + 1;
        let mut buckets: Box<[Bucket]> = std::iter::repeat_with(Bucket::default).take(count).collect();
        for bucket in std::mem::take(&mut self.buckets) {
            for (key, tag) in bucket.keys.into_iter().zip(bucket.tags) {
                if let Some(key) = key {
                    place(&mut buckets, tag, key);
                }
            }
        }
        self.buckets = buckets;
    }
}

fn following(index: usize, count: usize) -> usize {
    if index + 1 == count { 0 } else { index + 1 }
}

/// Puts a record that is not there yet into the first free slot from its home on. There must be one.
fn place(buckets: &mut [Bucket], tag: u32, key: Arc<StoredKey>) {
    let mut index = home_of(tag, buckets.len());
    loop {
        let bucket = &mut buckets[index];
        if let Some(slot) = bucket.keys.iter().position(Option::is_none) {
            bucket.keys[slot] = Some(key);
            bucket.tags[slot] = tag;
            return;
        }
        bucket.passed += 1;
        index = following(index, buckets.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lookup::scripted_source::record;
    use crate::{KeyId, RuleSet, Version};
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn key(hash: KeyHash, id: i64) -> Arc<StoredKey> {
        let rules = Arc::new(RuleSet::compile(None, &[]));
        let mut key = StoredKey::compile(record(KeyId(id)), Version { epoch: 1, revision: 1 }, &rules);
        key.hash = hash;
        Arc::new(key)
    }

    /// Hashes of which many share a home and some a tag.
    fn hash(n: u16) -> KeyHash {
        let mut bytes = [0; 32];
        bytes[..2].copy_from_slice(&n.to_le_bytes());
        bytes[12..16].copy_from_slice(&(u32::from(n % 50) << 26).to_le_bytes());
        KeyHash(bytes)
    }

    #[test]
    fn a_bucket_is_a_cache_line() {
        assert_eq!((size_of::<Bucket>(), align_of::<Bucket>()), (64, 64));
    }

    #[test]
    fn random_hashes_lie_near_their_homes() {
        let mut held = HeldKeys::default();
        let mut state = 1_u64;
        for id in 0..20_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let mut bytes = [0; 32];
            bytes[8..16].copy_from_slice(&state.to_le_bytes());
            held.insert(key(KeyHash(bytes), id));
        }
        let slots = held.buckets.len() * BUCKET_SLOTS;
        assert!(held.count * 100 / slots >= 60, "{} of {slots}", held.count);
        let passed: u32 = held.buckets.iter().map(|bucket| bucket.passed).sum();
        assert!(passed < 10_000, "{passed} buckets are read in vain");
    }

    #[derive(Debug, Clone)]
    enum Step {
        Insert(u16, i64),
        Remove(u16),
        KeepEven,
        Clear,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            60 => (0..400_u16, any::<i64>()).prop_map(|(n, id)| Step::Insert(n, id)),
            30 => (0..400_u16).prop_map(Step::Remove),
            1 => Just(Step::KeepEven),
            1 => Just(Step::Clear),
        ]
    }

    proptest! {
        #[test]
        fn it_holds_what_a_map_would(steps in proptest::collection::vec(step(), 0..600)) {
            let mut held = HeldKeys::default();
            let mut model: HashMap<u16, i64> = HashMap::new();
            for step in steps {
                match step {
                    Step::Insert(n, id) => {
                        let before = held.insert(key(hash(n), id)).map(|key| key.key_id.0);
                        prop_assert_eq!(before, model.insert(n, id));
                    }
                    Step::Remove(n) => {
                        let before = held.remove(&hash(n)).map(|key| key.key_id.0);
                        prop_assert_eq!(before, model.remove(&n));
                    }
                    Step::KeepEven => {
                        let before = model.len();
                        model.retain(|_, id| *id % 2 == 0);
                        prop_assert_eq!(held.retain(|key| key.key_id.0 % 2 == 0), before - model.len());
                    }
                    Step::Clear => {
                        prop_assert_eq!(held.clear(), model.len());
                        model.clear();
                    }
                }
                prop_assert_eq!(held.count(), model.len());
            }
            for n in 0..400 {
                prop_assert_eq!(held.get(&hash(n)).map(|key| key.key_id.0), model.get(&n).copied());
            }
            held.retain(|_| false);
            prop_assert!(held.buckets.iter().all(|bucket| bucket.passed == 0));
        }
    }
}
