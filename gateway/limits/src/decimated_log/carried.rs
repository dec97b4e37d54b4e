//! Logs on their way through a file: their bytes, what a log may be, and the same log under another clock.
//!
//! Decides which bytes are a log that has admitted something. Knows nothing of files.

use super::{DecimatedLog, LogHead, Stamps, low_half, tick_of};
use crate::layout::Layout;
use crate::persistence::Fields;

impl DecimatedLog {
    /// Appends the log's 88 bytes.
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        let head = &self.head;
        for word in [head.shape, head.newest] {
            out.extend(word.to_le_bytes());
        }
        for number in [head.oldest, head.filled] {
            out.extend(number.to_le_bytes());
        }
        for stamp in self.stamps {
            out.extend(stamp.to_le_bytes());
        }
    }

    /// Takes up what [`DecimatedLog::put`] wrote; `None` when it is no log that has admitted something.
    pub(crate) fn take(fields: &mut Fields<'_>) -> Option<DecimatedLog> {
        let head = LogHead {
            shape: fields.u64()?,
            newest: fields.u64()?,
            oldest: fields.u32()?,
            filled: fields.u32()?,
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
        // Rounded up to whole ticks, towards later.
        let by_ticks = -(by_us.saturating_neg() >> layout.tick_shift());
        let newest = layout.tick_up(self.head.newest_us());
        let moved_us = i128::from(self.head.newest_us()) + (i128::from(by_ticks) << layout.tick_shift());
        self.head
            .set_newest_us(u64::try_from(moved_us.max(0)).unwrap_or(u64::MAX));
        let moved_newest = layout.tick_up(self.head.newest_us());
        for stamp in self.stamps.iter_mut().chain([&mut self.head.oldest]) {
            let tick = i128::from(tick_of(*stamp, newest)) + i128::from(by_ticks);
            *stamp = low_half(u64::try_from(tick.max(0)).unwrap_or(u64::MAX).min(moved_newest));
        }
        self
    }

    /// Whether the invariants of [`LogHead`] hold, and it has admitted something.
    fn is_sound(&self) -> bool {
        let head = &self.head;
        let Some(layout) = Layout::of_word(head.shape, head.tick_shift()) else {
            return false;
        };
        let (tail, group) = (head.tail(), head.group());
        if tail >= layout.groups() || group >= layout.groups() || head.filled == 0 || head.filled > layout.size(group) {
            return false;
        }
        let newest = layout.tick_up(head.newest_us());
        let mut latest = 0;
        let mut at = tail;
        while at != group {
            let stamp = if at == tail {
                head.oldest
            } else {
                self.stamps[usize::from(at)]
            };
            let tick = tick_of(stamp, newest);
            if tick < latest || newest - tick > layout.window_ticks() {
                return false;
            }
            latest = tick;
            at = layout.next(at);
        }
        tail != group || tick_of(head.oldest, newest) == newest
    }
}
