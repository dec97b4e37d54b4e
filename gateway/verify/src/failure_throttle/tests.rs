use super::*;
use crate::{ManualClock, Moment};

const SETTINGS: FailureSettings = FailureSettings {
    burst: 50,
    per_minute: 60,
    addresses_max: 100,
};

fn throttle(settings: FailureSettings) -> (FailureThrottle, ManualClock) {
    let (clock, hand) = Clock::manual(Moment {
        monotonic_us: 5_000_000,
        wall_us: 0,
    });
    (FailureThrottle::new(settings, clock), hand)
}

fn address(text: &str) -> Option<IpAddr> {
    Some(text.parse().unwrap())
}

fn fail(throttle: &FailureThrottle, address: Option<IpAddr>, times: u32) {
    for _ in 0..times {
        throttle.record_failure(address);
    }
}

#[test]
fn a_burst_passes_and_the_next_waits_exactly() {
    let (throttle, hand) = throttle(SETTINGS);
    let client = address("192.0.2.1");
    for _ in 0..50 {
        assert_eq!(throttle.check(client), Ok(()));
        throttle.record_failure(client);
    }
    assert_eq!(throttle.check(client), Err(1_000_000));
    hand.advance_us(999_999);
    assert_eq!(throttle.check(client), Err(1));
    hand.advance_us(1);
    assert_eq!(throttle.check(client), Ok(()));
    throttle.record_failure(client);
    assert_eq!(throttle.check(client), Err(1_000_000));
    hand.advance_us(60 * 1_000_000);
    fail(&throttle, client, 50);
    assert!(throttle.check(client).is_err());
}

#[test]
fn asking_spends_nothing() {
    let (throttle, _hand) = throttle(SETTINGS);
    for _ in 0..10_000 {
        assert_eq!(throttle.check(address("192.0.2.1")), Ok(()));
    }
    assert_eq!(throttle.addresses(), 0);
    fail(&throttle, address("192.0.2.1"), 49);
    for _ in 0..10_000 {
        assert_eq!(throttle.check(address("192.0.2.1")), Ok(()));
    }
}

#[test]
fn failures_that_were_under_way_lengthen_nothing() {
    let (throttle, _hand) = throttle(SETTINGS);
    fail(&throttle, address("192.0.2.1"), 5_000);
    assert_eq!(throttle.check(address("192.0.2.1")), Err(1_000_000));
}

#[test]
fn who_is_counted_together() {
    #[track_caller]
    fn check(failing: &str, asking: &str, is_same: bool) {
        let (throttle, _hand) = throttle(SETTINGS);
        fail(&throttle, address(failing), 50);
        assert_eq!(throttle.check(address(asking)).is_err(), is_same, "{failing} {asking}");
    }
    check("192.0.2.1", "192.0.2.1", true);
    check("192.0.2.1", "192.0.2.2", false);
    check("192.0.2.1", "::ffff:192.0.2.1", true);
    check("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff", true);
    check("2001:db8:1:2::1", "2001:db8:1:3::1", false);
}

#[test]
fn an_unknown_address_is_never_throttled() {
    let (throttle, _hand) = throttle(SETTINGS);
    fail(&throttle, None, 1_000);
    assert_eq!(throttle.check(None), Ok(()));
    assert_eq!(throttle.addresses(), 0);
}

#[test]
fn memory_is_bounded_and_overflow_stays_throttled() {
    let (throttle, hand) = throttle(SETTINGS);
    let client = |index: u32| Some(IpAddr::from(index.to_be_bytes()));
    for index in 0..100_000 {
        throttle.record_failure(client(index));
    }
    assert_eq!(throttle.addresses(), 100);
    let late = client(200_000);
    fail(&throttle, late, 50);
    assert!(
        throttle.check(late).is_err(),
        "an address without an entry of its own is throttled too"
    );
    assert_eq!(
        throttle.check(client(5)),
        Ok(()),
        "an address with an entry is not disturbed by the others"
    );

    hand.advance_us(3_600 * 1_000_000);
    throttle.sweep();
    assert_eq!(throttle.addresses(), 0);
    assert_eq!(throttle.check(late), Ok(()));
    throttle.record_failure(late);
    assert_eq!(throttle.addresses(), 1);
}

#[test]
fn sweeping_forgets_no_failure_that_counts() {
    let (throttle, hand) = throttle(SETTINGS);
    let client = address("192.0.2.1");
    fail(&throttle, client, 50);
    for _ in 0..10 {
        hand.advance_us(99_999);
        throttle.sweep();
    }
    assert_eq!(throttle.check(client), Err(10));
    hand.advance_us(120 * 1_000_000);
    throttle.sweep();
    assert_eq!(throttle.addresses(), 0);
}

#[test]
fn settings_out_of_bounds_go_to_the_nearest() {
    for (burst, per_minute, admitted) in [(0, 0, 1), (1, 1, 1), (u32::MAX, u32::MAX, 1_000)] {
        let (throttle, _hand) = throttle(FailureSettings {
            burst,
            per_minute,
            addresses_max: 0,
        });
        for _ in 0..admitted {
            assert_eq!(throttle.check(address("192.0.2.1")), Ok(()));
            throttle.record_failure(address("192.0.2.1"));
        }
        assert_eq!(throttle.addresses(), 0);
    }
    let (throttle, _hand) = throttle(FailureSettings {
        burst: u32::MAX,
        per_minute: 0,
        addresses_max: 1,
    });
    fail(&throttle, address("192.0.2.1"), 1_000_000);
    assert_eq!(throttle.check(address("192.0.2.1")), Err(60_000_000));
}

#[test]
fn concurrent_failures_are_all_counted() {
    let (throttle, _hand) = throttle(SETTINGS);
    std::thread::scope(|scope| {
        for _ in 0..7 {
            scope.spawn(|| fail(&throttle, address("192.0.2.1"), 7));
        }
    });
    assert_eq!(throttle.check(address("192.0.2.1")), Ok(()));
    throttle.record_failure(address("192.0.2.1"));
    assert!(throttle.check(address("192.0.2.1")).is_err());
}
