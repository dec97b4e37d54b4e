//! What an edit of a rule does to what was used under it.

use super::*;
use crate::calendar::Period;
use crate::layout::Layout;

const SECOND: u64 = 1_000_000;
const HOUR: u64 = 3_600 * SECOND;
const DAY: u64 = 24 * HOUR;

/// The 12th day of the month, at noon, half a year after the monotonic clock started.
fn noon() -> Moment {
    let wall_us: i64 = "2026-11-12T12:00:00Z"
        .parse::<jiff::Timestamp>()
        .unwrap()
        .as_microsecond();
    Moment {
        monotonic_us: 180 * DAY,
        wall_us,
    }
}

fn later(by_us: u64) -> Moment {
    let noon = noon();
    Moment {
        monotonic_us: noon.monotonic_us + by_us,
        wall_us: noon.wall_us + i64::try_from(by_us).unwrap(),
    }
}

fn rolling(limit: u32, window_us: u64) -> Quota {
    Quota::Rolling(Layout::new(limit, window_us))
}

fn day(limit: u32) -> Quota {
    Quota::Calendar {
        period: Period::Day,
        limit,
    }
}

fn month(limit: u32) -> Quota {
    Quota::Calendar {
        period: Period::Month,
        limit,
    }
}

fn used(quota: &Quota, count: u32) -> Tally {
    let mut tally = Tally::fresh(quota, &Floor::default());
    for _ in 0..count {
        assert_eq!(tally.wait_us(quota, noon()), None);
        tally.admit(quota, noon());
    }
    tally
}

#[test]
fn what_was_used_stays_used_across_an_edit() {
    let check = |from: Quota, to: Quota, after_us: u64, remaining: u32| {
        let tally = used(&from, 6);
        let now = later(after_us);
        let before = tally;
        assert_eq!(
            tally.standing(&to, now).remaining,
            remaining,
            "{from:?} to {to:?} after {after_us}"
        );
        assert_eq!(
            tally.wait_us(&to, now).is_none(),
            remaining > 0,
            "{from:?} to {to:?} after {after_us}"
        );
        assert_eq!(tally, before, "looking changes nothing");
        if remaining > 0 {
            let mut charged = tally;
            charged.admit(&to, now);
            assert_eq!(
                charged.standing(&to, now).remaining,
                remaining - 1,
                "{from:?} to {to:?} after {after_us}"
            );
        }
    };
    // Raise, lower, longer, shorter.
    check(rolling(10, HOUR), rolling(20, HOUR), SECOND, 14);
    check(rolling(10, HOUR), rolling(7, HOUR), SECOND, 1);
    check(rolling(10, HOUR), rolling(5, HOUR), SECOND, 0);
    check(rolling(10, HOUR), rolling(10, 2 * HOUR), HOUR + SECOND, 4);
    check(rolling(10, HOUR), rolling(10, SECOND), SECOND / 2, 4);
    check(rolling(10, HOUR), rolling(10, SECOND), SECOND, 10);
    // Calendar periods.
    check(day(10), day(20), SECOND, 14);
    check(day(10), day(3), SECOND, 0);
    check(day(10), day(3), 12 * HOUR, 3);
    check(day(10), month(10), SECOND, 4);
    check(day(10), month(10), DAY, 4);
    check(month(10), day(10), SECOND, 4);
    check(month(10), day(10), DAY, 10);
    // Between the two kinds.
    check(rolling(10, HOUR), day(10), SECOND, 4);
    check(rolling(10, 30 * DAY), day(10), 12 * HOUR - 1, 4);
    check(rolling(10, 30 * DAY), day(10), 13 * HOUR, 10);
    check(rolling(10, 30 * DAY), month(10), 13 * HOUR, 4);
    check(day(10), rolling(10, HOUR), SECOND, 4);
    check(day(10), rolling(10, HOUR), HOUR, 10);
    check(month(10), rolling(10, 30 * DAY), 25 * DAY, 4);
}

#[test]
fn an_edit_there_and_back_without_an_admission_changes_nothing() {
    let (wide, narrow) = (rolling(100, HOUR), rolling(10, HOUR));
    let tally = used(&wide, 80);
    assert!(tally.wait_us(&narrow, later(SECOND)).is_some());
    assert_eq!(tally.standing(&wide, later(SECOND)).remaining, 20);
}

#[test]
fn an_edited_rule_admits_exactly_when_it_promised() {
    let check = |from: Quota, to: Quota| {
        let tally = used(&from, 6);
        let now = later(SECOND);
        let wait_us = tally.wait_us(&to, now).unwrap();
        assert_eq!(tally.wait_us(&to, later(SECOND + wait_us)), None, "{from:?} to {to:?}");
        assert_eq!(
            tally.wait_us(&to, later(SECOND + wait_us - 1)),
            Some(1),
            "{from:?} to {to:?}"
        );
    };
    check(rolling(10, HOUR), rolling(6, HOUR));
    check(rolling(10, HOUR), rolling(3, 2 * HOUR));
    check(rolling(1_000, DAY), rolling(2, 30 * DAY));
    check(rolling(10, HOUR), day(6));
    check(rolling(10, HOUR), month(2));
    check(day(6), rolling(6, DAY));
    check(day(6), rolling(6, SECOND * 2));
    check(month(6), day(6));
}

#[test]
fn a_retry_under_an_edited_rule_is_exact_where_groups_hold_admissions_of_different_times() {
    // The wait was once taken from the replayed group, whose latest admission leaves after its earliest.
    let check = |from: (u32, u64), to: (u32, u64), gap_us: u64| {
        let (from, to) = (rolling(from.0, from.1), rolling(to.0, to.1));
        let mut tally = Tally::fresh(&from, &Floor::default());
        for nth in 0..from.limit() {
            tally.admit(&from, later(u64::from(nth) * gap_us));
        }
        let newest_us = u64::from(from.limit() - 1) * gap_us;
        let mut now_us = newest_us;
        loop {
            let standing = tally.standing(&to, later(now_us));
            if standing.grows_in_us == 0 {
                assert_eq!(standing.remaining, to.limit());
                return;
            }
            let wait_us = tally.wait_us(&to, later(now_us));
            assert_eq!(wait_us, (standing.remaining == 0).then_some(standing.grows_in_us));
            now_us += standing.grows_in_us;
            let grown = tally.standing(&to, later(now_us)).remaining;
            assert!(grown > standing.remaining, "{from:?} to {to:?} after {now_us}");
            let before = tally.standing(&to, later(now_us - 1)).remaining;
            assert_eq!(before, standing.remaining, "{from:?} to {to:?} after {now_us}");
        }
    };
    check((100, HOUR), (50, HOUR), SECOND);
    check((100, HOUR), (50, 2 * HOUR), SECOND);
    check((1_000, HOUR), (100, 30 * DAY), 3 * SECOND);
    check((17, 60 * SECOND), (100, HOUR), SECOND);
    check((33, HOUR), (20, HOUR / 2), 7 * SECOND);
}

#[test]
fn a_tally_is_idle_when_its_window_or_period_is_over() {
    let check = |quota: Quota, over_us: u64| {
        let tally = used(&quota, 3);
        assert!(!tally.is_idle(later(over_us - 1)), "{quota:?}");
        assert!(tally.is_idle(later(over_us)), "{quota:?}");
        assert!(Tally::fresh(&quota, &Floor::default()).is_idle(noon()), "{quota:?}");
    };
    check(rolling(10, HOUR), HOUR);
    check(rolling(1_000, 1_000), 1_000);
    check(day(10), 12 * HOUR);
    check(month(10), 18 * DAY + 12 * HOUR);
}

#[test]
fn a_floor_only_rises() {
    let mut floor = Floor::default();
    let rolling = used(&rolling(1, HOUR), 1);
    let calendar = used(&day(1), 1);
    floor.raise(&rolling, later(HOUR));
    floor.raise(&rolling, later(2));
    assert_eq!((floor.rolling_us, floor.calendar), (later(HOUR).monotonic_us, None));
    floor.raise(&calendar, later(DAY));
    let stepped_back = Moment {
        monotonic_us: later(DAY + 1).monotonic_us,
        wall_us: noon().wall_us,
    };
    floor.raise(&calendar, stepped_back);
    assert_eq!(floor.calendar, Some(later(DAY)));
    let much_later = Moment {
        monotonic_us: later(DAY + PERIOD_US_MAX).monotonic_us,
        wall_us: noon().wall_us,
    };
    floor.raise(&calendar, much_later);
    assert_eq!(floor.calendar, Some(much_later));
}
