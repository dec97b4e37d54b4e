//! Decimated logs in a flat table, found by their subjects.
//!
//! Decides where in memory a log lies: heads with their subjects side by side, 64 bytes each, so that a check costs one line of
//! the processor's cache and no pointer; stamps apart. Knows no rules and no locks; a shard owns one.

use crate::decimated_log::{DecimatedLog, LogHead, Stamps};
use crate::subject::{Hashed, Subject, SubjectHasher};
use std::hint::select_unpredictable;

/// Slots are taken in pairs: both are compared without a branch, since which of the two it is cannot be predicted.
const PAIR: usize = 2;

/// Slots of the smallest table.
const SLOTS_MIN: usize = 8;

/// A subject and what every check of it needs, on one cache line.
#[derive(Debug, Clone, Copy, Default)]
#[repr(align(64))]
struct Slot {
    subject: Subject,
    head: LogHead,
}

/// The table. Open addressing over pairs of slots: a subject is in the pair its hash names, or in one after it, all pairs
/// between being full; the first slot of a pair is taken first.
#[derive(Debug, Default)]
pub(crate) struct LogTable {
    slots: Vec<Slot>,
    stamps: Vec<Stamps>,
    len: usize,
}

impl Slot {
    #[inline]
    fn is_of(&self, subject: &Subject) -> bool {
        let Subject { rule, owner, network } = &self.subject;
        (rule.0[0] ^ subject.rule.0[0])
            | (rule.0[1] ^ subject.rule.0[1])
            | (owner ^ subject.owner)
            | (network ^ subject.network)
            == 0
    }

    #[inline]
    fn is_vacant(&self) -> bool {
        self.head.is_vacant()
    }
}

impl LogTable {
    /// Logs held.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The index of the subject's log.
    #[inline]
    pub(crate) fn find(&self, key: &Hashed) -> Option<usize> {
        let mut pair = self.home(key.hash);
        loop {
            let [first, second] = self.slots.get(pair..pair + PAIR)? else {
                return None;
            };
            let index = pair + select_unpredictable(first.is_of(&key.subject), 0, 1);
            let found = &self.slots[index];
            if found.is_of(&key.subject) && !found.is_vacant() {
                return Some(index);
            }
            if second.is_vacant() {
                return None;
            }
            pair = self.after(pair);
        }
    }

    /// The index of a log whose subject is kin of this one, which has none of its own.
    pub(crate) fn find_kin(&self, key: &Hashed) -> Option<usize> {
        let mut pair = self.home(key.hash);
        loop {
            let slots = self.slots.get(pair..pair + PAIR)?;
            let kin = slots
                .iter()
                .position(|slot| !slot.is_vacant() && slot.subject.is_kin_of(&key.subject));
            if let Some(at) = kin {
                return Some(pair + at);
            }
            if slots[PAIR - 1].is_vacant() {
                return None;
            }
            pair = self.after(pair);
        }
    }

    /// Reads a little of where [`LogTable::find`] will look, so that the memory fetches it. What is read means nothing.
    #[inline]
    pub(crate) fn fetch(&self, key: &Hashed) -> u64 {
        let pair = self.home(key.hash);
        match self.slots.get(pair..pair + PAIR) {
            Some([first, second]) => first.subject.network ^ second.subject.network,
            _ => 0,
        }
    }

    /// Adds a log for a subject that has none. Indices found before mean nothing after this.
    pub(crate) fn insert(&mut self, key: &Hashed, log: &DecimatedLog, hasher: &SubjectHasher) {
        // Three quarters full at most: an eighth more slots, and everything is placed anew.
        if (self.len + 1) * 4 > self.slots.len() * 3 {
            self.resize(self.slots.len() + self.slots.len() / 8 + PAIR, hasher);
        }
        self.place(key.hash, key.subject, log);
        self.len += 1;
    }

    /// Removes a log. Indices found before mean nothing after this.
    pub(crate) fn remove(&mut self, index: usize, hasher: &SubjectHasher) {
        let mut hole = index - index % PAIR;
        let mut was_full = !self.slots[hole + 1].is_vacant();
        if index == hole && was_full {
            self.carry(hole + 1, hole);
        } else {
            self.slots[index] = Slot::default();
        }
        self.len -= 1;
        // Whoever went past a pair because it was full is moved up into the hole, which thereby moves on.
        let mut pair = hole;
        while was_full {
            pair = self.after(pair);
            let is_full = !self.slots[pair + 1].is_vacant();
            let strays = (pair..pair + PAIR).find(|&at| {
                let slot = &self.slots[at];
                !slot.is_vacant() && self.reaches(self.home(hasher.hash(&slot.subject)), hole, pair)
            });
            if let Some(stray) = strays {
                self.carry(stray, hole + usize::from(!self.slots[hole].is_vacant()));
                if stray == pair && is_full {
                    self.carry(pair + 1, pair);
                }
                hole = pair;
            }
            was_full = is_full;
        }
    }

    /// Gives memory back when little of it is used.
    pub(crate) fn shrink(&mut self, hasher: &SubjectHasher) {
        if self.slots.len() > SLOTS_MIN && self.len * 4 < self.slots.len() {
            self.resize(self.len * 2, hasher);
        }
    }

    /// The head of the log at an index.
    #[inline]
    pub(crate) fn head(&self, index: usize) -> &LogHead {
        &self.slots[index].head
    }

    /// Both parts of the log at an index.
    #[inline]
    pub(crate) fn parts(&self, index: usize) -> (&LogHead, &Stamps) {
        (&self.slots[index].head, &self.stamps[index])
    }

    /// Both parts of the log at an index, to change.
    #[inline]
    pub(crate) fn parts_mut(&mut self, index: usize) -> (&mut LogHead, &mut Stamps) {
        (&mut self.slots[index].head, &mut self.stamps[index])
    }

    /// The log at an index.
    pub(crate) fn log(&self, index: usize) -> DecimatedLog {
        DecimatedLog {
            head: self.slots[index].head,
            stamps: self.stamps[index],
        }
    }

    /// Replaces the log at an index, for a subject that is the one it was of, or kin.
    pub(crate) fn replace(&mut self, index: usize, subject: &Subject, log: &DecimatedLog) {
        self.slots[index].subject = *subject;
        self.set(index, log);
    }

    fn set(&mut self, index: usize, log: &DecimatedLog) {
        self.slots[index].head = log.head;
        self.stamps[index] = log.stamps;
    }

    /// Slots, taken or not; indices are below it.
    pub(crate) fn slots(&self) -> usize {
        self.slots.len()
    }

    /// The subject at an index, if there is a log.
    pub(crate) fn subject(&self, index: usize) -> Option<&Subject> {
        self.slots
            .get(index)
            .filter(|slot| !slot.is_vacant())
            .map(|slot| &slot.subject)
    }

    fn resize(&mut self, slots: usize, hasher: &SubjectHasher) {
        let slots = slots.next_multiple_of(PAIR).max(SLOTS_MIN);
        let old = std::mem::replace(&mut self.slots, vec![Slot::default(); slots]);
        let stamps = std::mem::replace(&mut self.stamps, vec![Stamps::default(); slots]);
        for (slot, stamps) in old.iter().zip(stamps).filter(|(slot, _)| !slot.is_vacant()) {
            let log = DecimatedLog {
                head: slot.head,
                stamps,
            };
            self.place(hasher.hash(&slot.subject), slot.subject, &log);
        }
    }

    fn place(&mut self, hash: u64, subject: Subject, log: &DecimatedLog) {
        let mut pair = self.home(hash);
        while !self.slots[pair + 1].is_vacant() {
            pair = self.after(pair);
        }
        let index = pair + usize::from(!self.slots[pair].is_vacant());
        self.slots[index].subject = subject;
        self.set(index, log);
    }

    fn carry(&mut self, from: usize, to: usize) {
        self.slots[to] = self.slots[from];
        self.stamps[to] = self.stamps[from];
        self.slots[from] = Slot::default();
    }

    /// The first slot of the pair that a hash names.
    #[inline]
    fn home(&self, hash: u64) -> usize {
        let slots = u64::try_from(self.slots.len()).unwrap_or(0);
        let scaled = ((hash & u64::from(u32::MAX)) * slots) >> 32;
        usize::try_from(scaled).unwrap_or(0) & !1
    }

    #[inline]
    fn after(&self, pair: usize) -> usize {
        if pair + PAIR == self.slots.len() {
            0
        } else {
            pair + PAIR
        }
    }

    /// Whether a subject at `pair` that belongs at `home` would be found at `hole`, which is before `pair`.
    fn reaches(&self, home: usize, hole: usize, pair: usize) -> bool {
        let before = |at: usize| (pair + self.slots.len() - at) % self.slots.len();
        before(home) >= before(hole)
    }
}

#[cfg(test)]
mod tests;
