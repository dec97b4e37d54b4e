//! How much time passed between a saving and a restoring, and what saved times read as now.
//!
//! Decides it in favour of the limit: never more than passed by the clock that is believed. Knows no counters.

use super::clock_identity::ClockIdentity;
use super::format::Header;
use portcullis_verify::Moment;

/// What to add to a saved monotonic time so that it is one of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Passage {
    /// Microseconds; 0 under the same clock.
    pub(crate) by_us: i64,
    /// Microseconds that passed.
    pub(crate) elapsed_us: u64,
}

impl Passage {
    /// From the saving to `now`, which was read from `clock`.
    ///
    /// Under the same clock saved times are as good as any. Else only the wall clock ran on, and if it shows less than at the
    /// saving, no time passed: what was counted counts for longer, never shorter.
    pub(crate) fn since(header: &Header, clock: ClockIdentity, now: Moment) -> Passage {
        let saved = header.saved;
        if header.clock.is_known_to_be(clock) && now.monotonic_us >= saved.monotonic_us {
            return Passage {
                by_us: 0,
                elapsed_us: now.monotonic_us - saved.monotonic_us,
            };
        }
        let elapsed_us = now.wall_us.saturating_sub(saved.wall_us).max(0);
        let by_us = i128::from(now.monotonic_us) - i128::from(elapsed_us) - i128::from(saved.monotonic_us);
        Passage {
            by_us: i64::try_from(by_us).unwrap_or(if by_us < 0 { i64::MIN } else { i64::MAX }),
            elapsed_us: elapsed_us.unsigned_abs(),
        }
    }

    /// A saved monotonic time as one of this process.
    pub(crate) fn carry_us(self, monotonic_us: u64) -> u64 {
        monotonic_us.saturating_add_signed(self.by_us)
    }
}
