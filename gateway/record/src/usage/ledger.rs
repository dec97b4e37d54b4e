//! The rows that nobody has taken yet.
//!
//! Decides what is merged and what is given up when there are too many; the sum over all rows stays what was added, as long as nothing
//! is given up, and that is counted. Knows nothing of time but the minutes it is told. [`super::meter`] owns the one there is.

use super::tally::Tally;
use super::{UsageOutcome, UsageRow};
use portcullis_verify::KeyId;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

#[cfg(test)]
mod tests;

/// Room for this many keys and outcomes is kept when there are none.
const ENTRIES_KEPT: usize = 4_096;

/// Rows by key and outcome.
#[derive(Debug)]
pub(crate) struct Ledger {
    entries: HashMap<(KeyId, UsageOutcome), Minutes>,
    rows: usize,
    rows_max: usize,
    /// There were too many: until half of them are taken, each key and outcome has one row, of its latest minute.
    is_coarse: bool,
    rows_dropped: u64,
}

/// The rows of one key and outcome; nearly always one.
#[derive(Debug)]
struct Minutes {
    latest: Tally,
    earlier: Vec<Tally>,
}

impl Ledger {
    /// An empty one that holds at most `rows_max` rows.
    pub(crate) fn new(rows_max: usize) -> Ledger {
        Ledger {
            entries: HashMap::new(),
            rows: 0,
            rows_max,
            is_coarse: false,
            rows_dropped: 0,
        }
    }

    /// Adds requests.
    pub(crate) fn add(&mut self, key_id: KeyId, outcome: UsageOutcome, tally: Tally) {
        if self.rows >= self.rows_max && !self.is_coarse {
            self.coarsen();
        }
        match self.entries.entry((key_id, outcome)) {
            Entry::Occupied(mut held) => {
                if held.get_mut().add(tally, !self.is_coarse) {
                    self.rows += 1;
                }
            }
            Entry::Vacant(room) if self.rows < self.rows_max => {
                room.insert(Minutes {
                    latest: tally,
                    earlier: Vec::new(),
                });
                self.rows += 1;
            }
            Entry::Vacant(_) => self.rows_dropped += 1,
        }
    }

    /// Takes at most `rows_max` rows, in no particular order.
    pub(crate) fn take(&mut self, rows_max: usize) -> Vec<UsageRow> {
        let mut taken = Vec::with_capacity(rows_max.min(self.rows));
        self.entries.retain(|(key_id, outcome), minutes| {
            while taken.len() < rows_max {
                let (tally, is_last) = match minutes.earlier.pop() {
                    Some(earlier) => (earlier, false),
                    None => (minutes.latest, true),
                };
                taken.push(UsageRow {
                    key_id: *key_id,
                    minute: tally.minute,
                    outcome: outcome.clone(),
                    count: tally.count,
                    last_at_us: tally.last_at_us,
                });
                if is_last {
                    return false;
                }
            }
            true
        });
        self.rows -= taken.len();
        self.is_coarse &= self.rows > self.rows_max / 2;
        if self.entries.is_empty() {
            self.entries.shrink_to(ENTRIES_KEPT);
        }
        taken
    }

    /// Rows held.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Rows that there was no room for, since the start.
    pub(crate) fn rows_dropped(&self) -> u64 {
        self.rows_dropped
    }

    /// Merges the rows of each key and outcome into the one of its latest minute.
    fn coarsen(&mut self) {
        for minutes in self.entries.values_mut() {
            for earlier in std::mem::take(&mut minutes.earlier) {
                minutes.latest.absorb(earlier);
            }
        }
        self.rows = self.entries.len();
        self.is_coarse = true;
    }
}

impl Minutes {
    /// Adds requests to the row of their minute. Makes that row if it `may_grow`, else merges; true if there is a row more.
    fn add(&mut self, tally: Tally, may_grow: bool) -> bool {
        if tally.minute == self.latest.minute || !may_grow {
            self.latest.absorb(tally);
            return false;
        }
        if let Some(same) = self
            .earlier
            .iter_mut()
            .rev()
            .find(|earlier| earlier.minute == tally.minute)
        {
            same.absorb(tally);
            return false;
        }
        let mut earlier = tally;
        if tally.minute > self.latest.minute {
            std::mem::swap(&mut earlier, &mut self.latest);
        }
        self.earlier.push(earlier);
        true
    }
}
