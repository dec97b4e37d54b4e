//! Calendar counts on their way through a file: their bytes, what a count may be, and the same count under another clock.
//!
//! Decides which bytes are a count. Knows nothing of files.

use super::{CalendarCount, Period};
use crate::persistence::Fields;

/// Far past any clock, and far from where sums overflow.
const NEWEST_US_MAX: u64 = 1 << 62;

impl CalendarCount {
    /// Appends the count's 40 bytes.
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        let period: u32 = match self.period {
            Period::Day => 1,
            Period::Month => 2,
        };
        out.extend(period.to_le_bytes());
        out.extend(self.count.to_le_bytes());
        out.extend(self.begins_us.to_le_bytes());
        out.extend(self.ends_us.to_le_bytes());
        out.extend(self.lapses_us.to_le_bytes());
        out.extend(self.newest_us.to_le_bytes());
    }

    /// Takes up what [`CalendarCount::put`] wrote; `None` when it is no count.
    pub(crate) fn take(fields: &mut Fields<'_>) -> Option<CalendarCount> {
        let period = match fields.u32()? {
            1 => Period::Day,
            2 => Period::Month,
            _ => return None,
        };
        let count = CalendarCount {
            period,
            count: fields.u32()?,
            begins_us: fields.i64()?,
            ends_us: fields.i64()?,
            lapses_us: fields.u64()?,
            newest_us: fields.u64()?,
        };
        (count.begins_us < count.ends_us && count.newest_us <= NEWEST_US_MAX).then_some(count)
    }

    /// The same count under a monotonic clock that shows `by_us` more.
    pub(crate) fn moved(mut self, by_us: i64) -> CalendarCount {
        self.lapses_us = self.lapses_us.saturating_add_signed(by_us);
        self.newest_us = self.newest_us.saturating_add_signed(by_us);
        self
    }

    /// A count that has used as much of its period as each of two; the later period holds.
    pub(crate) fn covering(self, other: CalendarCount) -> CalendarCount {
        if self.begins_us != other.begins_us {
            return if self.begins_us > other.begins_us { self } else { other };
        }
        CalendarCount {
            count: self.count.max(other.count),
            lapses_us: self.lapses_us.max(other.lapses_us),
            newest_us: self.newest_us.max(other.newest_us),
            ..self
        }
    }
}
