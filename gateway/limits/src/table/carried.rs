//! What saving and restoring ask of the table.
//!
//! Decides who of those that come from outside gets a counter of their own. Knows no file; the restoring calls it, before
//! anything is charged.

use super::{CounterTable, SHARDS, SHARDS_PER_KIND, ShardIndex, in_kind};
use crate::subject::{Hashed, Subject};
use crate::sync::Ordering;
use crate::tally::Tally;
use portcullis_verify::Moment;

impl ShardIndex {
    /// The shard of this number, if there are so many.
    pub(crate) fn of_number(number: u16) -> Option<ShardIndex> {
        let index = usize::from(number);
        (index < SHARDS).then_some(ShardIndex(index))
    }
}

impl CounterTable {
    /// Whether the subject may be counted in this shard. Those who share have a counter in any.
    pub(crate) fn counts(&self, index: ShardIndex, subject: &Subject) -> bool {
        let own = in_kind(self.hasher.hash(subject));
        subject.is_shared() || own == index.0 % SHARDS_PER_KIND
    }

    /// Takes up a counter that was kept elsewhere. Answers whether it counts by itself: in a full table it becomes part of the
    /// counter that its rule's subjects share in its shard.
    pub(crate) fn restore(&self, index: ShardIndex, subject: &Subject, tally: &Tally, now: Moment) -> bool {
        let is_shared = subject.is_shared();
        let has_place = !is_shared && self.take_place();
        let subject = if has_place {
            *subject
        } else {
            Subject::shared(subject.rule)
        };
        let key = Hashed {
            hash: self.hasher.hash(&subject),
            subject,
        };
        let is_new = self.lock(index).restore(&key, tally, now);
        match (has_place, is_new) {
            (true, false) => self.own.fetch_sub(1, Ordering::Relaxed),
            (false, true) => self.shared.fetch_add(1, Ordering::Relaxed),
            (true, true) | (false, false) => 0,
        };
        has_place || is_shared
    }
}
