//! The three ways of counting that most gateways and scripts use, each for one subject: fixed window, weighted window, exact log.
//!
//! Decides one request over one counter at a time that is given. Knows nothing of keys or threads; [`super::keyed`] holds one
//! counter per subject.

use std::collections::VecDeque;

/// So many requests per window.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Quota {
    pub(crate) limit: u32,
    pub(crate) window_us: u64,
}

/// Counts the admissions of one subject.
pub(crate) trait Counter: Default + Send + Sync {
    /// What the tables call it.
    const NAME: &'static str;

    /// Whether there is room for one more request, which is counted if so.
    fn admit(&mut self, quota: &Quota, now_us: u64) -> bool;
}

/// One count, which starts again with every window of the clock.
#[derive(Debug, Default)]
pub(crate) struct FixedWindow {
    window: u64,
    count: u32,
}

impl Counter for FixedWindow {
    const NAME: &'static str = "fixed window";

    fn admit(&mut self, quota: &Quota, now_us: u64) -> bool {
        let window = now_us / quota.window_us;
        if window != self.window {
            *self = FixedWindow { window, count: 0 };
        }
        let admits = self.count < quota.limit;
        self.count += u32::from(admits);
        admits
    }
}

/// The counts of this window of the clock and the one before, which counts for the part of it that a sliding window still covers.
///
/// The request itself is part of the sum and nothing is rounded off, which is the strictest way to write this method.
#[derive(Debug, Default)]
pub(crate) struct WeightedWindow {
    window: u64,
    current: u32,
    previous: u32,
}

impl Counter for WeightedWindow {
    const NAME: &'static str = "two-counter window";

    fn admit(&mut self, quota: &Quota, now_us: u64) -> bool {
        let window = now_us / quota.window_us;
        if window != self.window {
            let previous = if window == self.window + 1 { self.current } else { 0 };
            *self = WeightedWindow {
                window,
                current: 0,
                previous,
            };
        }
        let covered_us = quota.window_us - now_us % quota.window_us;
        let weighted = u128::from(self.previous) * u128::from(covered_us)
            + (u128::from(self.current) + 1) * u128::from(quota.window_us);
        let admits = weighted <= u128::from(quota.limit) * u128::from(quota.window_us);
        self.current += u32::from(admits);
        admits
    }
}

/// The time of every admission in the window.
#[derive(Debug, Default)]
pub(crate) struct ExactLog {
    admitted_at_us: VecDeque<u64>,
}

impl Counter for ExactLog {
    const NAME: &'static str = "exact log";

    fn admit(&mut self, quota: &Quota, now_us: u64) -> bool {
        while let Some(&oldest) = self.admitted_at_us.front()
            && oldest + quota.window_us <= now_us
        {
            self.admitted_at_us.pop_front();
        }
        let limit = usize::try_from(quota.limit).unwrap_or(usize::MAX);
        let admits = self.admitted_at_us.len() < limit;
        if admits {
            self.admitted_at_us.push_back(now_us);
        }
        admits
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limiters::oracle::Witness;

    const W: u64 = 1_000_000;

    /// Serves one request at each time, and holds what was admitted against what is expected: the most in any window, and the
    /// worst shortfall of a refusal.
    fn check<C: Counter>(limit: u32, arrivals: &[u64], expected_most: u64, expected_shortfall: u64) {
        let quota = Quota { limit, window_us: W };
        let (mut counter, mut witness) = (C::default(), Witness::new(W, limit));
        for &now_us in arrivals {
            witness.see(now_us, counter.admit(&quota, now_us));
        }
        assert_eq!(
            (witness.most(), witness.shortfall_unforgiven()),
            (expected_most, expected_shortfall),
            "{} of {limit}",
            C::NAME
        );
    }

    fn burst(at_us: u64, count: usize) -> impl Iterator<Item = u64> {
        std::iter::repeat_n(at_us, count)
    }

    #[test]
    fn a_fixed_window_admits_twice_its_limit_around_an_edge() {
        let arrivals: Vec<u64> = burst(W - 1, 300).chain(burst(W, 300)).collect();
        check::<FixedWindow>(100, &arrivals, 200, 0);
        // Within one window of the clock it is exact, and just as blind to where the next begins.
        check::<FixedWindow>(100, &burst(W, 300).collect::<Vec<_>>(), 100, 0);
    }

    #[test]
    fn a_two_counter_window_admits_nearly_twice_its_limit() {
        // All at the end of one window of the clock; by the end of the next the burst weighs almost nothing, though it is
        // still inside the sliding window.
        let steady = (0..1_000).map(|step| W + step * (W - 2) / 999);
        let arrivals: Vec<u64> = burst(W - 1, 300).chain(steady).collect();
        check::<WeightedWindow>(100, &arrivals, 199, 0);
        // For a burst at the edge alone, what fixed windows fail at, it is strict.
        let arrivals: Vec<u64> = burst(W - 1, 300).chain(burst(W, 300)).collect();
        check::<WeightedWindow>(100, &arrivals, 100, 0);
    }

    #[test]
    fn a_two_counter_window_refuses_what_there_is_room_for() {
        // A burst at the start of a window has left the sliding window by the start of the next, but still weighs: in full at
        // first, and half of it half a window later.
        check::<WeightedWindow>(100, &burst(W, 100).chain(burst(2 * W, 1)).collect::<Vec<_>>(), 100, 100);
        let arrivals: Vec<u64> = burst(W, 100).chain(burst(5 * W / 2, 51)).collect();
        check::<WeightedWindow>(100, &arrivals, 100, 50);
    }

    #[test]
    fn an_exact_log_is_exact() {
        let steady = (0..1_000).map(|step| W + step * (W - 2) / 999);
        let arrivals: Vec<u64> = burst(W - 1, 300)
            .chain(steady)
            .chain(burst(2 * W - 1, 300))
            .chain(burst(3 * W - 2, 1))
            .chain(burst(3 * W - 1, 300))
            .collect();
        check::<ExactLog>(100, &arrivals, 100, 0);
        check::<ExactLog>(1, &arrivals, 1, 0);
    }
}
