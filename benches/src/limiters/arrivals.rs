//! The arrivals under which limiters are compared: each pattern is one at which some way of counting fails.
//!
//! Decides when requests come, in microseconds; knows no limiter. Windows of the clock begin at multiples of the window's length,
//! and every pattern begins at such a multiple.

use super::draws::Dice;

/// A way for requests to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pattern {
    /// Twice the limit just before and just at each edge of the clock's windows.
    EdgeBursts,
    /// A little more than the limit, again and again, exactly one window apart and once a microsecond early.
    FullBursts,
    /// A burst, then a flood: the burst should be all that the window admits.
    BurstThenFlood,
    /// A burst at the end of a window of the clock, then a flood for two windows and a half.
    LateBurst,
    /// Nine tenths of the limit evenly for two windows, then a burst.
    TrickleThenBurst,
    /// Four times the limit, evenly.
    Flood,
    /// A rate that rises from nothing to three times the limit and drops, every 0.7 windows.
    SawTooth,
    /// Bursts and pauses of random sizes.
    Random,
}

impl Pattern {
    pub(crate) const ALL: [Pattern; 8] = [
        Pattern::EdgeBursts,
        Pattern::FullBursts,
        Pattern::BurstThenFlood,
        Pattern::LateBurst,
        Pattern::TrickleThenBurst,
        Pattern::Flood,
        Pattern::SawTooth,
        Pattern::Random,
    ];

    /// What the tables call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Pattern::EdgeBursts => "edge bursts",
            Pattern::FullBursts => "full bursts",
            Pattern::BurstThenFlood => "burst, then flood",
            Pattern::LateBurst => "late burst",
            Pattern::TrickleThenBurst => "trickle, then burst",
            Pattern::Flood => "flood",
            Pattern::SawTooth => "saw-tooth",
            Pattern::Random => "random",
        }
    }

    /// When the requests come, in order, in microseconds since the start of a window of the clock.
    pub(crate) fn arrivals(self, limit: u32, window_us: u64) -> Vec<u64> {
        let (count, w) = (u64::from(limit), window_us);
        let mut arrivals = Arrivals(Vec::new());
        match self {
            Pattern::EdgeBursts => {
                for window in 1..=6 {
                    arrivals.burst(window * w - 1, 2 * count);
                    arrivals.burst(window * w, 2 * count);
                    arrivals.burst(window * w + w / 2, count / 2);
                }
            }
            Pattern::FullBursts => {
                let start = w / 3;
                for window in 0..8 {
                    arrivals.burst(start + window * w, count + count.div_ceil(16));
                    arrivals.burst(start + (window + 1) * w - 1, 1);
                }
            }
            Pattern::BurstThenFlood => {
                arrivals.burst(w / 3, 2 * count);
                arrivals.steady(w / 3 + 1, w / 3 + 3 * w, 9 * count);
            }
            Pattern::LateBurst => {
                for window in [1, 6] {
                    arrivals.burst(window * w - 1, 2 * count);
                    arrivals.steady(window * w, window * w + 5 * w / 2, 10 * count);
                }
            }
            Pattern::TrickleThenBurst => {
                for cycle in 0..3 {
                    let start = 3 * cycle * w;
                    arrivals.steady(start, start + 2 * w, (2 * count * 9).div_ceil(10));
                    arrivals.burst(start + 2 * w + 1, 2 * count);
                }
            }
            Pattern::Flood => arrivals.steady(0, 5 * w, 20 * count),
            Pattern::SawTooth => {
                let tooth_us = 7 * w / 10;
                let per_tooth = (21 * count).div_ceil(20);
                for tooth in 0..8 {
                    for index in 0..per_tooth {
                        // The rate rises evenly, so the index rises with the square of the time.
                        let square = u128::from(tooth_us).pow(2) * u128::from(2 * index + 1);
                        let part_us = (square / u128::from(2 * per_tooth)).isqrt();
                        arrivals
                            .0
                            .push(tooth * tooth_us + u64::try_from(part_us).unwrap_or(tooth_us));
                    }
                }
            }
            Pattern::Random => {
                let mut dice = Dice::new(count * 31 + w);
                let mut now_us = 0;
                for _ in 0..200 {
                    now_us += [0, 1, dice.below(w / 16), dice.below(w / 4), dice.below(2 * w)]
                        [usize::try_from(dice.below(5)).unwrap_or(0)];
                    arrivals.burst(now_us, 1 + dice.below(count.div_ceil(2)));
                }
            }
        }
        arrivals.0
    }
}

struct Arrivals(Vec<u64>);

impl Arrivals {
    fn burst(&mut self, at_us: u64, count: u64) {
        self.0.extend((0..count).map(|_| at_us));
    }

    /// `count` requests evenly from the first moment to the last, both included.
    fn steady(&mut self, from_us: u64, to_us: u64, count: u64) {
        let gaps = count.saturating_sub(1).max(1);
        self.0
            .extend((0..count).map(|index| from_us + (to_us - from_us) * index / gaps));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_is_in_order_and_asks_for_more_than_there_is() {
        for pattern in Pattern::ALL {
            for (limit, window_us) in [(10, 1_000_000), (10_007, 3_600_000_000)] {
                let arrivals = pattern.arrivals(limit, window_us);
                assert!(arrivals.is_sorted(), "{}", pattern.name());
                let fullest = arrivals.iter().enumerate().map(|(index, &at)| {
                    let first = arrivals.partition_point(|&earlier| earlier + window_us <= at);
                    index + 1 - first
                });
                assert!(
                    fullest.max().unwrap_or(0) > usize::try_from(limit).expect("small"),
                    "{} asks for no more than {limit}",
                    pattern.name()
                );
            }
        }
    }
}
