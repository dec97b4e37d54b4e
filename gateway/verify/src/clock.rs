//! The only reader of time. Everything else is told when it is.
//!
//! A [`Moment`] is read once per request and passed down, so that one decision sees one time, and tests can move it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// One reading of both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Microseconds of `CLOCK_BOOTTIME`: never steps back, counts suspension, starts anywhere. For windows and ages.
    pub monotonic_us: u64,
    /// Microseconds since the Unix epoch: may step. For expiry and calendar periods.
    pub wall_us: i64,
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

    /// Reads both clocks.
    #[must_use]
    pub fn now(&self) -> Moment {
        match &self.0 {
            Source::System => Moment {
                monotonic_us: u64::try_from(microseconds(rustix::time::ClockId::Boottime)).unwrap_or(0),
                wall_us: microseconds(rustix::time::ClockId::Realtime),
            },
            Source::Manual(state) => Moment {
                monotonic_us: state.monotonic_us.load(Ordering::Acquire),
                wall_us: state.wall_us.load(Ordering::Acquire),
            },
        }
    }
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
