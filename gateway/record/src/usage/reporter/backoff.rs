//! How long to wait before something is tried again: twice as long each time, and at random below that.
//!
//! Decides lengths only; knows nothing of what failed. Called by [`super`].

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(10);
/// When the process ends, trying again soon costs nobody much.
const LONGEST_IN_A_HURRY: Duration = Duration::from_millis(200);
/// Randomness that is hardly ever none.
const SHORTEST: Duration = Duration::from_millis(10);

/// The waits after failures that follow each other.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
    longest: Duration,
}

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff {
            next: FIRST,
            longest: LONGEST,
        }
    }
}

impl Backoff {
    /// For the end of a process.
    pub(super) fn hurried() -> Backoff {
        Backoff {
            next: LONGEST_IN_A_HURRY / 4,
            longest: LONGEST_IN_A_HURRY,
        }
    }

    /// The next wait.
    pub(super) fn next(&mut self) -> Duration {
        let bound = self.next;
        self.next = (bound * 2).min(self.longest);
        up_to(bound).max(SHORTEST)
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
    fn waits_grow_to_their_bound_and_no_further() {
        for (mut backoff, longest) in [(Backoff::default(), LONGEST), (Backoff::hurried(), LONGEST_IN_A_HURRY)] {
            for _ in 0..40 {
                let bound = backoff.next;
                let wait = backoff.next();
                assert!(
                    SHORTEST <= wait && wait <= bound && bound <= longest,
                    "{wait:?} {bound:?}"
                );
            }
            assert_eq!(backoff.next, longest);
        }
    }
}
