//! What an exact look at every admission says of a limiter: the most in any window, and the emptiest window that it refused in.
//!
//! Decides nothing itself and is told everything: each request, when it came and whether it was admitted. The strictness table and
//! the tests of the other limiters ask it.

use std::collections::VecDeque;

/// A refusal is forgiven what left the window within this part of its length before: a millionth.
const FORGIVEN: u64 = 1_000_000;

/// Watches the requests of one subject, in the order of their times.
#[derive(Debug)]
pub(crate) struct Witness {
    window_us: u64,
    limit: u64,
    /// Admissions in the half-open window that ends with the newest request, that request included, and those forgiven.
    recent: VecDeque<u64>,
    most: u64,
    shortfall: u64,
    shortfall_unforgiven: u64,
}

impl Witness {
    /// A witness that has seen nothing.
    pub(crate) fn new(window_us: u64, limit: u32) -> Witness {
        Witness {
            window_us,
            limit: u64::from(limit),
            recent: VecDeque::new(),
            most: 0,
            shortfall: 0,
            shortfall_unforgiven: 0,
        }
    }

    /// Takes note of one request.
    pub(crate) fn see(&mut self, now_us: u64, admitted: bool) {
        let kept_us = self.window_us + self.window_us / FORGIVEN;
        while self.recent.front().is_some_and(|oldest| oldest + kept_us <= now_us) {
            self.recent.pop_front();
        }
        if admitted {
            self.recent.push_back(now_us);
        }
        let kept = self.recent.len();
        let gone = self
            .recent
            .partition_point(|admitted| admitted + self.window_us <= now_us);
        let [kept, in_window] = [kept, kept - gone].map(|count| u64::try_from(count).unwrap_or(u64::MAX));
        if admitted {
            self.most = self.most.max(in_window);
        } else {
            self.shortfall = self.shortfall.max(self.limit.saturating_sub(kept));
            self.shortfall_unforgiven = self.shortfall_unforgiven.max(self.limit.saturating_sub(in_window));
        }
    }

    /// The most admissions that any half-open window held. A fullest window can always be moved until it ends with an
    /// admission, so looking there is looking everywhere.
    pub(crate) fn most(&self) -> u64 {
        self.most
    }

    /// How many admissions more than the limit the fullest window held.
    pub(crate) fn excess(&self) -> u64 {
        self.most().saturating_sub(self.limit)
    }

    /// The most admissions that were left when a request was refused, counting as used what had left the window less than a
    /// millionth of its length before.
    pub(crate) fn shortfall(&self) -> u64 {
        self.shortfall
    }

    /// The same with nothing forgiven.
    pub(crate) fn shortfall_unforgiven(&self) -> u64 {
        self.shortfall_unforgiven
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts every half-open window that begins or ends at an admission or a microsecond beside one, the slow way.
    fn most_by_hand(window_us: u64, admitted: &[u64]) -> u64 {
        let starts = admitted
            .iter()
            .flat_map(|&at| [at, at + 1, at.saturating_sub(1), (at + 1).saturating_sub(window_us)]);
        let held = |start: u64| {
            admitted
                .iter()
                .filter(|&&at| start <= at && at < start + window_us)
                .count()
        };
        u64::try_from(starts.map(held).max().unwrap_or(0)).unwrap_or(u64::MAX)
    }

    #[track_caller]
    fn check(limit: u32, requests: &[(u64, bool)], most: u64, excess: u64, shortfall: u64) {
        let mut witness = Witness::new(10, limit);
        for &(now_us, admitted) in requests {
            witness.see(now_us, admitted);
        }
        assert_eq!(
            (witness.most(), witness.excess(), witness.shortfall()),
            (most, excess, shortfall)
        );
        let admitted: Vec<u64> = requests
            .iter()
            .filter(|request| request.1)
            .map(|request| request.0)
            .collect();
        assert_eq!(most_by_hand(10, &admitted), most);
    }

    #[test]
    fn a_window_holds_its_start_and_not_its_end() {
        check(1, &[(0, true), (10, true)], 1, 0, 0);
        check(1, &[(0, true), (9, true)], 2, 1, 0);
        check(1, &[(5, true), (5, true), (5, true)], 3, 2, 0);
    }

    #[test]
    fn a_refusal_is_held_against_the_window_that_ends_with_it() {
        check(3, &[(0, false)], 0, 0, 3);
        check(2, &[(0, true), (0, true), (9, false)], 2, 0, 0);
        check(2, &[(0, true), (1, true), (10, false)], 2, 0, 1);
        check(2, &[(0, true), (1, true), (11, false)], 2, 0, 2);
        // More than the limit in the window is no negative shortfall.
        check(1, &[(0, true), (0, true), (0, false)], 2, 1, 0);
    }

    #[test]
    fn a_refusal_is_forgiven_a_millionth_of_the_window_and_no_more() {
        let check = |refused_at_us: u64, shortfalls: (u64, u64)| {
            let mut witness = Witness::new(4_000_000, 1);
            witness.see(0, true);
            witness.see(refused_at_us, false);
            assert_eq!(
                (witness.shortfall(), witness.shortfall_unforgiven()),
                shortfalls,
                "{refused_at_us}"
            );
        };
        check(3_999_999, (0, 0));
        check(4_000_000, (0, 1));
        check(4_000_003, (0, 1));
        check(4_000_004, (1, 1));
        // What is forgiven to a refusal is not held against an admission.
        let mut witness = Witness::new(4_000_000, 1);
        witness.see(0, true);
        witness.see(4_000_000, true);
        assert_eq!(witness.excess(), 0);
    }

    #[test]
    fn it_agrees_with_counting_every_window() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut draw = |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 16) % below
        };
        for _ in 0..300 {
            let (mut now_us, mut witness, mut admitted) = (0, Witness::new(10, 4), Vec::new());
            for _ in 0..60 {
                now_us += draw(5);
                let admits = draw(3) > 0;
                witness.see(now_us, admits);
                if admits {
                    admitted.push(now_us);
                }
            }
            assert_eq!(witness.most(), most_by_hand(10, &admitted), "{admitted:?}");
        }
    }
}
