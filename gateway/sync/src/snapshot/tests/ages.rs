//! How old what was saved is, whatever the clocks did in between.

use super::super::boot::Boot;
use super::super::entry::FreshAt;
use super::super::loading::age_us;
use super::*;

const HOUR: i64 = 3_600_000_000;
const HERE: Boot = Boot([1; 32]);
const EARLIER: Boot = Boot([2; 32]);
const NAMELESS: Boot = Boot([0; 32]);
/// The machine's clock when it has just started.
const HEAD_START: u64 = 100 * 24 * 3_600 * 1_000_000;

#[test]
fn ages() {
    #[track_caller]
    fn check(boot: Boot, fresh: (u64, i64), now: (u64, i64), expected: (Option<u64>, Measured)) {
        let moment = |(monotonic_us, wall_us)| Moment { monotonic_us, wall_us };
        let fresh = FreshAt {
            version: at(1),
            boot,
            time: moment(fresh),
        };
        assert_eq!(age_us(Some(&fresh), HERE, moment(now)), expected);
    }
    use Measured::{BootClock, NotAtAll, WallClock};
    // The clock that nobody sets decides, whatever the other says.
    check(HERE, (1_000, 0), (1_500, 0), (Some(500), BootClock));
    check(HERE, (1_000, 0), (1_500, HOUR), (Some(500), BootClock));
    check(HERE, (1_000, HOUR), (1_500, 0), (Some(500), BootClock));
    check(HERE, (1_000, 0), (999, 500), (None, NotAtAll));
    // Another run of the machine.
    check(EARLIER, (9_000, 0), (1_500, 500), (Some(500), WallClock));
    check(EARLIER, (9_000, 0), (1_500, HOUR), (Some(3_600_000_000), WallClock));
    check(EARLIER, (9_000, 500), (1_500, 499), (None, NotAtAll));
    check(EARLIER, (9_000, HOUR), (1_500, 0), (None, NotAtAll));
    // It is at least as old as the machine is up, even if the wall clock was set back.
    check(
        EARLIER,
        (9_000, 0),
        (HEAD_START + 70_000, 500),
        (Some(70_000), WallClock),
    );
    // A run without a name is not even itself.
    assert_eq!(
        age_us(
            Some(&FreshAt {
                version: at(1),
                boot: NAMELESS,
                time: START
            }),
            NAMELESS,
            START
        ),
        (Some(0), WallClock)
    );
    assert_eq!(age_us(None, HERE, START), (None, NotAtAll));
}

#[test]
fn a_process_knows_its_own_clock() {
    let boot = Boot::of_this_process();
    assert!(
        boot.is_known_to_be(Boot::of_this_process()),
        "this machine names its runs"
    );
    assert!(!boot.is_known_to_be(EARLIER));
    assert!(!NAMELESS.is_known_to_be(NAMELESS));
}

#[test]
fn keys_outlive_the_machine_and_are_as_old_as_the_wall_clock_says() {
    #[track_caller]
    fn check(step_us: i64, fresh_at_us: Option<u64>, by: Measured) {
        let desk = desk();
        let snapshot = desk.begin();
        put(&snapshot, 1, at(5));
        snapshot.keeper.note_fresh(FreshAt {
            version: at(5),
            boot: EARLIER,
            time: START,
        });
        drop(snapshot);
        desk.hand.set_wall_us(START.wall_us + step_us);
        let usable = desk.usable();
        assert_eq!((usable.fresh_at_us, usable.by), (fresh_at_us, by));
        assert_eq!(
            numbers(usable.keys),
            [1],
            "its keys may be confirmed however old they are"
        );
    }
    check(2_000_000, Some(START.monotonic_us - 2_000_000), Measured::WallClock);
    check(-1, None, Measured::NotAtAll);
    check(-HOUR, None, Measured::NotAtAll);
    // Older than this machine's clock.
    check(HOUR, None, Measured::WallClock);
}

#[test]
fn the_age_counts_from_the_last_news_and_not_from_the_last_write() {
    let desk = desk();
    let snapshot = desk.begin();
    snapshot.fresh(at(5), desk.clock.now());
    for n in 0..100 {
        desk.hand.advance_us(1_000_000);
        put(&snapshot, n, at(5));
    }
    snapshot.keeper.compact();
    snapshot.changed(&run(5, 6, &[(6, changed(1))])).unwrap();
    drop(snapshot);
    assert_eq!(desk.usable().fresh_at_us, Some(START.monotonic_us));
}
