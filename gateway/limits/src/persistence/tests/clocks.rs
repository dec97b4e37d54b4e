//! Another boot: saved times are carried over by the wall clock, and no admission gets any earlier.

use super::*;

/// Waits and rests of everybody after a restart, beside those of a table that ran on.
///
/// `apart_us` is how far a stamp may get later; nothing may get earlier.
fn check(restarted: Moment, elapsed_us: u64, apart_us: u64) {
    let table = CounterTable::new(1_000);
    // A lap and a half of most limits, so that groups are in use all round.
    let mut now = noon();
    for step in 0..60 {
        now = after(noon(), step * (HOUR / 8 + 1_234_567));
        for rule in rules() {
            for owner in 0..3 {
                rule.charge(&table, owner, now);
            }
        }
    }
    let bytes = saved(&table, THIS_BOOT, now);
    let (again, taken) = restored(&bytes, 1_000, NEXT_BOOT, restarted).unwrap();
    assert_eq!(taken.elapsed_us, elapsed_us);
    let ran_on = after(now, elapsed_us);
    for later_us in [0, 1, SECOND, HOUR, 12 * HOUR + 77, DAY, 20 * DAY] {
        for rule in rules() {
            // What a wall clock that stepped says of calendars is told elsewhere.
            let is_calendar = matches!(rule.quota, Quota::Calendar { .. });
            if is_calendar && restarted.wall_us != ran_on.wall_us {
                continue;
            }
            for owner in 0..3 {
                let expect = rule.wait_us(&table, owner, after(ran_on, later_us)).unwrap_or(0);
                let found = rule.wait_us(&again, owner, after(restarted, later_us)).unwrap_or(0);
                assert!(
                    (expect..=expect + apart_us).contains(&found),
                    "{rule:?} {owner} after {later_us}: {found}, not {expect}"
                );
                let expect = rule.remaining(&table, owner, after(ran_on, later_us));
                let found = rule.remaining(&again, owner, after(restarted, later_us));
                assert!(
                    found <= expect,
                    "{rule:?} {owner} after {later_us}: {found} of {expect}"
                );
            }
        }
    }
}

/// When [`check`] saves.
fn saved_at() -> Moment {
    after(noon(), 59 * (HOUR / 8 + 1_234_567))
}

#[test]
fn after_a_reboot_the_wall_clock_tells_how_much_time_passed() {
    // Clocks of this program start a hundred days on, whatever the kernel's show.
    for uptime_us in [100 * DAY, 100 * DAY + 12_345_678_901, 399 * DAY + 1, 800 * DAY + 3] {
        for away_us in [0, 1, 30 * SECOND, 90 * 60 * SECOND, 26 * HOUR, 45 * DAY] {
            let restarted = Moment {
                monotonic_us: uptime_us,
                ..after(saved_at(), away_us)
            };
            check(restarted, away_us, 4_096);
        }
    }
}

#[test]
fn a_wall_clock_that_went_back_counts_as_no_time() {
    for back_us in [1, i64::try_from(HOUR).unwrap(), saved_at().wall_us] {
        let restarted = Moment {
            monotonic_us: 100 * DAY,
            wall_us: saved_at().wall_us - back_us,
        };
        check(restarted, 0, 4_096);
    }
}

#[test]
fn a_clock_too_young_for_what_was_counted_lets_it_count_for_longer() {
    for uptime_us in [0, 1, 5 * SECOND, DAY] {
        let restarted = Moment {
            monotonic_us: uptime_us,
            ..after(saved_at(), HOUR)
        };
        check(restarted, HOUR, 31 * DAY);
    }
}

#[test]
fn a_clock_that_is_behind_its_own_saving_is_another() {
    let table = spent(100, noon());
    let bytes = saved(&table, THIS_BOOT, noon());
    let now = Moment {
        monotonic_us: noon().monotonic_us - 1,
        ..after(noon(), HOUR)
    };
    let (_, taken) = restored(&bytes, 100, THIS_BOOT, now).unwrap();
    assert_eq!(taken.elapsed_us, HOUR);
}

#[test]
fn calendar_periods_neither_come_back_nor_last_longer() {
    let rule = Rule {
        number: 9,
        mode: Mode::PerKey,
        quota: calendar(2, Period::Day),
    };
    let table = CounterTable::new(10);
    while rule.charge(&table, 1, noon()) {}
    let bytes = saved(&table, THIS_BOOT, noon());
    let at = |wall_us: i64, uptime_us: u64| Moment {
        monotonic_us: 100 * DAY + uptime_us,
        wall_us: noon().wall_us + wall_us,
    };
    let half_a_day = i64::try_from(DAY / 2).unwrap();
    let remaining = |now: Moment, later: Moment| {
        let (again, _) = restored(&bytes, 10, NEXT_BOOT, now).unwrap();
        rule.remaining(&again, 1, later)
    };
    assert_eq!(remaining(at(5, 0), at(6, 1)), 0, "the same day");
    assert_eq!(remaining(at(half_a_day, 0), at(half_a_day, 0)), 2, "the next day");
    let years = -100 * half_a_day;
    assert_eq!(remaining(at(years, 0), at(years, 0)), 0, "a clock without a battery");
    assert_eq!(remaining(at(years, 0), at(5, SECOND)), 0, "until it is set");
    assert_eq!(remaining(at(years, 0), at(half_a_day, SECOND)), 2);
    assert_eq!(
        remaining(at(years, 0), at(years + half_a_day, DAY / 2)),
        2,
        "if it never is"
    );
}

#[test]
fn what_was_forgotten_stays_forgotten_for_a_late_clock() {
    // A day's count is over at midnight and is left out; then the wall clock steps back before midnight.
    let rule = Rule {
        number: 9,
        mode: Mode::PerKey,
        quota: calendar(2, Period::Day),
    };
    let table = CounterTable::new(10);
    while rule.charge(&table, 1, noon()) {}
    let midnight = after(noon(), DAY / 2);
    let back = Moment {
        monotonic_us: midnight.monotonic_us + SECOND,
        wall_us: midnight.wall_us - 1,
    };
    let left_out_when_saved = saved(&table, THIS_BOOT, midnight);
    let left_out_when_restored = saved(&table, THIS_BOOT, noon());
    // And one that the table itself had forgotten before.
    for _ in 0..SWEEPS_PER_ROUND {
        table.sweep(midnight);
    }
    assert_eq!(table.counters(), 0);
    let swept = saved(&table, THIS_BOOT, midnight);
    for bytes in [left_out_when_saved, left_out_when_restored, swept] {
        let (again, taken) = restored(&bytes, 10, THIS_BOOT, midnight).unwrap();
        assert_eq!((again.counters(), taken.counters), (0, 0));
        // The new day's requests, not the old day's once more.
        assert_eq!(rule.remaining(&again, 1, back), 2);
        while rule.charge(&again, 1, back) {}
        assert_eq!(
            rule.remaining(&again, 1, midnight),
            0,
            "the day that has begun is spent"
        );
        assert_eq!(rule.remaining(&again, 1, after(midnight, DAY)), 2);
    }

    // A request that read the clock before the restart.
    let rule = Rule {
        quota: rolling(1, HOUR),
        ..rule
    };
    let table = CounterTable::new(10);
    assert!(rule.charge(&table, 1, noon()));
    let restarted = after(noon(), HOUR + SECOND);
    let (again, taken) = restored(&saved(&table, THIS_BOOT, noon()), 10, THIS_BOOT, restarted).unwrap();
    assert_eq!(taken.passed, 1);
    assert!(rule.charge(&again, 1, after(noon(), HOUR - SECOND)));
    assert_eq!(rule.wait_us(&again, 1, restarted), Some(HOUR));
}
