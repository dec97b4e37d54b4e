//! Logs on their way through a file: their bytes, what a log may be, and the same log under another clock.
//!
//! Decides which bytes are a log that has admitted something. Knows nothing of files.

use super::{DecimatedLog, LogHead, Stamps};
use crate::layout::Layout;
use crate::persistence::Fields;

/// Far past any clock, and far from where sums overflow.
const BASE_MAX: u64 = 1 << 51;

impl DecimatedLog {
    /// Appends the log's 96 bytes.
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        let head = &self.head;
        out.extend(head.base.to_le_bytes());
        for number in [head.newest, head.oldest, head.filled, head.limit, head.window_ticks] {
            out.extend(number.to_le_bytes());
        }
        out.extend(head.slack_us.to_le_bytes());
        out.extend([head.tick_shift, head.ends]);
        for stamp in self.stamps {
            out.extend(stamp.to_le_bytes());
        }
    }

    /// Takes up what [`DecimatedLog::put`] wrote; `None` when it is no log that has admitted something.
    pub(crate) fn take(fields: &mut Fields<'_>) -> Option<DecimatedLog> {
        let head = LogHead {
            base: fields.u64()?,
            newest: fields.u32()?,
            oldest: fields.u32()?,
            filled: fields.u32()?,
            limit: fields.u32()?,
            window_ticks: fields.u32()?,
            slack_us: fields.u16()?,
            tick_shift: fields.u8()?,
            ends: fields.u8()?,
        };
        let mut stamps = Stamps::default();
        for stamp in &mut stamps {
            *stamp = fields.u32()?;
        }
        let log = DecimatedLog { head, stamps };
        log.is_sound().then_some(log)
    }

    /// The same log under a clock that shows `by_us` more. Admissions thereby get no earlier, and later by a tick at most;
    /// those that this clock has no time for are put at its beginning.
    pub(crate) fn moved(mut self, by_us: i64) -> DecimatedLog {
        if by_us == 0 {
            return self;
        }
        let layout = self.head.layout();
        // Rounded up, towards later.
        let by_ticks = -(by_us.saturating_neg() >> self.head.tick_shift);
        let head = &mut self.head;
        let base = i128::from(head.base) + i128::from(by_ticks);
        head.base = u64::try_from(base.max(0)).unwrap_or(BASE_MAX).min(BASE_MAX);
        let before = u32::try_from((-base).max(0)).unwrap_or(u32::MAX);
        if before > 0 {
            let later = |stamp: u32| stamp.saturating_sub(before).max(1);
            head.newest = later(head.newest);
            head.oldest = later(head.oldest);
            self.stamps = self.stamps.map(later);
        }
        let newest_us = layout.begins_us(head.base + u64::from(head.newest));
        head.slack_us = head.slack_us.min(u16::try_from(newest_us).unwrap_or(u16::MAX));
        self
    }

    /// Whether the invariants of [`LogHead`] hold, and it has admitted something.
    fn is_sound(&self) -> bool {
        let head = &self.head;
        if !Layout::are_parts(head.limit, head.window_ticks, head.tick_shift) || head.base > BASE_MAX {
            return false;
        }
        let layout = head.layout();
        let (tail, group) = (head.tail(), head.group());
        if tail >= layout.groups() || group >= layout.groups() || head.filled == 0 || head.filled > layout.size(group) {
            return false;
        }
        let stamped_us = layout.begins_us(head.base + u64::from(head.newest));
        if u32::from(head.slack_us) >> head.tick_shift != 0 || u64::from(head.slack_us) > stamped_us {
            return false;
        }
        let mut latest = head.oldest;
        let mut at = tail;
        while at != group {
            let stamp = self.stamps[usize::from(at)];
            if stamp < latest || (at == tail && stamp != head.oldest) {
                return false;
            }
            latest = stamp;
            at = layout.next(at);
        }
        latest <= head.newest && (tail != group || head.oldest == head.newest)
    }
}
