//! How long to wait before the next attempt, so that a thousand gateways do not all come back at once.
//!
//! Any pause between nothing and a bound that doubles is as likely as any other. Knows nothing of what is attempted.

use std::time::Duration;

/// The bound of the first pause.
const FIRST: Duration = Duration::from_millis(100);

/// Attempts that failed in a row, and the pause that follows from them.
#[derive(Debug)]
pub(crate) struct Backoff {
    longest: Duration,
    failures: u32,
}

impl Backoff {
    pub(crate) fn new(longest: Duration) -> Backoff {
        Backoff { longest, failures: 0 }
    }

    /// Something went well: the next pause is a short one again.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// After one more failure: the pause before the next attempt.
    pub(crate) fn pause(&mut self) -> Duration {
        let bound = FIRST.saturating_mul(1 << self.failures.min(16)).min(self.longest);
        self.failures = self.failures.saturating_add(1);
        part_of(bound)
    }

    /// After a failure that will not mend itself soon: at least half of the longest pause.
    pub(crate) fn long_pause(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        self.longest / 2 + part_of(self.longest / 2)
    }
}

/// Anything from nothing up to `bound`. Half of it where no randomness is to be had.
pub(crate) fn part_of(bound: Duration) -> Duration {
    let nanoseconds = u64::try_from(bound.as_nanos()).unwrap_or(u64::MAX);
    match getrandom::u64() {
        Ok(random) => Duration::from_nanos(random % nanoseconds.saturating_add(1).max(1)),
        Err(_) => bound / 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_spread_below_a_bound_that_doubles_up_to_the_longest() {
        let longest = Duration::from_millis(450);
        let bounds_ms = [100, 200, 400, 450, 450];
        let mut largest = [Duration::ZERO; 5];
        let mut smallest = [longest; 5];
        for _ in 0..500 {
            let mut backoff = Backoff::new(longest);
            for (turn, bound_ms) in bounds_ms.into_iter().enumerate() {
                let pause = backoff.pause();
                assert!(pause <= Duration::from_millis(bound_ms), "{turn}: {pause:?}");
                largest[turn] = largest[turn].max(pause);
                smallest[turn] = smallest[turn].min(pause);
            }
            backoff.reset();
            assert!(backoff.pause() <= FIRST);
            assert!(backoff.long_pause() >= longest / 2);
        }
        for (turn, bound_ms) in bounds_ms.into_iter().enumerate() {
            let bound = Duration::from_millis(bound_ms);
            // With 500 draws the chance that none is in a given tenth is about 10^-23.
            assert!(largest[turn] > bound * 9 / 10, "{turn}: {:?}", largest[turn]);
            assert!(smallest[turn] < bound / 10, "{turn}: {:?}", smallest[turn]);
        }
    }
}
