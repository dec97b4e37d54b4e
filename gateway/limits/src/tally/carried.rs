//! Tallies on their way through a file: which are worth it, the same under another clock, and two in the place of one.
//!
//! Decides what two counters become when there is room for one: nobody who was counted by either may have used less after it.

use super::{Floor, Tally};
use crate::decimated_log::{Batch, Batches, DecimatedLog};
use crate::layout::Layout;
use portcullis_verify::Moment;

/// Shorter windows are over before a restart matters.
const WINDOW_US_MIN: u64 = 3_600_000_000;

impl Floor {
    /// Whether nothing was forgotten.
    pub(crate) fn is_none(&self) -> bool {
        self.rolling_us == 0 && self.calendar.is_none()
    }
}

impl Tally {
    /// Whether it is over a window of an hour or longer, or a calendar period.
    pub(crate) fn is_long(&self) -> bool {
        match self {
            Tally::Rolling(log) => log.head.layout().window_us() >= WINDOW_US_MIN,
            Tally::Calendar(_) => true,
        }
    }

    /// The same under a monotonic clock that shows `by_us` more.
    pub(crate) fn moved(&self, by_us: i64) -> Tally {
        match *self {
            Tally::Rolling(log) => Tally::Rolling(log.moved(by_us)),
            Tally::Calendar(count) => Tally::Calendar(count.moved(by_us)),
        }
    }

    /// A tally that has used, since any time that either of two remembers, as much as each of them.
    ///
    /// A limit holds for each subject by itself. A counter that knows of the most that any of its subjects used, and counts
    /// all of them from now on, admits none of them more than its limit; their sum would only shut them out for longer.
    pub(crate) fn covering(&self, other: &Tally, now: Moment) -> Tally {
        if let (Tally::Calendar(left), Tally::Calendar(right)) = (self, other)
            && left.period() == right.period()
        {
            return Tally::Calendar(left.covering(*right));
        }
        let (left, right) = (self.batches(), other.batches());
        let batches = covering(&left, &right);
        let layout = match (self, other) {
            (Tally::Rolling(left), Tally::Rolling(right)) if left.head.layout() == right.head.layout() => {
                left.head.layout()
            }
            // One of them waits to be reshaped to a rule that is not known here: the other's shape might forget too much.
            _ => Layout::longest(total(&batches).max(self.limit()).max(other.limit())),
        };
        Tally::Rolling(DecimatedLog::replay(&layout, &batches, now.monotonic_us))
    }

    fn limit(&self) -> u32 {
        match self {
            Tally::Rolling(log) => log.head.layout().limit(),
            Tally::Calendar(_) => 1,
        }
    }
}

fn total(batches: &Batches) -> u32 {
    batches.iter().fold(0, |sum, batch| sum.saturating_add(batch.count))
}

/// Batches of which, from any time on, there are as many as in either of two lists.
fn covering(left: &Batches, right: &Batches) -> Batches {
    let mut times: Batches = left.iter().chain(right).copied().collect();
    times.sort_unstable_by_key(|batch| std::cmp::Reverse(batch.at_us));
    times.dedup_by_key(|batch| batch.at_us);
    let since = |batches: &Batches, at_us: u64| {
        let later = batches.iter().filter(|batch| batch.at_us >= at_us);
        later.fold(0_u32, |sum, batch| sum.saturating_add(batch.count))
    };
    let mut counted = 0;
    let mut covering = Batches::new();
    for Batch { at_us, .. } in times {
        let used = since(left, at_us).max(since(right, at_us));
        if used > counted {
            let count = used - counted;
            covering.push(Batch { at_us, count });
            counted = used;
        }
    }
    covering.reverse();
    covering
}

#[cfg(test)]
mod tests;
