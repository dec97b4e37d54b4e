//! How far each limiter strays from its limit under the same arrivals, on manual time, held against an exact oracle.
//!
//! Decides which limits, windows and patterns are tried. Measures no time; the page and the plots are made of its outcomes.

use super::arrivals::Pattern;
use super::contender::{Contender, Settings};
use super::counters::{ExactLog, FixedWindow, WeightedWindow};
use super::governed::{Governed, Share};
use super::keyed::Keyed;
use super::oracle::Witness;
use super::portcullis::Portcullis;
use portcullis_verify::Moment;

/// The limits tried, in requests per window.
pub(crate) const LIMITS: [u32; 4] = [10, 100, 1_000, 10_007];
/// The windows tried, in microseconds.
const WINDOWS_US: [u64; 3] = [1_000_000, 60_000_000, 3_600_000_000];

/// The start of a window of the clock, for every window tried.
const START_US: u64 = 1_000 * 3_600_000_000;

/// What one contender did under one pattern, limit and window.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    pub(crate) contender: &'static str,
    pub(crate) pattern: Pattern,
    pub(crate) limit: u32,
    /// Admissions past the limit in the fullest half-open window.
    pub(crate) excess: u64,
    /// Admissions that the limit still left when a request was refused, at the worst; see [`Witness::shortfall`].
    pub(crate) shortfall: u64,
    /// The same with nothing forgiven.
    pub(crate) shortfall_unforgiven: u64,
}

/// The contenders, each with room for one key, in the order of the tables.
pub(crate) fn contenders(limit: u32, window_us: u64) -> Vec<(&'static str, Box<dyn Contender>)> {
    let settings = Settings::one_key(limit, window_us);
    vec![
        ("portcullis", Box::new(Portcullis::new(&settings))),
        ("governor", Box::new(Governed::told(&settings, Share::Whole))),
        (
            "governor, half burst, half rate",
            Box::new(Governed::told(&settings, Share::Half)),
        ),
        ("two-counter window", Box::new(Keyed::<WeightedWindow>::new(&settings))),
        ("exact log", Box::new(Keyed::<ExactLog>::new(&settings))),
        ("fixed window", Box::new(Keyed::<FixedWindow>::new(&settings))),
    ]
}

/// Runs every contender under every pattern at these limits and every window.
pub(crate) fn measure(limits: &[u32]) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    for &limit in limits {
        for window_us in WINDOWS_US {
            for pattern in Pattern::ALL {
                let arrivals = pattern.arrivals(limit, window_us);
                for (name, contender) in contenders(limit, window_us) {
                    let mut witness = Witness::new(window_us, limit);
                    replay(contender.as_ref(), &arrivals, |now_us, admitted| {
                        witness.see(now_us, admitted)
                    });
                    outcomes.push(Outcome {
                        contender: name,
                        pattern,
                        limit,
                        excess: witness.excess(),
                        shortfall: witness.shortfall(),
                        shortfall_unforgiven: witness.shortfall_unforgiven(),
                    });
                }
            }
        }
    }
    outcomes
}

/// One contender's admissions in the sliding window over time.
pub(crate) struct Trace {
    pub(crate) contender: &'static str,
    /// Time in windows, and admissions in the window that ends then.
    pub(crate) points: Vec<(f64, f64)>,
}

/// The limit of [`trace`].
pub(crate) const TRACE_LIMIT: u32 = 100;

/// Follows every contender through the late burst, at a hundred a minute.
pub(crate) fn trace() -> Vec<Trace> {
    const WINDOW_US: u64 = 60_000_000;
    let arrivals = Pattern::LateBurst.arrivals(TRACE_LIMIT, WINDOW_US);
    let follow = |(name, contender): (&'static str, Box<dyn Contender>)| {
        let mut admitted_us = Vec::new();
        replay(contender.as_ref(), &arrivals, |now_us, admitted| {
            if admitted {
                admitted_us.push(now_us);
            }
        });
        let in_window = |at_us: u64| {
            let until = admitted_us.partition_point(|&admitted| admitted <= at_us);
            let gone = admitted_us.partition_point(|&admitted| admitted + WINDOW_US <= at_us);
            until - gone
        };
        let points = (800..3_700).map(|thousandth| {
            let at_us = WINDOW_US / 1_000 * thousandth - 1;
            (thousandth as f64 / 1_000.0, in_window(at_us) as f64)
        });
        let points: Vec<(f64, f64)> = points.collect();
        let turns = |index: &usize| {
            let values = [index.saturating_sub(1), *index, (index + 1).min(points.len() - 1)].map(|at| points[at].1);
            values[0] != values[1] || values[1] != values[2]
        };
        let ends = |index: &usize| *index == 0 || *index + 1 == points.len();
        let kept = (0..points.len()).filter(|index| turns(index) || ends(index));
        Trace {
            contender: name,
            points: kept.map(|index| points[index]).collect(),
        }
    };
    contenders(TRACE_LIMIT, WINDOW_US).into_iter().map(follow).collect()
}

/// Asks for one key at each time, given since the start, and tells of every answer.
fn replay(contender: &dyn Contender, arrivals: &[u64], mut see: impl FnMut(u64, bool)) {
    let request = Settings::one_key(1, 1).request(0, 0);
    for &at_us in arrivals {
        let now = Moment {
            monotonic_us: START_US + at_us,
            wall_us: 0,
        };
        contender.tell(now);
        see(at_us, contender.check(&request, now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The worst of a contender at the two smaller limits, in percent of the limit.
    fn worst(contender: &str, of: impl Fn(&Outcome) -> u64) -> u64 {
        let outcomes = measure(&LIMITS[..2]);
        let percent = outcomes
            .iter()
            .filter(|outcome| outcome.contender == contender)
            .map(|outcome| of(outcome) * 100 / u64::from(outcome.limit));
        percent.max().expect("the contender was measured")
    }

    #[test]
    fn what_is_strict_and_what_is_not() {
        let check =
            |contender: &str, excess: std::ops::RangeInclusive<u64>, shortfall: std::ops::RangeInclusive<u64>| {
                let measured = (
                    worst(contender, |outcome| outcome.excess),
                    worst(contender, |outcome| outcome.shortfall),
                );
                assert!(
                    excess.contains(&measured.0) && shortfall.contains(&measured.1),
                    "{contender}: {measured:?}"
                );
            };
        check("portcullis", 0..=0, 0..=6);
        check("exact log", 0..=0, 0..=0);
        check("fixed window", 100..=100, 0..=0);
        check("two-counter window", 90..=99, 90..=100);
        check("governor", 90..=100, 0..=0);
        check("governor, half burst, half rate", 0..=0, 50..=50);
    }

    #[test]
    fn a_trace_shows_the_excess() {
        for trace in trace() {
            let most = trace.points.iter().map(|point| point.1).fold(0.0, f64::max);
            let strict = matches!(
                trace.contender,
                "portcullis" | "exact log" | "governor, half burst, half rate"
            );
            assert_eq!(most <= f64::from(TRACE_LIMIT), strict, "{}: {most}", trace.contender);
        }
    }
}
