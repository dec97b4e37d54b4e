use super::*;
use crate::usage::UsageOutcome;
use crate::usage::stored_keys::{allowed, denied, key, limited};
use portcullis_verify::{Clock, DenialReason, ManualClock};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

const START_US: i64 = 1_800_000_000_000_000;
const MINUTE_US: i64 = 60_000_000;
const ROWS_MAX: usize = 1_000_000;

/// What was counted, by key, minute and outcome: how many, and the last time.
type Counts = HashMap<(i64, i64, UsageOutcome), (u64, i64)>;

fn clock() -> (Clock, ManualClock) {
    Clock::manual(Moment {
        monotonic_us: 1,
        wall_us: START_US,
    })
}

fn at(wall_us: i64) -> Moment {
    Moment {
        monotonic_us: 1,
        wall_us,
    }
}

fn meter() -> UsageMeter {
    UsageMeter::new(ROWS_MAX, at(START_US))
}

/// Adds rows up.
fn add_up(counts: &mut Counts, rows: Vec<UsageRow>) {
    for row in rows {
        assert_eq!(row.last_at_us.div_euclid(MINUTE_US), row.minute, "{row:?}");
        let sum = counts
            .entry((row.key_id.0, row.minute, row.outcome))
            .or_insert((0, i64::MIN));
        *sum = (sum.0 + row.count, sum.1.max(row.last_at_us));
    }
}

fn all_of(meter: &UsageMeter) -> Counts {
    meter.gather();
    let mut counts = Counts::new();
    add_up(&mut counts, meter.take(usize::MAX));
    counts
}

#[track_caller]
fn check(meter: &UsageMeter, expect: &[(i64, i64, UsageOutcome, u64, i64)]) {
    let expect: Counts = expect
        .iter()
        .map(|(key, minute, outcome, count, last)| ((*key, *minute, outcome.clone()), (*count, *last)))
        .collect();
    assert_eq!(all_of(meter), expect);
}

#[test]
fn each_way_to_end_is_counted_under_its_name() {
    let (meter, key) = (meter(), key(7));
    let minute = START_US / MINUTE_US;
    meter.note(&allowed(&key), at(START_US));
    meter.note(&allowed(&key), at(START_US + 1));
    meter.note(&limited(&key, 1), at(START_US + 2));
    meter.note(&limited(&key, 0), at(START_US + 3));
    meter.note(&denied(Some(&key), DenialReason::KeyRevoked), at(START_US + 4));
    meter.note(&denied(Some(&key), DenialReason::PermissionDenied), at(START_US + 5));
    let limited_by = |rule: &str| UsageOutcome::RateLimited(rule.into());
    let denied_as = |reason: &str| UsageOutcome::Denied(reason.into());
    check(
        &meter,
        &[
            (7, minute, UsageOutcome::Allowed, 2, START_US + 1),
            (7, minute, limited_by("per_app-60s"), 1, START_US + 2),
            (7, minute, limited_by("per_key-60s"), 1, START_US + 3),
            (7, minute, denied_as("key_revoked"), 1, START_US + 4),
            (7, minute, denied_as("permission_denied"), 1, START_US + 5),
        ],
    );
    check(&meter, &[]);
}

#[test]
fn what_has_no_known_key_is_not_counted() {
    let meter = meter();
    for reason in [
        DenialReason::KeyUnknown,
        DenialReason::KeyMissing,
        DenialReason::AppNotAllowed,
    ] {
        meter.note(&denied(None, reason), at(START_US));
    }
    check(&meter, &[]);
}

#[test]
fn a_request_counts_in_the_minute_of_its_decision() {
    let (clock, hand) = clock();
    let (meter, key) = (UsageMeter::new(ROWS_MAX, clock.now()), key(1));
    let mut expect = Counts::new();
    // Through minutes, gathered at odd times, and once an hour back.
    for step in 0..1_000_u32 {
        if step == 600 {
            hand.set_wall_us(clock.now().wall_us - 60 * MINUTE_US);
        }
        let now = clock.now();
        meter.note(&allowed(&key), now);
        let sum = expect
            .entry((1, now.wall_us.div_euclid(MINUTE_US), UsageOutcome::Allowed))
            .or_insert((0, i64::MIN));
        *sum = (sum.0 + 1, sum.1.max(now.wall_us));
        if step % 37 == 0 {
            meter.gather();
        }
        hand.advance_us(1_234_567);
    }
    assert_eq!(all_of(&meter), expect);
}

#[test]
fn a_wall_clock_far_off_costs_no_count() {
    let (meter, key) = (meter(), key(1));
    for wall_us in [0, 0, -5, i64::MAX, START_US] {
        meter.note(&allowed(&key), at(wall_us));
    }
    let minute = |wall_us: i64| wall_us.div_euclid(MINUTE_US);
    check(
        &meter,
        &[
            (1, 0, UsageOutcome::Allowed, 2, 0),
            (1, -1, UsageOutcome::Allowed, 1, -5),
            (1, minute(i64::MAX), UsageOutcome::Allowed, 1, i64::MAX),
            (1, minute(START_US), UsageOutcome::Allowed, 1, START_US),
        ],
    );
}

#[test]
fn counts_outlive_the_record_they_were_made_on() {
    let meter = meter();
    let minute = START_US / MINUTE_US;
    for _ in 0..5 {
        // Read again each time, as after a change of the key, and dropped by the cache.
        meter.note(&allowed(&key(1)), at(START_US));
    }
    check(&meter, &[(1, minute, UsageOutcome::Allowed, 5, START_US)]);
}

#[test]
fn a_record_is_not_held_on_to_once_it_is_gathered() {
    let (meter, key) = (meter(), key(1));
    meter.note(&allowed(&key), at(START_US));
    assert_eq!(Arc::strong_count(&key), 2);
    meter.gather();
    assert_eq!(Arc::strong_count(&key), 1);
}

#[test]
fn without_anybody_who_gathers_inboxes_stay_bounded_and_nothing_is_lost() {
    let meter = meter();
    let keys = 2 * INBOX_MAX;
    let mut longest = 0;
    // All of them belong in one inbox.
    for id in (0_i64..).step_by(INBOXES).take(keys) {
        meter.note(&allowed(&key(id)), at(START_US));
        longest = longest.max(meter.inboxes[0].0.lock().len());
    }
    assert_eq!(longest, INBOX_MAX - 1);
    assert!(meter.rows_waiting() > 0);
    assert_eq!(all_of(&meter).len(), keys);
}

#[tokio::test]
async fn a_filling_inbox_asks_for_a_gathering() {
    let meter = meter();
    let is_asked = async || {
        std::future::poll_fn(|context| {
            let waits = std::pin::pin!(meter.filling());
            std::task::Poll::Ready(waits.poll(context).is_ready())
        })
        .await
    };
    let key = key(1);
    // Each note displaces what the one before it left: an entry each, after the first.
    for round in 0..i64::try_from(INBOX_FILLING).unwrap() {
        assert!(!is_asked().await, "after {round} notes");
        meter.note(&allowed(&key), at(START_US + round % 2 * MINUTE_US));
    }
    assert!(is_asked().await);
}

#[test]
fn past_its_rows_a_meter_keeps_sums_and_gives_up_minutes_first() {
    let meter = UsageMeter::new(10, at(START_US));
    let keys: Vec<_> = (0..10).map(key).collect();
    for minute in 0..50 {
        for key in &keys {
            meter.note(&allowed(key), at(START_US + minute * MINUTE_US));
        }
    }
    meter.gather();
    assert_eq!((meter.rows_waiting(), meter.rows_dropped()), (10, 0));
    let mut counts = Counts::new();
    add_up(&mut counts, meter.take(usize::MAX));
    let last = START_US + 49 * MINUTE_US;
    for id in 0..10 {
        assert_eq!(
            counts[&(id, last / MINUTE_US, UsageOutcome::Allowed)],
            (50, last),
            "{id}"
        );
    }
}

#[test]
fn threads_that_note_while_others_gather_lose_and_double_nothing() {
    const NOTES: u32 = 60_000;
    let meter = meter();
    let is_over = AtomicBool::new(false);
    // Records shared by the threads, each of which also replaces them as it goes.
    let records: Vec<_> = (0..8).map(|id| Mutex::new(key(id))).collect();
    let (expect, found) = std::thread::scope(|scope| {
        let noters: Vec<_> = (0..4_u32)
            .map(|thread| {
                let (meter, records) = (&meter, &records);
                scope.spawn(move || {
                    let mut expect = Counts::new();
                    for step in 0..NOTES {
                        let pick = (step.wrapping_mul(2_654_435_761) >> 8) % 8;
                        let record = {
                            let mut held = records[usize::try_from(pick).unwrap()].lock();
                            if step % 97 == 0 {
                                *held = key(i64::from(pick));
                            }
                            Arc::clone(&held)
                        };
                        // A minute is about a hundred notes; threads are never in step.
                        let now = at(START_US + i64::from(step) * 600_000 + i64::from(thread));
                        let (verdict, outcome) = match step % 5 {
                            0 => (limited(&record, 1), UsageOutcome::RateLimited("per_app-60s".into())),
                            1 => (
                                denied(Some(&record), DenialReason::ResourceDenied),
                                UsageOutcome::Denied("resource_denied".into()),
                            ),
                            _ => (allowed(&record), UsageOutcome::Allowed),
                        };
                        meter.note(&verdict, now);
                        let sum = expect
                            .entry((i64::from(pick), now.wall_us / MINUTE_US, outcome))
                            .or_insert((0, i64::MIN));
                        *sum = (sum.0 + 1, sum.1.max(now.wall_us));
                    }
                    expect
                })
            })
            .collect();
        let gatherer = scope.spawn(|| {
            let mut found = Counts::new();
            while !is_over.load(Ordering::Acquire) {
                meter.gather();
                add_up(&mut found, meter.take(100));
            }
            found
        });
        let mut expect = Counts::new();
        for noter in noters {
            for (row, (count, last)) in noter.join().unwrap() {
                let sum = expect.entry(row).or_insert((0, i64::MIN));
                *sum = (sum.0 + count, sum.1.max(last));
            }
        }
        is_over.store(true, Ordering::Release);
        (expect, gatherer.join().unwrap())
    });
    let mut found = found;
    meter.gather();
    add_up(&mut found, meter.take(usize::MAX));
    assert_eq!(found.values().map(|sum| sum.0).sum::<u64>(), u64::from(NOTES) * 4);
    assert_eq!(found, expect);
}
