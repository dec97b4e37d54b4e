//! How long ago this process last knew that it had heard of every change, and what may still be decided by what it holds.
//!
//! Holds one time and two bounds. Whoever follows the change log notes the time; the verifier asks before each decision. Knows
//! nothing of how the log is followed.

use crate::Moment;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What may be decided by what is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Everything.
    Fresh,
    /// Keys that are known. That a key is unknown must be asked anew.
    Stale,
    /// Nothing.
    TooStale,
}

/// When this process was last up to date. Shared by the one who follows and all who decide.
#[derive(Debug)]
pub struct Freshness {
    /// Monotonic microseconds; 0: never yet.
    fresh_at_us: AtomicU64,
    soft_us: u64,
    max_us: u64,
    serves_stale: bool,
}

impl Freshness {
    /// Nothing is known yet: too stale, or merely stale where `serves_stale`.
    ///
    /// Up to `soft` everything is decided, up to `max` what is known; past that nothing, unless `serves_stale`.
    #[must_use]
    pub fn new(soft: Duration, max: Duration, serves_stale: bool) -> Freshness {
        Freshness {
            fresh_at_us: AtomicU64::new(0),
            soft_us: microseconds(soft),
            max_us: microseconds(max),
            serves_stale,
        }
    }

    /// Notes that every change committed before `at` (monotonic microseconds) has been applied. Never goes back.
    pub fn note(&self, at_us: u64) {
        self.fresh_at_us.fetch_max(at_us, Ordering::AcqRel);
    }

    /// What may be decided at `now`.
    #[must_use]
    #[inline]
    pub fn standing(&self, now: Moment) -> Standing {
        let age_us = now
            .monotonic_us
            .saturating_sub(self.fresh_at_us.load(Ordering::Acquire));
        if age_us <= self.soft_us {
            Standing::Fresh
        } else if age_us <= self.max_us || self.serves_stale {
            Standing::Stale
        } else {
            Standing::TooStale
        }
    }

    /// How long ago this process was last up to date; `None` if it never was.
    #[must_use]
    pub fn staleness(&self, now: Moment) -> Option<Duration> {
        match self.fresh_at_us.load(Ordering::Acquire) {
            0 => None,
            at_us => Some(Duration::from_micros(now.monotonic_us.saturating_sub(at_us))),
        }
    }
}

fn microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trust_ends_in_two_steps_and_comes_back_with_news() {
        fn check(serves_stale: bool, noted_us: Option<u64>, now_us: u64, standing: Standing) {
            let freshness = Freshness::new(Duration::from_micros(10), Duration::from_micros(30), serves_stale);
            if let Some(at_us) = noted_us {
                freshness.note(at_us);
                freshness.note(at_us - 1);
            }
            let now = Moment {
                monotonic_us: now_us,
                wall_us: 0,
            };
            assert_eq!(
                freshness.standing(now),
                standing,
                "{serves_stale} {noted_us:?} {now_us}"
            );
        }
        check(false, None, 1_000, Standing::TooStale);
        check(true, None, 1_000, Standing::Stale);
        check(false, Some(1_000), 990, Standing::Fresh);
        check(false, Some(1_000), 1_010, Standing::Fresh);
        check(false, Some(1_000), 1_011, Standing::Stale);
        check(false, Some(1_000), 1_030, Standing::Stale);
        check(false, Some(1_000), 1_031, Standing::TooStale);
        check(true, Some(1_000), 1_031, Standing::Stale);
    }
}
