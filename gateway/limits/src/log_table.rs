//! Decimated logs in a flat table, found by the hash of their subjects.
//!
//! Decides where in memory a log lies: two heads with their tags on a cache line, so that a check costs one line and no pointer;
//! subjects and stamps, which checks do not need, apart. Knows no rules and no locks; a shard owns one.

use crate::decimated_log::{DecimatedLog, LogHead, Stamps, Standing};
use crate::layout::Layout;
use crate::stamp_store::StampStore;
use crate::subject::{Hashed, Subject, are_kin};
use prefetch_index::prefetch_index;
use std::hint::select_unpredictable;

/// Heads on a line: both are compared without a branch, since which of the two it is cannot be predicted.
const PAIR: usize = 2;

/// Lines of the smallest table.
const LINES_MIN: usize = 4;

/// The entry in the store of a log that has no stamps.
const NONE: u32 = u32::MAX;

/// What every check of a subject needs. A vacant one is all zeros.
#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    /// The whole hash of the subject, which stands for it.
    tag: u64,
    head: LogHead,
}

/// Two slots in one line of the processor's cache. The first is taken first.
#[derive(Debug, Clone, Copy, Default)]
#[repr(align(64))]
struct Line([Slot; PAIR]);

/// The table. Open addressing over lines: a subject is in the line its hash names, or in one after it, all lines between being
/// full.
#[derive(Debug, Default)]
pub(crate) struct LogTable {
    lines: Box<[Line]>,
    /// What only changes of the table need.
    beside: Box<Beside>,
}

/// Subjects, and where their stamps are, by the index of the slot.
#[derive(Debug, Default)]
struct Beside {
    len: usize,
    subjects: Box<[Subject]>,
    entries: Box<[u32]>,
    stamps: StampStore,
}

impl Line {
    fn is_full(&self) -> bool {
        !self.0[PAIR - 1].head.is_vacant()
    }
}

impl LogTable {
    /// Logs held.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.beside.len
    }

    /// The index of the log under a tag.
    #[inline]
    pub(crate) fn find(&self, tag: u64) -> Option<usize> {
        self.find_head(tag).map(|(index, _)| index)
    }

    /// The index and the head of the log under a tag.
    #[inline]
    pub(crate) fn find_head(&self, tag: u64) -> Option<(usize, &LogHead)> {
        let mut line = self.home(tag);
        loop {
            let Line(pair) = self.lines.get(line)?;
            let at = select_unpredictable(pair[0].tag == tag, 0, 1);
            let slot = &pair[at];
            if slot.tag == tag && !slot.head.is_vacant() {
                return Some((line * PAIR + at, &slot.head));
            }
            if pair[1].head.is_vacant() {
                return None;
            }
            line = self.after(line);
        }
    }

    /// The index of a log whose subject is kin of this one, which has none of its own.
    pub(crate) fn find_kin(&self, key: &Hashed) -> Option<usize> {
        let mut line = self.home(key.hash);
        loop {
            let Line(pair) = self.lines.get(line)?;
            let kin = (0..PAIR).find(|&at| {
                !pair[at].head.is_vacant()
                    && are_kin(pair[at].tag, key.hash)
                    && self.beside.subjects[line * PAIR + at].is_kin_of(&key.subject)
            });
            if let Some(at) = kin {
                return Some(line * PAIR + at);
            }
            if pair[PAIR - 1].head.is_vacant() {
                return None;
            }
            line = self.after(line);
        }
    }

    /// Asks the memory for the lines in which [`LogTable::find`] will most likely look, and does not wait for them.
    #[inline]
    pub(crate) fn fetch(&self, tag: u64) {
        let home = self.home(tag);
        prefetch_index(&self.lines, home);
        prefetch_index(&self.lines, home + 1);
    }

    /// Adds a log for a subject that has none. Indices found before mean nothing after this.
    pub(crate) fn insert(&mut self, key: &Hashed, log: &DecimatedLog) {
        // Four fifths full at most: an eighth more lines, and everything is placed anew.
        if (self.beside.len + 1) * 5 > self.slots() * 4 {
            self.resize(self.lines.len() + self.lines.len() / 8 + 1);
        }
        let index = self.place(key.hash, log.head);
        self.beside.subjects[index] = key.subject;
        self.set_stamps(index, log);
        self.beside.len += 1;
    }

    /// Removes a log. Indices found before mean nothing after this.
    pub(crate) fn remove(&mut self, index: usize) {
        let entry = std::mem::replace(&mut self.beside.entries[index], NONE);
        if entry != NONE {
            self.beside.stamps.give_back(entry);
        }
        self.lines[index / PAIR].0[index % PAIR] = Slot::default();
        self.beside.len -= 1;
        let mut hole = index / PAIR;
        let mut was_full = index % PAIR == 1 || self.lines[hole].is_full();
        self.close_up(hole);
        // Whoever went past a line because it was full is moved up into the hole, which thereby moves on.
        let mut line = hole;
        while was_full {
            line = self.after(line);
            let is_full = self.lines[line].is_full();
            let stray = (0..PAIR).find(|&at| {
                let slot = &self.lines[line].0[at];
                !slot.head.is_vacant() && self.reaches(self.home(slot.tag), hole, line)
            });
            if let Some(at) = stray {
                let room = usize::from(!self.lines[hole].0[0].head.is_vacant());
                self.carry(line * PAIR + at, hole * PAIR + room);
                self.close_up(line);
                hole = line;
            }
            was_full = is_full;
        }
    }

    /// Gives memory back when little of it is used.
    pub(crate) fn shrink(&mut self) {
        if self.lines.len() > LINES_MIN && self.beside.len * 4 < self.slots() {
            self.resize(self.beside.len);
        }
    }

    /// The head of the log at an index.
    #[inline]
    pub(crate) fn head(&self, index: usize) -> &LogHead {
        &self.lines[index / PAIR].0[index % PAIR].head
    }

    /// The head of the log at an index, to change.
    #[inline]
    pub(crate) fn head_mut(&mut self, index: usize) -> &mut LogHead {
        &mut self.lines[index / PAIR].0[index % PAIR].head
    }

    /// Where the log at an index stands under its own layout.
    pub(crate) fn standing(&self, index: usize, layout: &Layout, now_us: u64) -> Standing {
        let entry = self.beside.entries[index];
        let none = Stamps::default();
        let stamps = if entry == NONE {
            &none
        } else {
            self.beside.stamps.get(entry)
        };
        self.head(index).standing(stamps, layout, now_us)
    }

    /// Counts an admission that the log at an index has room for, and tells where it then stands.
    pub(crate) fn admit(&mut self, index: usize, layout: &Layout, now_us: u64) -> Standing {
        if let Some(prospect) = self.head(index).prospect(layout, now_us) {
            *self.head_mut(index) = prospect.head;
            return prospect.standing;
        }
        let head = &mut self.lines[index / PAIR].0[index % PAIR].head;
        let stamps = self.beside.stamps_mut(index);
        head.admit(stamps, layout, now_us)
    }

    /// The log at an index.
    pub(crate) fn log(&self, index: usize) -> DecimatedLog {
        let entry = self.beside.entries[index];
        DecimatedLog {
            head: *self.head(index),
            stamps: if entry == NONE {
                Stamps::default()
            } else {
                *self.beside.stamps.get(entry)
            },
        }
        .without_noise()
    }

    /// Replaces the log at an index, for a subject that is the one it was of, or kin.
    pub(crate) fn replace(&mut self, index: usize, key: &Hashed, log: &DecimatedLog) {
        self.lines[index / PAIR].0[index % PAIR] = Slot {
            tag: key.hash,
            head: log.head,
        };
        self.beside.subjects[index] = key.subject;
        self.set_stamps(index, log);
    }

    fn set_stamps(&mut self, index: usize, log: &DecimatedLog) {
        if log.has_stamps() || self.beside.entries[index] != NONE {
            *self.beside.stamps_mut(index) = log.stamps;
        }
    }

    /// Slots, taken or not; indices are below it.
    pub(crate) fn slots(&self) -> usize {
        self.lines.len() * PAIR
    }

    /// The subject at an index, if there is a log.
    pub(crate) fn subject(&self, index: usize) -> Option<&Subject> {
        let slot = self.lines.get(index / PAIR).map(|line| &line.0[index % PAIR])?;
        (!slot.head.is_vacant()).then(|| &self.beside.subjects[index])
    }

    fn resize(&mut self, lines: usize) {
        let lines = lines.max(LINES_MIN);
        let old = std::mem::replace(&mut self.lines, vec![Line::default(); lines].into_boxed_slice());
        let beside = Beside {
            len: self.beside.len,
            subjects: vec![Subject::default(); lines * PAIR].into_boxed_slice(),
            entries: vec![NONE; lines * PAIR].into_boxed_slice(),
            stamps: StampStore::default(),
        };
        let old_beside = std::mem::replace(&mut *self.beside, beside);
        for (from, slot) in old.iter().flat_map(|line| line.0).enumerate() {
            if slot.head.is_vacant() {
                continue;
            }
            let index = self.place(slot.tag, slot.head);
            self.beside.subjects[index] = old_beside.subjects[from];
            let entry = old_beside.entries[from];
            if entry != NONE {
                *self.beside.stamps_mut(index) = *old_beside.stamps.get(entry);
            }
        }
    }

    /// Puts a head into the first slot that is free for its tag, and answers the index.
    fn place(&mut self, tag: u64, head: LogHead) -> usize {
        let mut line = self.home(tag);
        while self.lines[line].is_full() {
            line = self.after(line);
        }
        let at = usize::from(!self.lines[line].0[0].head.is_vacant());
        self.lines[line].0[at] = Slot { tag, head };
        line * PAIR + at
    }

    /// Moves the second slot of a line up, if the first is vacant.
    fn close_up(&mut self, line: usize) {
        let Line([first, second]) = &self.lines[line];
        if first.head.is_vacant() && !second.head.is_vacant() {
            self.carry(line * PAIR + 1, line * PAIR);
        }
    }

    fn carry(&mut self, from: usize, to: usize) {
        let slot = std::mem::take(&mut self.lines[from / PAIR].0[from % PAIR]);
        self.lines[to / PAIR].0[to % PAIR] = slot;
        self.beside.subjects[to] = self.beside.subjects[from];
        self.beside.entries[to] = std::mem::replace(&mut self.beside.entries[from], NONE);
    }

    /// The line that a tag names.
    #[inline]
    fn home(&self, tag: u64) -> usize {
        let lines = u64::try_from(self.lines.len()).unwrap_or(0);
        let scaled = ((tag & u64::from(u32::MAX)) * lines) >> 32;
        usize::try_from(scaled).unwrap_or(0)
    }

    #[inline]
    fn after(&self, line: usize) -> usize {
        if line + 1 == self.lines.len() { 0 } else { line + 1 }
    }

    /// Whether a subject in `line` that belongs at `home` would be found at `hole`, which is before `line`.
    fn reaches(&self, home: usize, hole: usize, line: usize) -> bool {
        let before = |at: usize| (line + self.lines.len() - at) % self.lines.len();
        before(home) >= before(hole)
    }
}

impl Beside {
    /// The stamps of the log at an index, which has some from now on.
    fn stamps_mut(&mut self, index: usize) -> &mut Stamps {
        let entry = &mut self.entries[index];
        if *entry == NONE {
            *entry = self.stamps.take();
        }
        self.stamps.get_mut(*entry)
    }
}

#[cfg(test)]
mod tests;
