//! The only reader of time. Everything else is told when it is.
//!
//! A [`Moment`] is read once per request and passed down, so that one decision sees one time, and tests can move it.
//!
//! Each of the machine's clocks costs 25 ns to read, and two of them are a tenth of a decision. So a thread that reads often reads the
//! monotonic one only, and adds what it saw the wall clock to be ahead of it no more than a millisecond ago. That the wall clock was
//! stepped is noticed a millisecond late at most; a suspension at once, because the monotonic clock counts it. Whoever reads less often
//! than once a millisecond gets both clocks as they are.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

/// Monotonic time that had passed when the machine started: a hundred days, more than the longest window. What was counted
/// before a reboot thereby has a time before it. Saved counters hold such times, so that it never changes.
const HEAD_START_US: i64 = 100 * 24 * 3_600 * 1_000_000;

/// How long a thread takes the wall clock to be as far ahead of the monotonic one as it was.
const AHEAD_HOLDS_US: i64 = 1_000;
/// Readings of the two that lie further apart than this, because the thread was held up between them, do not tell how far that is.
const TOGETHER_US: i64 = 20;

/// One reading of both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Microseconds of `CLOCK_BOOTTIME`, and a hundred days: never steps back, counts suspension. For windows and ages.
    pub monotonic_us: u64,
    /// Microseconds since the Unix epoch: may step, which is seen within a millisecond. For expiry and calendar periods.
    pub wall_us: i64,
}

impl Moment {
    /// Microseconds since the machine started, by the monotonic clock.
    #[must_use]
    pub fn since_start_us(self) -> u64 {
        self.monotonic_us
            .saturating_sub(u64::try_from(HEAD_START_US).unwrap_or(0))
    }
}

/// Where moments come from.
#[derive(Debug, Clone)]
pub struct Clock(Source);

#[derive(Debug, Clone)]
enum Source {
    System,
    Manual(Arc<ManualState>),
}

#[derive(Debug)]
struct ManualState {
    monotonic_us: AtomicU64,
    wall_us: AtomicI64,
}

impl Clock {
    /// The machine's clocks.
    #[must_use]
    pub fn system() -> Clock {
        Clock(Source::System)
    }

    /// A clock that stands still until its [`ManualClock`] moves it.
    #[must_use]
    pub fn manual(start: Moment) -> (Clock, ManualClock) {
        let state = Arc::new(ManualState {
            monotonic_us: AtomicU64::new(start.monotonic_us),
            wall_us: AtomicI64::new(start.wall_us),
        });
        (Clock(Source::Manual(Arc::clone(&state))), ManualClock(state))
    }

    /// How long ago a moment was, by the monotonic clock. Reads that one only.
    #[must_use]
    pub fn elapsed(&self, since: Moment) -> Duration {
        let now_us = match &self.0 {
            Source::System => monotonic_us(),
            Source::Manual(state) => state.monotonic_us.load(Ordering::Acquire),
        };
        Duration::from_micros(now_us.saturating_sub(since.monotonic_us))
    }

    /// Reads both clocks.
    #[must_use]
    pub fn now(&self) -> Moment {
        match &self.0 {
            Source::System => {
                let up_us = microseconds(rustix::time::ClockId::Boottime);
                Moment {
                    monotonic_us: with_head_start(up_us),
                    wall_us: wall_us(up_us),
                }
            }
            Source::Manual(state) => Moment {
                monotonic_us: state.monotonic_us.load(Ordering::Acquire),
                wall_us: state.wall_us.load(Ordering::Acquire),
            },
        }
    }
}

fn monotonic_us() -> u64 {
    with_head_start(microseconds(rustix::time::ClockId::Boottime))
}

fn with_head_start(up_us: i64) -> u64 {
    u64::try_from(HEAD_START_US + up_us).unwrap_or(0)
}

/// How far the wall clock was ahead of the monotonic one, and when that was.
#[derive(Clone, Copy)]
struct Ahead {
    by_us: i64,
    /// By the monotonic clock. Below zero: never.
    seen_us: i64,
}

thread_local! {
    static AHEAD: Cell<Ahead> = const { Cell::new(Ahead { by_us: 0, seen_us: -1 }) };
}

/// The wall clock, at this time of the monotonic one, which was read just now.
#[inline]
fn wall_us(up_us: i64) -> i64 {
    AHEAD.with(|ahead| {
        let held = ahead.get();
        if held.seen_us >= 0 && (held.seen_us..held.seen_us + AHEAD_HOLDS_US).contains(&up_us) {
            return up_us + held.by_us;
        }
        let wall_us = microseconds(rustix::time::ClockId::Realtime);
        let after_us = microseconds(rustix::time::ClockId::Boottime);
        if after_us - up_us <= TOGETHER_US {
            ahead.set(Ahead {
                by_us: wall_us - up_us,
                seen_us: up_us,
            });
        }
        wall_us
    })
}

fn microseconds(id: rustix::time::ClockId) -> i64 {
    let time = rustix::time::clock_gettime(id);
    time.tv_sec * 1_000_000 + time.tv_nsec / 1_000
}

/// Moves a manual [`Clock`].
#[derive(Debug)]
pub struct ManualClock(Arc<ManualState>);

impl ManualClock {
    /// Moves both clocks forward together.
    pub fn advance_us(&self, by_us: u64) {
        self.0.monotonic_us.fetch_add(by_us, Ordering::AcqRel);
        self.0
            .wall_us
            .fetch_add(i64::try_from(by_us).unwrap_or(i64::MAX), Ordering::AcqRel);
    }

    /// Steps the wall clock alone, as an operator or NTP would.
    pub fn set_wall_us(&self, wall_us: i64) {
        self.0.wall_us.store(wall_us, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_starts_later_than_the_longest_window_is_long() {
        let month_us = 31 * 24 * 3_600 * 1_000_000;
        let (first, second) = (Clock::system().now(), Clock::system().now());
        assert!(first.monotonic_us > 3 * month_us);
        assert!(second.monotonic_us >= first.monotonic_us);
    }

    #[test]
    fn what_is_added_up_is_what_the_wall_clock_says() {
        let wall = || microseconds(rustix::time::ClockId::Realtime);
        let allowed_us = TOGETHER_US + 1;
        for _ in 0..100_000 {
            let before_us = wall();
            let told_us = Clock::system().now().wall_us;
            let after_us = wall();
            assert!(
                (before_us - allowed_us..=after_us + allowed_us).contains(&told_us),
                "{told_us} between {before_us} and {after_us}"
            );
        }
    }

    #[test]
    fn a_thread_that_comes_back_reads_both_clocks() {
        // As if the wall clock had been an hour ahead when this thread looked last, and it is not any more.
        let now_us = microseconds(rustix::time::ClockId::Boottime);
        let wall = || microseconds(rustix::time::ClockId::Realtime);
        for (seen_us, is_believed) in [
            (now_us, true),
            (now_us - AHEAD_HOLDS_US + 1, true),
            (now_us - AHEAD_HOLDS_US, false),
            (now_us + 1, false),
            (-1, false),
        ] {
            let far_us = 3_600_000_000;
            AHEAD.with(|ahead| {
                ahead.set(Ahead {
                    by_us: wall() - now_us + far_us,
                    seen_us,
                });
            });
            let is_far = wall_us(now_us) - wall() > far_us / 2;
            assert_eq!(is_far, is_believed, "{seen_us} at {now_us}");
        }
    }
}
