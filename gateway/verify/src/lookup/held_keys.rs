//! The keys of one stripe, found by their hash in as few lines of memory as can be.
//!
//! A plain value: decides where a record lies and when to grow, and knows no lock, no fence and no limit. [`super::stripe`] owns one
//! each.
//!
//! Records lie in buckets of one cache line: five pointers, 32 bits of each hash, how often each was asked for lately, up to three
//! times, and how many records passed the bucket by because it was full. So a look-up reads one line here, seldom two, and the record, which holds its whole hash to compare. The bits are
//! read as a fraction of the table, so that a table of any length can grow by a quarter without reading a record.
//!
//! Who goes when one must: a hand goes round the slots and takes one use off each record that it passes; the first that has none left
//! goes. So what is asked for often stays, what was just let in and never asked for again goes soon, and neither a hit nor a
//! record pays for it with more than two bits of a line that the hit reads anyway.

use crate::{KeyHash, StoredKey};
use beside::{Beside, USES_MAX};
use std::sync::Arc;

mod beside;

/// Records in one bucket: with them it is a cache line.
const BUCKET_SLOTS: usize = 5;

/// The records of one stripe.
#[derive(Debug, Default)]
pub(super) struct HeldKeys {
    buckets: Box<[Bucket]>,
    count: usize,
    /// The slot that the hand passes next.
    hand: usize,
}

#[derive(Debug, Default)]
#[repr(C, align(64))]
struct Bucket {
    keys: [Option<Arc<StoredKey>>; BUCKET_SLOTS],
    tags: [u32; BUCKET_SLOTS],
    beside: Beside,
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
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// The record with this hash.
    #[inline]
    pub(super) fn get(&self, hash: &KeyHash) -> Option<&Arc<StoredKey>> {
        let (bucket, slot) = self.find(hash)?;
        self.buckets.get(bucket)?.keys.get(slot)?.as_ref()
    }

    /// The same for a request, which counts as a use of it.
    #[inline]
    pub(super) fn get_to_use(&mut self, hash: &KeyHash) -> Option<&Arc<StoredKey>> {
        let (bucket, slot) = self.find(hash)?;
        let bucket = self.buckets.get_mut(bucket)?;
        bucket.beside.use_once(slot);
        bucket.keys.get(slot)?.as_ref()
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

    /// Takes out a record that was not asked for lately. `None`: there is none, and each has lost one of its uses.
    pub(super) fn take_idle(&mut self) -> Option<Arc<StoredKey>> {
        let slots = self.buckets.len() * BUCKET_SLOTS;
        for _ in 0..slots {
            let at = if self.hand < slots { self.hand } else { 0 };
            self.hand = at + 1;
            let (bucket, slot) = (at / BUCKET_SLOTS, at % BUCKET_SLOTS);
            if self.buckets[bucket].keys[slot].is_some() && !self.buckets[bucket].beside.forget_use(slot) {
                return self.take(bucket, slot);
            }
        }
        None
    }

    /// The same, or the one that was asked for least. `None`: there is no record at all.
    pub(super) fn take_any(&mut self) -> Option<Arc<StoredKey>> {
        // After as many rounds as uses are told apart, each has lost all that it had.
        (0..=USES_MAX).find_map(|_| self.take_idle())
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
            if bucket.beside.passed() == 0 {
                return None;
            }
            index = following(index, self.buckets.len());
        }
        None
    }

    fn take(&mut self, bucket: usize, slot: usize) -> Option<Arc<StoredKey>> {
        let key = self.buckets[bucket].keys[slot].take()?;
        self.buckets[bucket].beside.forget_uses(slot);
        let count = self.buckets.len();
        let mut index = home_of(self.buckets[bucket].tags[slot], count);
        while index != bucket {
            self.buckets[index].beside.is_passed_by_one_less();
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
        bucket.beside.is_passed_by_one_more();
        index = following(index, buckets.len());
    }
}

#[cfg(test)]
mod tests;
