use super::*;

const LEASE: Duration = Duration::from_secs(10);

fn at(seconds: u64) -> (Moment, Timestamp) {
    let monotonic_us = seconds * 1_000_000;
    let moment = Moment {
        monotonic_us,
        wall_us: i64::try_from(monotonic_us).unwrap(),
    };
    (moment, Timestamp::from_microsecond(moment.wall_us).unwrap())
}

/// Welcomed at second 100; trusts what it holds for 30 s.
fn live() -> Live {
    let hello = Hello {
        gateway_id: "0".repeat(32),
        name: "edge".to_owned(),
        version: "1".to_owned(),
        stale_max_ms: 30_000,
        serves_stale: false,
        applied: None,
    };
    Live::new(DeploymentId(1), 1, IpAddr::from([127, 0, 0, 1]), &hello, at(100))
}

/// A look at the registry before the row was there must be followed by a read of the log that covers it.
#[test]
fn a_ping_is_answered_out_of_a_read_after_the_row_was_written() {
    let live = live();
    assert!(!live.may_answer(5, at(100).0), "there is no row yet");
    live.row("c", at(100), LEASE);
    live.written(at(100).0, 7, LEASE, at(101).0);
    assert!(!live.may_answer(7, at(101).0), "that read may be older than the row");
    assert!(live.may_answer(8, at(101).0));
    // Renewed in time: nobody can have missed it.
    live.written(at(108).0, 20, LEASE, at(109).0);
    assert!(live.may_answer(9, at(117).0));
    assert!(!live.may_answer(21, at(118).0), "the lease is over");
    // Renewed too late: as if it were new.
    live.written(at(120).0, 30, LEASE, at(121).0);
    assert!(!live.may_answer(30, at(121).0) && live.may_answer(31, at(121).0));
}

#[test]
fn a_row_counts_for_as_long_as_answers_may_be_trusted() {
    let until = |row: GatewayRow| row.counts_until.as_second();
    let live = live();
    assert_eq!(until(live.row("c", at(105), LEASE)), 145, "the lease, then stale_max");
    live.answered(at(110).0);
    assert_eq!(until(live.row("c", at(112), LEASE)), 152);
    live.leave();
    assert_eq!(
        until(live.row("c", at(115), LEASE)),
        140,
        "its last answer, then stale_max"
    );
    assert_eq!(until(live.row("c", at(200), LEASE)), 140, "also when that is long ago");
    assert!(!live.is_over(at(140).0), "the store was not told that it is gone");
    live.written(at(200).0, 7, LEASE, at(201).0);
    assert!(!live.is_over(at(139).0) && live.is_over(at(140).0));
}

/// What it was told by the control process before this one was told before it came here.
#[test]
fn who_was_never_answered_here_is_trusted_to_have_been_answered_elsewhere() {
    let live = live();
    live.leave();
    assert_eq!(live.row("c", at(101), LEASE).counts_until.as_second(), 130);
    assert!(!live.row("c", at(101), LEASE).is_connected);
}
