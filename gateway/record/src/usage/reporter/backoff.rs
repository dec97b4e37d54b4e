//! How long to wait before something is tried again: twice as long each time, and at random below that.
//!
//! Decides lengths only; knows nothing of what failed. Called by [`super`].

use std::time::Duration;

/// However chance falls, a sink that fails is not asked in a tight loop.
const SHORTEST: Duration = Duration::from_millis(5);

/// The waits after failures that follow each other.
#[derive(Debug)]
pub(super) struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    /// The first wait is at most `first`; none is longer than `longest`.
    pub(super) fn new(first: Duration, longest: Duration) -> Backoff {
        Backoff {
            first,
            longest,
            next: first,
        }
    }

    /// The next wait.
    pub(super) fn next(&mut self) -> Duration {
        let bound = self.next;
        self.next = (bound * 2).min(self.longest);
        up_to(bound).max(SHORTEST)
    }

    /// Begins anew, after a success.
    pub(super) fn reset(&mut self) {
        self.next = self.first;
    }
}

/// A random length up to this one; all of it where there is no randomness.
pub(super) fn up_to(bound: Duration) -> Duration {
    getrandom::u32().map_or(bound, |drawn| bound.mul_f64(f64::from(drawn) / f64::from(u32::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_their_bound_and_begin_anew_after_a_success() {
        let (first, longest) = (Duration::from_millis(50), Duration::from_millis(300));
        let mut backoff = Backoff::new(first, longest);
        for _ in 0..3 {
            for bound_ms in [50, 100, 200, 300, 300, 300] {
                assert_eq!(backoff.next, Duration::from_millis(bound_ms));
                let wait = backoff.next();
                assert!(SHORTEST <= wait && wait <= Duration::from_millis(bound_ms), "{wait:?}");
            }
            backoff.reset();
        }
    }

    #[test]
    fn waits_differ() {
        let drawn: std::collections::HashSet<_> = (0..20).map(|_| up_to(Duration::from_secs(3_600))).collect();
        assert!(drawn.len() > 10);
    }
}
