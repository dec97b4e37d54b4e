use super::*;

fn check(answered: u32, left: u32, is_too_much: bool) {
    let streams = Streams::default();
    for _ in 0..answered {
        assert!(!streams.one_ended(false), "an answered stream is no fault");
    }
    let mut over = false;
    for _ in 0..left {
        over |= streams.one_ended(true);
    }
    assert_eq!(over, is_too_much, "{answered} answered, {left} left");
}

#[test]
fn a_client_may_leave_some_streams_or_a_share_of_them() {
    check(0, LEFT_MAX, false);
    check(0, LEFT_MAX + 1, true);
    // Deadlines and hedged requests of a busy client.
    check(10_000, 5_000, false);
    check(LEFT_MAX, LEFT_MAX, false);
    check(1_000, 1_100, true);
}
