//! Two counters in the place of one: nobody who was counted by either has used less after it.

use super::*;
use crate::calendar::Period;
use crate::quota::Quota;
use crate::tally::Floor;
use proptest::prelude::*;

const HOUR: u64 = 3_600_000_000;
const DAY: u64 = 24 * HOUR;

/// 2026-11-12 12:00:00 UTC and so many microseconds.
fn at(us: u64) -> Moment {
    Moment {
        monotonic_us: 400 * DAY + us,
        wall_us: 1_794_484_800_000_000 + i64::try_from(us).unwrap(),
    }
}

fn quota() -> impl Strategy<Value = Quota> {
    let rolling = (
        1_u32..60,
        prop_oneof![Just(HOUR), Just(5 * HOUR), Just(DAY), Just(30 * DAY)],
    );
    let period = prop_oneof![Just(Period::Day), Just(Period::Month)];
    prop_oneof![
        4 => rolling.prop_map(|(limit, window_us)| Quota::Rolling(Layout::new(limit, window_us))),
        1 => (1_u32..60, period).prop_map(|(limit, period)| Quota::Calendar { period, limit }),
    ]
}

fn pauses() -> impl Strategy<Value = Vec<u64>> {
    prop::collection::vec(prop_oneof![Just(0), 0..HOUR, 0..DAY], 1..80)
}

/// A tally after these arrivals, and the time of the last.
fn used(quota: &Quota, pauses: &[u64]) -> (Tally, u64) {
    let mut tally = Tally::fresh(quota, &Floor::default());
    let mut now_us = 0;
    for pause_us in pauses {
        now_us += pause_us;
        if tally.wait_us(quota, at(now_us)).is_none() {
            tally.admit(quota, at(now_us));
        }
    }
    (tally, now_us)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn a_covering_tally_has_used_as_much_as_either(
        quotas in prop_oneof![quota().prop_map(|quota| (quota, quota)), (quota(), quota())],
        pauses in (pauses(), pauses()),
        later_us in prop::collection::vec(prop_oneof![0..HOUR, 0..40 * DAY], 1..6),
    ) {
        let (left, left_us) = used(&quotas.0, &pauses.0);
        let (right, right_us) = used(&quotas.1, &pauses.1);
        let now_us = left_us.max(right_us);
        // Restoring takes up none that is idle.
        let of_both = match (left.is_idle(at(now_us)), right.is_idle(at(now_us))) {
            (false, false) => left.covering(&right, at(now_us)),
            (true, false) => right,
            (false, true) => left,
            (true, true) => return Ok(()),
        };
        for later_us in later_us.into_iter().chain([0]) {
            let then = at(now_us + later_us);
            for (tally, quota) in [(left, quotas.0), (right, quotas.1)] {
                if tally.is_idle(at(now_us)) {
                    continue;
                }
                // What it remembers that the window still holds, one by one.
                let live = match quota {
                    Quota::Rolling(layout) => {
                        let since_us = then.monotonic_us.saturating_sub(layout.window_us());
                        let live = tally.batches().into_iter().filter(|batch| batch.at_us > since_us);
                        live.map(|batch| batch.count).sum()
                    }
                    Quota::Calendar { limit, .. } => limit - tally.standing(&quota, then).remaining,
                };
                let remaining = of_both.standing(&quota, then).remaining;
                prop_assert!(
                    remaining <= quota.limit().saturating_sub(live),
                    "{remaining} of {quota:?} left, {live} used: {of_both:?}"
                );
                if remaining == 0 {
                    prop_assert!(of_both.wait_us(&quota, then).is_some());
                }
            }
        }
    }

    #[test]
    fn covering_itself_changes_little(quota in quota(), pauses in pauses()) {
        let (tally, now_us) = used(&quota, &pauses);
        if !tally.is_idle(at(now_us)) {
            let standing = tally.covering(&tally, at(now_us)).standing(&quota, at(now_us));
            let expect = tally.standing(&quota, at(now_us));
            prop_assert_eq!(standing.remaining, expect.remaining, "the most of both, not their sum");
        }
    }
}
