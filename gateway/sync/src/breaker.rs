//! Is it worth asking the control API now? After some failures in a row it is not, for a while; then one may try for all.
//!
//! Pure: told what time it is and how things went. The remote source asks it.

use crate::backoff::part_of;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;

/// Failures in a row after which nobody asks for a while.
const FAILURES: u32 = 3;
/// How long the first while is; each further one is twice as long.
const FIRST: Duration = Duration::from_millis(100);
/// How long the longest is.
const LONGEST: Duration = Duration::from_secs(1);

/// What the last attempts came to.
#[derive(Debug, Default)]
pub(crate) struct Breaker(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    failures: u32,
    /// Monotonic microseconds until when nobody may ask.
    shut_until_us: u64,
    cause: Arc<str>,
}

/// What an outcome changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Nothing.
    None,
    /// From now on few may ask.
    Shut,
    /// From now on everybody may ask again.
    Opened,
}

impl Breaker {
    /// Whether to ask at `now_us`; otherwise why not. While it is shut one in a while may, on behalf of all.
    pub(crate) fn may_ask(&self, now_us: u64) -> Result<(), Arc<str>> {
        let mut state = self.0.lock();
        if state.failures < FAILURES {
            return Ok(());
        }
        if now_us < state.shut_until_us {
            return Err(Arc::clone(&state.cause));
        }
        // Should this one never come back with an outcome, another may try after the same time.
        state.shut_until_us = now_us.saturating_add(microseconds(pause(state.failures)));
        Ok(())
    }

    pub(crate) fn succeeded(&self) -> Turn {
        let mut state = self.0.lock();
        let was_shut = state.failures >= FAILURES;
        state.failures = 0;
        if was_shut { Turn::Opened } else { Turn::None }
    }

    pub(crate) fn failed(&self, now_us: u64, cause: &str) -> Turn {
        let mut state = self.0.lock();
        state.failures = state.failures.saturating_add(1);
        state.cause = Arc::from(cause);
        if state.failures < FAILURES {
            return Turn::None;
        }
        state.shut_until_us = now_us.saturating_add(microseconds(pause(state.failures)));
        if state.failures == FAILURES {
            Turn::Shut
        } else {
            Turn::None
        }
    }

    pub(crate) fn is_shut(&self) -> bool {
        self.0.lock().failures >= FAILURES
    }
}

/// At least half of the while, so that gateways do not all try at the same time.
fn pause(failures: u32) -> Duration {
    let whole = FIRST.saturating_mul(1 << (failures - FAILURES).min(8)).min(LONGEST);
    whole / 2 + part_of(whole / 2)
}

fn microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST_US: u64 = 100_000;
    const LONGEST_US: u64 = 1_000_000;

    fn shut(now_us: u64) -> Breaker {
        let breaker = Breaker::default();
        for turn in [Turn::None, Turn::None, Turn::Shut] {
            assert!(breaker.may_ask(now_us).is_ok());
            assert_eq!(breaker.failed(now_us, "gone"), turn);
        }
        breaker
    }

    #[test]
    fn failures_count_only_in_a_row() {
        let breaker = Breaker::default();
        for _ in 0..5 {
            assert_eq!(breaker.failed(0, "gone"), Turn::None);
            assert_eq!(breaker.failed(0, "gone"), Turn::None);
            assert!(breaker.may_ask(0).is_ok());
            assert_eq!(breaker.succeeded(), Turn::None);
        }
        assert!(!breaker.is_shut());
    }

    #[test]
    fn while_it_is_shut_one_in_a_while_may_try() {
        let breaker = shut(1_000);
        assert_eq!(breaker.may_ask(1_000 + FIRST_US / 2 - 1), Err(Arc::from("gone")));
        assert!(breaker.may_ask(1_000 + FIRST_US).is_ok());
        assert!(breaker.may_ask(1_000 + FIRST_US).is_err(), "somebody is trying");
        assert!(breaker.may_ask(1_000 + 2 * FIRST_US).is_ok(), "who tried may be lost");
        assert_eq!(breaker.succeeded(), Turn::Opened);
        assert!(breaker.may_ask(1_000 + 2 * FIRST_US).is_ok());
        assert!(breaker.may_ask(1_000 + 2 * FIRST_US).is_ok());
    }

    #[test]
    fn it_is_shut_for_longer_after_each_failure_up_to_a_bound() {
        let breaker = shut(0);
        for _ in 0..10 {
            assert_eq!(breaker.failed(0, "still gone"), Turn::None);
        }
        assert_eq!(breaker.may_ask(LONGEST_US / 2 - 1), Err(Arc::from("still gone")));
        assert!(breaker.may_ask(LONGEST_US).is_ok());
    }
}
