//! A count, the minute it belongs to and the last time of it, in one machine word.
//!
//! Decides how they are packed, so that one compare-and-swap counts a request in its minute, whatever other threads do. Knows no keys
//! and no outcomes; takes no locks. Called by [`super::cell`].

use std::sync::atomic::{AtomicU64, Ordering};

const MINUTE_US: i64 = 60_000_000;

/// Bits of the word, from below: requests counted, microseconds into the minute, minutes since the epoch of the packing.
const COUNT_BITS: u32 = 16;
const OFFSET_BITS: u32 = 26;
const MINUTE_BITS: u32 = 22;

const COUNT_MAX: u64 = (1 << COUNT_BITS) - 1;
const OFFSET_MAX: u64 = (1 << OFFSET_BITS) - 1;
const MINUTES_MAX: u64 = (1 << MINUTE_BITS) - 1;

/// How many minutes before the start of the process a word can still tell of: a quarter of what it can tell, nearly two years. A wall
/// clock that was set further back or ahead costs a lock for each request, and no count.
const MINUTES_BEFORE: i64 = 1 << (MINUTE_BITS - 2);

/// The whole minute since the Unix epoch that a wall time in microseconds is in.
pub(crate) fn minute_of(wall_us: i64) -> i64 {
    wall_us.div_euclid(MINUTE_US)
}

/// Requests of one minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tally {
    /// The minute, in whole minutes since the Unix epoch.
    pub(crate) minute: i64,
    /// How many.
    pub(crate) count: u64,
    /// Microseconds since the Unix epoch of the last of them.
    pub(crate) last_at_us: i64,
}

impl Tally {
    /// One request.
    pub(crate) fn of_one(wall_us: i64) -> Tally {
        Tally {
            minute: minute_of(wall_us),
            count: 1,
            last_at_us: wall_us,
        }
    }

    /// Adds requests; where the minutes differ, all count as the later one's.
    pub(crate) fn absorb(&mut self, other: Tally) {
        self.minute = self.minute.max(other.minute);
        self.count = self.count.saturating_add(other.count);
        self.last_at_us = self.last_at_us.max(other.last_at_us);
    }
}

/// How words are read: the minute that they count from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Packing {
    first_minute: i64,
}

/// What has to be done after a request was counted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Noted {
    /// Nothing.
    InPlace,
    /// The word held nothing before: somebody must be told to come and take what it holds now.
    First,
    /// The word was full, or of another minute: this is what it held, and has to be kept elsewhere.
    Displaced(Tally),
}

/// A [`Tally`] that any thread may add to, wherever its word lies. Zero is nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Word<'a>(pub(crate) &'a AtomicU64);

impl Packing {
    /// For a process that starts at this wall time.
    pub(crate) fn starting_at(wall_us: i64) -> Packing {
        Packing {
            first_minute: minute_of(wall_us).saturating_sub(MINUTES_BEFORE),
        }
    }

    /// One request at this time, or `None` if a word cannot tell of it.
    fn pack(self, wall_us: i64) -> Option<u64> {
        let minute = u64::try_from(minute_of(wall_us).checked_sub(self.first_minute)?).ok()?;
        let offset = u64::try_from(wall_us.rem_euclid(MINUTE_US)).ok()?;
        (minute <= MINUTES_MAX).then_some(minute << (OFFSET_BITS + COUNT_BITS) | offset << COUNT_BITS | 1)
    }

    /// What a word that is not zero holds.
    fn unpack(self, word: u64) -> Option<Tally> {
        if word == 0 {
            return None;
        }
        let minute = self.first_minute + i64::try_from(word >> (OFFSET_BITS + COUNT_BITS)).ok()?;
        let offset = i64::try_from(word >> COUNT_BITS & OFFSET_MAX).ok()?;
        Some(Tally {
            minute,
            count: word & COUNT_MAX,
            last_at_us: minute.saturating_mul(MINUTE_US).saturating_add(offset),
        })
    }
}

impl Word<'_> {
    /// Counts one request at this time. Takes no lock and allocates nothing.
    #[inline]
    pub(crate) fn note(self, wall_us: i64, packing: Packing) -> Noted {
        let Some(one) = packing.pack(wall_us) else {
            return Noted::Displaced(Tally::of_one(wall_us));
        };
        let mut old = self.0.load(Ordering::Relaxed);
        loop {
            let is_same_minute = (old ^ one) >> (OFFSET_BITS + COUNT_BITS) == 0;
            let has_room = old & COUNT_MAX < COUNT_MAX;
            let new = if is_same_minute && has_room && old != 0 {
                // In one minute, the larger word without its count is the later one.
                (old | COUNT_MAX).max(one | COUNT_MAX) & !COUNT_MAX | ((old & COUNT_MAX) + 1)
            } else {
                one
            };
            // Nothing else is published by the word: whoever takes it wants its value only.
            match self
                .0
                .compare_exchange_weak(old, new, Ordering::Relaxed, Ordering::Relaxed)
            {
                Err(now) => old = now,
                Ok(0) => return Noted::First,
                Ok(_) if new != one => return Noted::InPlace,
                Ok(held) => return packing.unpack(held).map_or(Noted::InPlace, Noted::Displaced),
            }
        }
    }

    /// Reads it, so that it is at hand when it is taken. What is read means nothing.
    #[inline]
    pub(crate) fn fetch(self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Takes what it holds, and leaves nothing.
    pub(crate) fn take(self, packing: Packing) -> Option<Tally> {
        packing.unpack(self.0.swap(0, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START_US: i64 = 1_800_000_000_000_000;

    #[test]
    fn words_read_as_they_are_written_at_every_edge() {
        let packing = Packing::starting_at(START_US);
        let first_us = packing.first_minute * MINUTE_US;
        let last_us = first_us + (i64::try_from(MINUTES_MAX).unwrap() + 1) * MINUTE_US - 1;
        for wall_us in [first_us, first_us + 1, START_US, START_US + MINUTE_US - 1, last_us] {
            let word = AtomicU64::new(0);
            let word = Word(&word);
            assert_eq!(word.note(wall_us, packing), Noted::First, "{wall_us}");
            assert_eq!(word.take(packing), Some(Tally::of_one(wall_us)), "{wall_us}");
            assert_eq!(word.take(packing), None, "{wall_us}");
        }
        // What a word cannot tell of is told apart, and never counted as something else.
        for wall_us in [first_us - 1, last_us + 1, 0, -1, i64::MIN, i64::MAX] {
            let word = AtomicU64::new(0);
            let word = Word(&word);
            assert_eq!(
                word.note(wall_us, packing),
                Noted::Displaced(Tally::of_one(wall_us)),
                "{wall_us}"
            );
            assert_eq!(word.take(packing), None, "{wall_us}");
        }
    }

    #[test]
    fn the_last_time_is_the_latest_and_not_the_last_noted() {
        let (packing, word) = (Packing::starting_at(START_US), AtomicU64::new(0));
        let word = Word(&word);
        for offset_us in [5, 59_999_999, 0, 7] {
            word.note(START_US + offset_us, packing);
        }
        let tally = word.take(packing).unwrap();
        assert_eq!((tally.count, tally.last_at_us), (4, START_US + 59_999_999));
    }

    #[test]
    fn another_minute_or_a_full_word_displaces_what_was_held_and_loses_nothing() {
        let (packing, word) = (Packing::starting_at(START_US), AtomicU64::new(0));
        let word = Word(&word);
        for _ in 0..3 {
            word.note(START_US, packing);
        }
        let (before, after) = (START_US - MINUTE_US, START_US + MINUTE_US);
        let three = Tally {
            count: 3,
            ..Tally::of_one(START_US)
        };
        assert_eq!(word.note(after, packing), Noted::Displaced(three));
        // Also backwards: a thread that was held up, or a wall clock that was set back.
        assert_eq!(word.note(before, packing), Noted::Displaced(Tally::of_one(after)));
        for _ in 1..COUNT_MAX {
            assert_eq!(word.note(before, packing), Noted::InPlace);
        }
        let full = Tally {
            count: COUNT_MAX,
            ..Tally::of_one(before)
        };
        assert_eq!(word.note(before, packing), Noted::Displaced(full));
        assert_eq!(word.take(packing), Some(Tally::of_one(before)));
    }
}
