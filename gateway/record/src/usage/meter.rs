//! Counts what each key is used for, beside the key itself.
//!
//! Decides which word a decision is counted in and when what was counted is gathered; every decision is counted once, in the minute in
//! which it was made. Knows nothing of where counts go. The proxy and the decision API note, [`super::reporter`] takes.
//!
//! How nothing is lost: a word that goes from nothing to something is listed by whoever brought it there, in the inbox of its key; a
//! list entry is taken out by one thread only, which empties the word. So a word that holds something is listed exactly once, and the
//! entry holds on to the record, whether the cache still knows it or not. A key that was read again has a new record with empty words;
//! rows of both are added up when they are gathered.

use super::UsageRow;
use super::cell::{self, Place};
use super::ledger::Ledger;
use super::tally::{Noted, Packing, Tally, Word};
use parking_lot::Mutex;
use portcullis_verify::{Moment, StoredKey, Verdict};
use std::hint::black_box;
use std::sync::Arc;
use tokio::sync::Notify;

#[cfg(test)]
mod tests;

/// Rows that a meter keeps unless there is a reason for another number: some 75 MB.
pub const METER_ROWS_MAX: usize = 500_000;

/// Inboxes, so that those who note first in a word seldom meet. A power of two.
const INBOXES: usize = 16;
/// Entries in one inbox from which on it is asked for a gathering.
const INBOX_FILLING: usize = 16_384;
/// Entries in one inbox at which whoever adds the next gathers some.
const INBOX_MAX: usize = 2 * INBOX_FILLING;
/// How many those are: the latest, which the processor still has at hand. Less than a millisecond's work.
const INBOX_RELIEF: usize = 1_024;
/// Words that are fetched from memory together, before the first of them is taken.
const FETCHED: usize = 16;

/// What keys were used for and nobody has taken yet. One per process: it counts in the records it is shown.
#[derive(Debug)]
pub struct UsageMeter {
    inboxes: [Inbox; INBOXES],
    ledger: Mutex<Ledger>,
    filling: Notify,
    packing: Packing,
}

/// Alone on its cache line.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Inbox(Mutex<Vec<Entry>>);

/// Something to be gathered.
#[derive(Debug)]
struct Entry {
    key: Arc<StoredKey>,
    place: Place,
    /// What was displaced from the word, which is rare. `None`: what the word holds is meant.
    displaced: Option<Box<Tally>>,
}

impl Entry {
    fn word(&self) -> Option<Word<'_>> {
        cell::word(&self.key, self.place)
    }
}

impl UsageMeter {
    /// A meter that has counted nothing. While nobody takes them, at most `rows_max` rows are kept, of some 150 bytes each: the minutes
    /// of a key are merged first, into the later one; then new keys and outcomes are dropped, and counted as dropped.
    #[must_use]
    pub fn new(rows_max: usize, now: Moment) -> UsageMeter {
        UsageMeter {
            inboxes: std::array::from_fn(|_| Inbox::default()),
            ledger: Mutex::new(Ledger::new(rows_max)),
            filling: Notify::new(),
            packing: Packing::starting_at(now.wall_us),
        }
    }

    /// Counts a decision that was made at `at`, if its key is known. A key that was noted since the last gathering is counted without a
    /// lock and without allocating.
    #[inline]
    pub fn note(&self, verdict: &Verdict, at: Moment) {
        let Some((key, place)) = Place::of(verdict) else {
            return;
        };
        let displaced = match cell::word(key, place).map(|word| word.note(at.wall_us, self.packing)) {
            Some(Noted::InPlace) => return,
            Some(Noted::First) => None,
            Some(Noted::Displaced(tally)) => Some(Box::new(tally)),
            None => Some(Box::new(Tally::of_one(at.wall_us))),
        };
        self.list(Entry {
            key: Arc::clone(key),
            place,
            displaced,
        });
    }

    /// Gathers what was noted into rows. Holds up nobody who notes; itself it may take some hundred nanoseconds a key.
    pub fn gather(&self) {
        for inbox in &self.inboxes {
            let entries = std::mem::take(&mut *inbox.0.lock());
            self.enter(&entries);
        }
    }

    /// Takes at most `rows_max` of the rows that were gathered.
    #[must_use]
    pub fn take(&self, rows_max: usize) -> Vec<UsageRow> {
        self.ledger.lock().take(rows_max)
    }

    /// Rows that were gathered and not taken.
    #[must_use]
    pub fn rows_waiting(&self) -> usize {
        self.ledger.lock().rows()
    }

    /// Rows that there was no room for, since the start.
    #[must_use]
    pub fn rows_dropped(&self) -> u64 {
        self.ledger.lock().rows_dropped()
    }

    /// Waits until so much was noted that it should be gathered.
    pub async fn filling(&self) {
        self.filling.notified().await;
    }

    #[cold]
    fn list(&self, entry: Entry) {
        let index = usize::from(entry.key.key_id.0.to_le_bytes()[0]) % INBOXES;
        let mut inbox = self.inboxes[index].0.lock();
        inbox.push(entry);
        match inbox.len() {
            INBOX_FILLING => self.filling.notify_one(),
            INBOX_MAX.. => {
                let latest = inbox.split_off(INBOX_MAX - INBOX_RELIEF);
                drop(inbox);
                self.enter(&latest);
            }
            _ => {}
        }
    }

    fn enter(&self, entries: &[Entry]) {
        for entries in entries.chunks(FETCHED) {
            // Taking waits for the memory each time; these do not wait for each other.
            let fetched = entries.iter().filter_map(Entry::word).map(Word::fetch);
            black_box(fetched.fold(0, |all, word| all ^ word));
            let mut ledger = self.ledger.lock();
            for entry in entries {
                let tally = match &entry.displaced {
                    Some(displaced) => Some(**displaced),
                    None => entry.word().and_then(|word| word.take(self.packing)),
                };
                if let Some(tally) = tally {
                    ledger.add(entry.key.key_id, entry.place.outcome(&entry.key.rules), tally);
                }
            }
        }
    }
}
