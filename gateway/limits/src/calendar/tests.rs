//! Where days and months begin, and what a clock that steps does to them.

use super::*;

fn wall(text: &str) -> i64 {
    text.parse::<Timestamp>().unwrap().as_microsecond()
}

fn moment(text: &str) -> Moment {
    // A monotonic clock that started with 2020, so that only tests which step the wall clock have to say more.
    let wall_us = wall(text);
    Moment {
        monotonic_us: (wall_us - wall("2020-01-01T00:00:00Z")).unsigned_abs(),
        wall_us,
    }
}

/// The monotonic clock of `at` beside the wall clock of `shown`.
fn shown(at: &str, shown: &str) -> Moment {
    Moment {
        monotonic_us: moment(at).monotonic_us,
        wall_us: wall(shown),
    }
}

fn spent(period: Period, limit: u32, at: &str) -> CalendarCount {
    let mut count = CalendarCount::new(period);
    for nth in 0..limit {
        assert_eq!(count.wait_us(limit, moment(at)), None, "{nth} of {limit}");
        count.admit(limit, moment(at));
    }
    assert!(count.wait_us(limit, moment(at)).is_some());
    count
}

#[test]
fn periods_begin_and_end_at_utc_midnight() {
    let check = |period: Period, at: &str, begins: &str, ends: &str| {
        assert_eq!(
            period.bounds_us(wall(at)),
            (wall(begins), wall(ends)),
            "{period:?} of {at}"
        );
    };
    use Period::{Day, Month};
    check(
        Day,
        "2026-11-21T10:00:00Z",
        "2026-11-21T00:00:00Z",
        "2026-11-22T00:00:00Z",
    );
    check(
        Day,
        "2026-11-21T00:00:00Z",
        "2026-11-21T00:00:00Z",
        "2026-11-22T00:00:00Z",
    );
    check(
        Day,
        "2026-11-20T23:59:59.999999Z",
        "2026-11-20T00:00:00Z",
        "2026-11-21T00:00:00Z",
    );
    check(
        Day,
        "2024-02-29T12:00:00Z",
        "2024-02-29T00:00:00Z",
        "2024-03-01T00:00:00Z",
    );
    check(
        Day,
        "1969-12-31T23:59:59Z",
        "1969-12-31T00:00:00Z",
        "1970-01-01T00:00:00Z",
    );
    check(
        Month,
        "2026-11-21T10:00:00Z",
        "2026-11-01T00:00:00Z",
        "2026-12-01T00:00:00Z",
    );
    check(
        Month,
        "2024-02-29T23:59:59Z",
        "2024-02-01T00:00:00Z",
        "2024-03-01T00:00:00Z",
    );
    check(
        Month,
        "2025-02-28T23:59:59Z",
        "2025-02-01T00:00:00Z",
        "2025-03-01T00:00:00Z",
    );
    check(
        Month,
        "2100-02-28T00:00:00Z",
        "2100-02-01T00:00:00Z",
        "2100-03-01T00:00:00Z",
    );
    check(
        Month,
        "2026-12-31T23:59:59.999999Z",
        "2026-12-01T00:00:00Z",
        "2027-01-01T00:00:00Z",
    );
    check(
        Month,
        "2027-01-01T00:00:00Z",
        "2027-01-01T00:00:00Z",
        "2027-02-01T00:00:00Z",
    );
    check(
        Month,
        "1969-12-31T23:59:59Z",
        "1969-12-01T00:00:00Z",
        "1970-01-01T00:00:00Z",
    );
}

#[test]
fn every_period_of_a_century_follows_the_one_before() {
    for period in [Period::Day, Period::Month] {
        let (_, mut ends_us) = period.bounds_us(wall("2000-01-01T00:00:00Z"));
        while ends_us < wall("2101-01-01T00:00:00Z") {
            let (begins_us, next_us) = period.bounds_us(ends_us);
            assert_eq!(begins_us, ends_us);
            assert_eq!(period.bounds_us(next_us - 1), (begins_us, next_us));
            assert!((next_us - begins_us).unsigned_abs() <= PERIOD_US_MAX);
            ends_us = next_us;
        }
    }
}

#[test]
fn a_period_admits_its_limit_and_not_one_more() {
    let check = |period: Period, at: &str, last: &str, next: &str| {
        let mut count = spent(period, 5, at);
        let ends_in_us = (wall(next) - wall(at)).unsigned_abs();
        assert_eq!(count.wait_us(5, moment(at)), Some(ends_in_us), "{at}");
        assert_eq!(
            count.standing(5, moment(at)),
            Standing {
                remaining: 0,
                grows_in_us: ends_in_us
            }
        );
        assert_eq!(count.wait_us(5, moment(last)), Some(1), "{last}");
        assert_eq!(count.wait_us(5, moment(next)), None, "{next}");
        assert_eq!(
            count.standing(5, moment(next)),
            Standing {
                remaining: 5,
                grows_in_us: 0
            }
        );
        count.admit(5, moment(next));
        assert_eq!(count.standing(5, moment(next)).remaining, 4);
    };
    use Period::{Day, Month};
    check(
        Day,
        "2026-11-21T10:00:00Z",
        "2026-11-21T23:59:59.999999Z",
        "2026-11-22T00:00:00Z",
    );
    check(
        Day,
        "2024-02-29T00:00:00Z",
        "2024-02-29T23:59:59.999999Z",
        "2024-03-01T00:00:00Z",
    );
    check(
        Day,
        "2026-12-31T23:59:59.999999Z",
        "2026-12-31T23:59:59.999999Z",
        "2027-01-01T00:00:00Z",
    );
    check(
        Month,
        "2024-02-01T00:00:00Z",
        "2024-02-29T23:59:59.999999Z",
        "2024-03-01T00:00:00Z",
    );
    check(
        Month,
        "2026-01-31T10:00:00Z",
        "2026-01-31T23:59:59.999999Z",
        "2026-02-01T00:00:00Z",
    );
    check(
        Month,
        "2026-12-05T10:00:00Z",
        "2026-12-31T23:59:59.999999Z",
        "2027-01-01T00:00:00Z",
    );
}

#[test]
fn a_wall_clock_that_steps_back_gives_nothing_back() {
    let check = |period: Period, at: &str, now: Moment| {
        let count = spent(period, 5, at);
        assert!(
            count.wait_us(5, now).is_some(),
            "{period:?} spent at {at}, asked at {now:?}"
        );
    };
    use Period::{Day, Month};
    // Within the period, across its beginning, and across it by far.
    check(
        Day,
        "2026-11-21T10:00:00Z",
        shown("2026-11-21T10:00:01Z", "2026-11-21T09:00:01Z"),
    );
    check(
        Day,
        "2026-11-21T00:10:00Z",
        shown("2026-11-21T00:10:01Z", "2026-11-20T23:10:01Z"),
    );
    check(
        Day,
        "2026-11-21T00:10:00Z",
        shown("2026-11-21T00:10:01Z", "2025-01-01T00:00:00Z"),
    );
    check(
        Month,
        "2026-11-01T00:10:00Z",
        shown("2026-11-01T00:10:01Z", "2026-10-31T23:10:01Z"),
    );
    // When it reaches the same day again, the day is still spent, however long that took.
    check(
        Day,
        "2026-11-21T23:00:00Z",
        shown("2026-11-22T23:30:00Z", "2026-11-21T23:30:00Z"),
    );
}

#[test]
fn a_wall_clock_that_steps_back_and_forward_again_admits_each_day_once() {
    let mut count = spent(Period::Day, 5, "2026-11-20T23:59:00Z");
    let midnight = moment("2026-11-21T00:00:00Z");
    for _ in 0..3 {
        assert_eq!(count.wait_us(5, midnight), None);
        count.admit(5, midnight);
    }
    let back = shown("2026-11-21T00:00:01Z", "2026-11-20T23:00:01Z");
    for _ in 0..2 {
        assert_eq!(count.wait_us(5, back), None, "the rest of the 21st is left");
        count.admit(5, back);
    }
    assert!(count.wait_us(5, back).is_some(), "the 20th is not given again");
    assert!(
        count.wait_us(5, moment("2026-11-21T12:00:00Z")).is_some(),
        "nor is the 21st"
    );
    assert_eq!(count.wait_us(5, moment("2026-11-22T00:00:00Z")), None);
}

#[test]
fn a_wall_clock_that_once_ran_ahead_blocks_no_longer_than_its_period() {
    let mut count = CalendarCount::new(Period::Day);
    let ahead = shown("2026-11-21T10:00:00Z", "2099-01-01T09:00:00Z");
    for _ in 0..5 {
        count.admit(5, ahead);
    }
    let right = moment("2026-11-21T10:00:01Z");
    let wait_us = count.wait_us(5, right).unwrap();
    assert_eq!(
        wait_us,
        15 * 3_600 * 1_000_000 - 1_000_000,
        "15 h were left of that day"
    );
    assert!(count.wait_us(5, moment("2026-11-22T00:59:59.999999Z")).is_some());
    assert_eq!(count.wait_us(5, moment("2026-11-22T01:00:00Z")), None);
}

#[test]
fn a_fresh_count_does_not_go_back_behind_what_was_forgotten() {
    let floor = moment("2026-11-21T00:00:05Z");
    let mut count = CalendarCount::entered(Period::Day, floor);
    let back = shown("2026-11-21T00:00:06Z", "2026-11-20T23:00:06Z");
    assert_eq!(
        count.standing(5, back),
        Standing {
            remaining: 5,
            grows_in_us: 0
        }
    );
    for _ in 0..5 {
        count.admit(5, back);
    }
    assert!(
        count.wait_us(5, moment("2026-11-21T12:00:00Z")).is_some(),
        "it counted for the 21st"
    );
}

#[test]
fn a_late_clock_does_not_take_an_edited_rule_back_to_the_day_before() {
    // What was admitted after midnight was once counted for the day that a late clock still showed, and then again.
    let newest = Batch {
        at_us: moment("2026-11-21T00:00:05Z").monotonic_us,
        count: 3,
    };
    let late = moment("2026-11-20T23:59:58Z");
    let count = CalendarCount::replay(Period::Day, &Batches::from_slice(&[newest]), late);
    let wait_us = 24 * 3_600 * 1_000_000 + 2_000_000;
    assert_eq!(count.wait_us(3, late), Some(wait_us));
    let again = |by_us: u64| {
        let now = Moment {
            monotonic_us: late.monotonic_us + by_us,
            wall_us: late.wall_us.saturating_add_unsigned(by_us),
        };
        CalendarCount::replay(Period::Day, &Batches::from_slice(&[newest]), now).wait_us(3, now)
    };
    assert_eq!(again(wait_us - 1), Some(1));
    assert_eq!(again(wait_us), None);
}

#[test]
fn years_outside_the_calendar_are_limited_too() {
    for wall_us in [i64::MIN, i64::MAX] {
        for period in [Period::Day, Period::Month] {
            let now = Moment {
                monotonic_us: 5,
                wall_us,
            };
            let mut count = CalendarCount::new(period);
            count.admit(5, now);
            let (begins_us, ends_us) = period.bounds_us(wall_us);
            assert!(begins_us <= wall_us && wall_us <= ends_us, "{period:?} at {wall_us}");
            assert!(count.lapses_us <= 5 + PERIOD_US_MAX);
        }
    }
}
