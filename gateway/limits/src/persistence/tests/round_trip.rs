//! The same process started again: every counter goes on as if nothing had happened.

use super::*;
use proptest::prelude::*;

/// Which rule, who, and how long after the one before.
type Arrivals = Vec<(usize, u32, u64)>;

fn arrivals() -> impl Strategy<Value = Arrivals> {
    let pause = prop_oneof![3 => Just(0), 3 => 0..SECOND, 2 => 0..HOUR, 1 => 0..3 * DAY];
    prop::collection::vec((0..rules().len(), 0_u32..12, pause), 1..300)
}

fn charged(table: &CounterTable, arrivals: &Arrivals, mut now: Moment) -> Moment {
    for &(rule, owner, pause_us) in arrivals {
        now = after(now, pause_us);
        rules()[rule].charge(table, owner, now);
    }
    now
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn what_is_restored_is_what_was_saved(
        arrivals in arrivals(),
        own_max in prop_oneof![Just(0_usize), Just(9), Just(1_000)],
    ) {
        let table = CounterTable::new(own_max);
        let now = charged(&table, &arrivals, noon());
        let (again, taken) = restored(&saved(&table, THIS_BOOT, now), own_max, THIS_BOOT, now).unwrap();
        prop_assert_eq!(again.hasher(), table.hasher());
        prop_assert_eq!(contents(&again, now), contents(&table, now));
        let counters = contents(&table, now).iter().map(Vec::len).sum::<usize>();
        prop_assert_eq!(again.counters(), u64::try_from(counters).unwrap());
        prop_assert_eq!(taken, Taken { counters: again.counters(), ..Taken::default() });
    }

    #[test]
    fn a_restored_table_answers_like_one_that_ran_on(
        before in arrivals(),
        away_us in prop_oneof![0..SECOND, 0..2 * HOUR, 0..40 * DAY],
        afterwards in arrivals(),
    ) {
        let table = CounterTable::new(1_000);
        let mut now = charged(&table, &before, noon());
        let bytes = saved(&table, THIS_BOOT, now);
        now = after(now, away_us);
        let (again, taken) = restored(&bytes, 1_000, THIS_BOOT, now).unwrap();
        prop_assert_eq!(taken.elapsed_us, away_us);
        for (rule, owner, pause_us) in afterwards {
            now = after(now, pause_us);
            let rule = rules()[rule];
            prop_assert_eq!(rule.wait_us(&again, owner, now), rule.wait_us(&table, owner, now));
            prop_assert_eq!(rule.remaining(&again, owner, now), rule.remaining(&table, owner, now));
            prop_assert_eq!(rule.charge(&again, owner, now), rule.charge(&table, owner, now));
        }
    }

    /// Those that are too many share, and nobody of them gets back anything that was used.
    #[test]
    fn a_smaller_table_forgets_nothing(arrivals in arrivals(), own_max in 0_usize..8) {
        let table = CounterTable::new(1_000);
        let now = charged(&table, &arrivals, noon());
        let own = table.counters();
        let (smaller, taken) = restored(&saved(&table, THIS_BOOT, now), own_max, THIS_BOOT, now).unwrap();
        let held: usize = contents(&table, now).iter().map(Vec::len).sum();
        prop_assert_eq!(taken.counters + taken.shared, u64::try_from(held).unwrap());
        prop_assert!(smaller.counters() <= own);
        for later_us in [0, SECOND, HOUR, DAY] {
            let at = after(now, later_us);
            for (rule, owner) in rules().iter().flat_map(|rule| (0..12).map(move |owner| (rule, owner))) {
                let (left, before) = (rule.remaining(&smaller, owner, at), rule.remaining(&table, owner, at));
                prop_assert!(left <= before, "{rule:?} {owner}: {left} of {before} after {later_us}");
            }
        }
        // A table that has room again goes on alone, from what the shared counter knew.
        for (rule, owner) in rules().iter().flat_map(|rule| (0..12).map(move |owner| (rule, owner))) {
            let left = rule.remaining(&smaller, owner, now);
            prop_assert_eq!(rule.charge(&smaller, owner, now), left > 0);
        }
    }
}

#[test]
fn only_long_windows_that_are_not_idle_are_saved() {
    let check = |quota: Quota, at: Moment, is_saved: bool| {
        let table = CounterTable::new(10);
        let rule = Rule {
            number: 9,
            mode: Mode::PerKey,
            quota,
        };
        assert!(rule.charge(&table, 1, noon()));
        let counters = save(&table, THIS_BOOT, at, &mut Vec::new()).unwrap();
        assert_eq!(counters, u64::from(is_saved), "{quota:?}");
    };
    check(rolling(10, HOUR), noon(), true);
    check(rolling(10, HOUR), after(noon(), HOUR - 8), true);
    check(rolling(10, HOUR), after(noon(), HOUR + 8), false);
    check(rolling(10, HOUR - 1_000), noon(), false);
    check(rolling(10, 60 * SECOND), noon(), false);
    check(rolling(10, 30 * DAY), after(noon(), 29 * DAY), true);
    check(calendar(10, Period::Day), after(noon(), 12 * HOUR - 1), true);
    check(calendar(10, Period::Day), after(noon(), 12 * HOUR), false);
    check(calendar(10, Period::Month), after(noon(), 12 * HOUR), true);
}

#[test]
fn shared_counters_go_on_covering_the_same_subjects() {
    let table = spent(0, noon());
    let shared = table.counters();
    let (again, taken) = restored(&saved(&table, THIS_BOOT, noon()), 0, THIS_BOOT, noon()).unwrap();
    assert_eq!((again.counters(), taken.counters, taken.shared), (shared, shared, 0));
    for rule in rules() {
        for owner in 0..200 {
            let expect = rule.wait_us(&table, owner, noon());
            assert_eq!(rule.wait_us(&again, owner, noon()), expect, "{rule:?} {owner}");
        }
    }
    // They are forgotten like any other, and counted as such.
    for _ in 0..SWEEPS_PER_ROUND {
        again.sweep(after(noon(), 60 * DAY));
    }
    assert_eq!((again.counters(), again.evicted()), (0, shared));
}

#[test]
fn a_rule_that_was_edited_meanwhile_keeps_what_was_used() {
    let check = |from: Quota, to: Quota, used: u32, remaining: u32| {
        let table = CounterTable::new(10);
        let mut rule = Rule {
            number: 9,
            mode: Mode::PerApp,
            quota: from,
        };
        for _ in 0..used {
            assert!(rule.charge(&table, 1, noon()));
        }
        let now = after(noon(), SECOND);
        let (again, _) = restored(&saved(&table, THIS_BOOT, now), 10, THIS_BOOT, now).unwrap();
        rule.quota = to;
        assert_eq!(rule.remaining(&again, 1, now), remaining, "{from:?} to {to:?}");
        assert_eq!(rule.charge(&again, 1, now), remaining > 0, "{from:?} to {to:?}");
        assert_eq!(rule.remaining(&again, 1, now), remaining.saturating_sub(1));
    };
    check(rolling(10, DAY), rolling(20, DAY), 6, 14);
    check(rolling(10, DAY), rolling(5, DAY), 6, 0);
    check(rolling(10, DAY), rolling(10, 60 * SECOND), 6, 4);
    check(rolling(10, DAY), rolling(10, SECOND / 2), 6, 10);
    check(rolling(10, DAY), rolling(10, 2 * DAY), 6, 4);
    check(rolling(10, DAY), calendar(10, Period::Month), 6, 4);
    check(calendar(10, Period::Day), rolling(10, DAY), 6, 4);
    check(calendar(10, Period::Day), calendar(7, Period::Month), 6, 1);
}
