//! The only reader of time. Everything else is told when it is.
//!
//! A [`Moment`] is read once per request and passed down, so that one decision sees one time, and tests can move it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

/// Monotonic time that had passed when the machine started: a hundred days, more than the longest window. What was counted
/// before a reboot thereby has a time before it. Saved counters hold such times, so that it never changes.
const HEAD_START_US: i64 = 100 * 24 * 3_600 * 1_000_000;

/// One reading of both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Microseconds of `CLOCK_BOOTTIME`, and a hundred days: never steps back, counts suspension. For windows and ages.
    pub monotonic_us: u64,
    /// Microseconds since the Unix epoch: may step. For expiry and calendar periods.
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
            Source::System => Moment {
                monotonic_us: monotonic_us(),
                wall_us: microseconds(rustix::time::ClockId::Realtime),
            },
            Source::Manual(state) => Moment {
                monotonic_us: state.monotonic_us.load(Ordering::Acquire),
                wall_us: state.wall_us.load(Ordering::Acquire),
            },
        }
    }
}

fn monotonic_us() -> u64 {
    u64::try_from(HEAD_START_US + microseconds(rustix::time::ClockId::Boottime)).unwrap_or(0)
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
}
