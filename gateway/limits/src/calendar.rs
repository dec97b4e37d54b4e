//! Calendar periods: UTC days and months, counted from midnight.
//!
//! Decides when a period is over and how many it has admitted. The wall clock only moves it forward; a clock that steps
//! back does not give a spent period again. A tally calls it.

use crate::decimated_log::{Batch, Batches, Standing};
use jiff::{Timestamp, ToSpan, civil::Date, tz::TimeZone};
use portcullis_verify::Moment;

mod carried;

const DAY_US: i64 = 24 * 3_600 * 1_000_000;

/// The longest period, a month of 31 days.
pub(crate) const PERIOD_US_MAX: u64 = 31 * DAY_US.unsigned_abs();

/// A kind of calendar period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Period {
    /// From UTC midnight to UTC midnight.
    Day,
    /// From the first UTC midnight of a month to that of the next.
    Month,
}

impl Period {
    /// Beginning and end, in microseconds since the Unix epoch, of the period that `wall_us` lies in.
    fn bounds_us(self, wall_us: i64) -> (i64, i64) {
        match self {
            Period::Day => {
                let begins_us = wall_us.div_euclid(DAY_US).saturating_mul(DAY_US);
                (begins_us, begins_us.saturating_add(DAY_US))
            }
            Period::Month => match Timestamp::from_microsecond(wall_us) {
                Ok(at) => {
                    let first = TimeZone::UTC.to_datetime(at).date().first_of_month();
                    (midnight_us(first), midnight_us(first.saturating_add(1.month())))
                }
                // Years that no calendar names are one period before the first or after the last that it does.
                Err(_) if wall_us < 0 => (i64::MIN, Timestamp::MIN.as_microsecond()),
                Err(_) => (Timestamp::MAX.as_microsecond(), i64::MAX),
            },
        }
    }
}

fn midnight_us(date: Date) -> i64 {
    date.to_zoned(TimeZone::UTC)
        .map_or(i64::MAX, |midnight| midnight.timestamp().as_microsecond())
}

/// Admissions in one period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CalendarCount {
    period: Period,
    count: u32,
    begins_us: i64,
    ends_us: i64,
    /// Monotonic time at which the period ends if the wall clock is right.
    lapses_us: u64,
    /// Monotonic time of the newest admission.
    newest_us: u64,
}

impl CalendarCount {
    /// A count that has admitted nothing in any period.
    pub(crate) fn new(period: Period) -> CalendarCount {
        CalendarCount {
            period,
            count: 0,
            begins_us: i64::MIN,
            ends_us: i64::MIN,
            lapses_us: 0,
            newest_us: 0,
        }
    }

    /// A count that has admitted nothing in the period of `now`, and does not go back to an earlier one.
    pub(crate) fn entered(period: Period, now: Moment) -> CalendarCount {
        let (begins_us, ends_us) = period.bounds_us(now.wall_us);
        let left_us = ends_us.saturating_sub(now.wall_us).unsigned_abs().min(PERIOD_US_MAX);
        let lapses_us = now.monotonic_us.saturating_add(left_us);
        CalendarCount {
            period,
            count: 0,
            begins_us,
            ends_us,
            lapses_us,
            newest_us: now.monotonic_us,
        }
    }

    /// The kind of period.
    pub(crate) fn period(&self) -> Period {
        self.period
    }

    /// Whether another period has begun.
    ///
    /// It has when the wall clock is past the end. A wall clock that shows a time before the beginning has stepped back, and
    /// the count stays where it is, but no longer than the period would have lasted: a clock that once ran years ahead must
    /// not block a key for years.
    pub(crate) fn is_over(&self, now: Moment) -> bool {
        now.wall_us >= self.ends_us || (now.wall_us < self.begins_us && now.monotonic_us >= self.lapses_us)
    }

    /// Microseconds until one more request has room; `None` when it has room now.
    pub(crate) fn wait_us(&self, limit: u32, now: Moment) -> Option<u64> {
        (self.count >= limit && !self.is_over(now)).then(|| self.over_in_us(now))
    }

    /// Counts an admission for which [`CalendarCount::wait_us`] said there is room, and tells where
    /// the count then stands.
    pub(crate) fn admit(&mut self, limit: u32, now: Moment) -> Standing {
        if self.is_over(now) {
            *self = CalendarCount::entered(self.period, now);
        }
        self.count = self.count.saturating_add(1);
        self.newest_us = self.newest_us.max(now.monotonic_us);
        self.standing(limit, now)
    }

    /// Where the count stands.
    pub(crate) fn standing(&self, limit: u32, now: Moment) -> Standing {
        if self.count == 0 || self.is_over(now) {
            return Standing {
                remaining: limit,
                grows_in_us: 0,
            };
        }
        Standing {
            remaining: limit.saturating_sub(self.count),
            grows_in_us: self.over_in_us(now),
        }
    }

    /// All that is remembered: how many, and when the last of them was.
    pub(crate) fn batches(&self) -> Batches {
        let batch = Batch {
            at_us: self.newest_us,
            count: self.count,
        };
        (self.count > 0).then_some(batch).into_iter().collect()
    }

    /// A count that has admitted those of `batches` which the period of `now` may hold.
    pub(crate) fn replay(period: Period, batches: &Batches, now: Moment) -> CalendarCount {
        // Time never runs back past the newest admission, whose period may have begun after the clock was read.
        let late_us = batches
            .last()
            .map_or(0, |newest| newest.at_us.saturating_sub(now.monotonic_us));
        let now = Moment {
            monotonic_us: now.monotonic_us + late_us,
            wall_us: now.wall_us.saturating_add_unsigned(late_us),
        };
        let mut count = CalendarCount::entered(period, now);
        let elapsed_us = now.wall_us.saturating_sub(count.begins_us).unsigned_abs();
        for batch in batches {
            if now.monotonic_us.saturating_sub(batch.at_us) <= elapsed_us {
                count.count = count.count.saturating_add(batch.count);
                count.newest_us = count.newest_us.max(batch.at_us);
            }
        }
        if let (true, Some(newest)) = (count.count > 0, batches.last()) {
            count.newest_us = newest.at_us;
        }
        count
    }

    /// Microseconds until [`CalendarCount::is_over`], if the wall clock does not step.
    fn over_in_us(&self, now: Moment) -> u64 {
        let ends_in_us = self.ends_us.saturating_sub(now.wall_us).max(0).unsigned_abs();
        let begins_in_us = self.begins_us.saturating_sub(now.wall_us).max(0).unsigned_abs();
        let lapses_in_us = self.lapses_us.saturating_sub(now.monotonic_us);
        if lapses_in_us < begins_in_us {
            lapses_in_us
        } else {
            ends_in_us
        }
    }
}

#[cfg(test)]
mod tests;
