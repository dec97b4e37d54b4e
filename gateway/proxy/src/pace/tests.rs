use super::*;

const START: Moment = Moment {
    monotonic_us: 7_000_000,
    wall_us: 0,
};

fn check(rate_min: u64, after_ms: u64, bytes: u64, is_kept: bool) {
    let pace = Pace {
        patience: Duration::from_secs(30),
        rate_min,
    };
    let now = Moment {
        monotonic_us: START.monotonic_us + after_ms * 1_000,
        ..START
    };
    assert_eq!(
        pace.is_kept(START, bytes, now),
        is_kept,
        "{bytes} bytes in {after_ms} ms at {rate_min} B/s"
    );
}

#[test]
fn a_body_may_be_late_by_its_patience_and_no_more() {
    check(240, 0, 0, true);
    check(240, 30_000, 0, true);
    check(240, 31_000, 239, false);
    check(240, 31_000, 240, true);
    // A byte every 29 s: two silences that are each allowed, and together are not.
    check(240, 29_000, 1, true);
    check(240, 58_000, 2, false);
    // An honest crawl may go on for ever.
    check(240, 3_600_000, 3_600 * 240, true);
}

#[test]
fn without_a_rate_every_pace_will_do() {
    check(0, 86_400_000, 1, true);
}

#[test]
fn the_greatest_settings_do_not_overflow() {
    check(u64::MAX, u64::MAX / 1_000_000, u64::MAX, false);
}
