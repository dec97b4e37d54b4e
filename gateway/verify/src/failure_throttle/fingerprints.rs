//! Was this put here lately? A memory of fixed size, for things that are many and not worth a map.
//!
//! It keeps 64-bit fingerprints under a key of its own, so that nobody outside can aim at an entry to push it out, and it holds
//! no hash that could be read back. It knows nothing of what it remembers; [`super::source_gate`] keeps two.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

/// Entries that share a place; the oldest of them is forgotten for a new one.
const WAYS: usize = 4;
/// Set in every fingerprint: 0 is a free slot.
const TAKEN: u64 = 1 << 63;

/// The memory. A change that meets another one in the same set may be lost; a fingerprint that was never put in is found with a
/// chance of about one in 2^45.
pub(super) struct Fingerprints {
    hasher: RandomState,
    sets: Box<[[AtomicU64; WAYS]]>,
}

impl Fingerprints {
    /// One that takes 8 bytes for each of `entries`, at least four of them, and no byte more, ever.
    pub(super) fn new(entries: usize) -> Fingerprints {
        Fingerprints {
            hasher: RandomState::new(),
            sets: (0..(entries / WAYS).max(1)).map(|_| Default::default()).collect(),
        }
    }

    /// Whether it was put in, and neither taken out nor forgotten since.
    pub(super) fn contains(&self, what: &impl Hash) -> bool {
        let (set, fingerprint) = self.place(what);
        set.iter().any(|slot| slot.load(Ordering::Relaxed) == fingerprint)
    }

    /// Puts it in, unless it is there.
    pub(super) fn insert(&self, what: &impl Hash) {
        let (set, fingerprint) = self.place(what);
        if set.iter().any(|slot| slot.load(Ordering::Relaxed) == fingerprint) {
            return;
        }
        let mut moved = fingerprint;
        for slot in set {
            moved = slot.swap(moved, Ordering::Relaxed);
            if moved == 0 {
                return;
            }
        }
    }

    /// Takes it out.
    pub(super) fn remove(&self, what: &impl Hash) {
        let (set, fingerprint) = self.place(what);
        for slot in set {
            // Another fingerprint, or none, is left as it is.
            let _ = slot.compare_exchange(fingerprint, 0, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    fn place(&self, what: &impl Hash) -> (&[AtomicU64; WAYS], u64) {
        let hashed = self.hasher.hash_one(what);
        let sets = u64::try_from(self.sets.len()).unwrap_or(u64::MAX);
        let set = usize::try_from(hashed % sets).unwrap_or_default();
        (&self.sets[set], hashed | TAKEN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_what_was_put_in_until_it_is_taken_out() {
        let memory = Fingerprints::new(64);
        assert!(!memory.contains(&1));
        for _ in 0..10 {
            memory.insert(&1);
        }
        memory.insert(&2);
        assert!(memory.contains(&1) && memory.contains(&2) && !memory.contains(&3));
        memory.remove(&1);
        memory.remove(&3);
        assert!(!memory.contains(&1) && memory.contains(&2));
    }

    #[test]
    fn forgets_the_oldest_of_a_place_and_never_grows() {
        let memory = Fingerprints::new(0);
        for entry in 0..1_000 {
            memory.insert(&entry);
            let held: Vec<i32> = (0..1_000).filter(|entry| memory.contains(entry)).collect();
            let expect: Vec<i32> = ((entry - 3).max(0)..=entry).collect();
            assert_eq!(held, expect);
        }
        assert_eq!(memory.sets.len(), 1);
        let memory = Fingerprints::new(4_096);
        (0..1_000_000).for_each(|entry| memory.insert(&entry));
        assert_eq!(size_of_val(&*memory.sets), 8 * 4_096);
        let held = (0..1_000_000).filter(|entry| memory.contains(entry)).count();
        assert!((4_000..=4_096).contains(&held), "{held}");
    }

    #[test]
    fn threads_lose_nothing_that_has_room() {
        let memory = Fingerprints::new(1 << 16);
        std::thread::scope(|scope| {
            for thread in 0..4_u32 {
                let memory = &memory;
                scope.spawn(move || (0..250).for_each(|entry| memory.insert(&(thread, entry))));
            }
        });
        let held = (0..4_u32).flat_map(|thread| (0..250).map(move |entry| (thread, entry)));
        // Five or more of a thousand would have to meet in one of 16 384 places, or two in the same instant.
        assert!(held.filter(|entry| memory.contains(entry)).count() >= 998);
    }
}
