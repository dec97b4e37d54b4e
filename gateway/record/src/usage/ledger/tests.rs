use super::*;

fn tally(minute: i64, count: u64) -> Tally {
    Tally {
        minute,
        count,
        last_at_us: minute * 60_000_000 + 1,
    }
}

/// What is left of these additions `(key, minute, count)` in a ledger of so many rows: `(key, minute, count)` in order, and rows dropped.
fn check(rows_max: usize, added: &[(i64, i64, u64)], expect: &[(i64, i64, u64)], dropped: u64) {
    let mut ledger = Ledger::new(rows_max);
    for (key, minute, count) in added {
        ledger.add(KeyId(*key), UsageOutcome::Allowed, tally(*minute, *count));
        assert!(ledger.rows() <= rows_max, "{added:?}");
    }
    assert_eq!(ledger.rows(), expect.len(), "{added:?}");
    let mut rows: Vec<_> = ledger
        .take(usize::MAX)
        .into_iter()
        .map(|row| (row.key_id.0, row.minute, row.count))
        .collect();
    rows.sort_unstable();
    assert_eq!(rows, expect, "{added:?}");
    assert_eq!((ledger.rows(), ledger.rows_dropped()), (0, dropped), "{added:?}");
}

#[test]
fn minutes_stay_apart_while_there_is_room() {
    check(9, &[(1, 5, 1), (1, 5, 2)], &[(1, 5, 3)], 0);
    check(
        9,
        &[(1, 5, 1), (1, 6, 1), (1, 5, 1), (2, 5, 7)],
        &[(1, 5, 2), (1, 6, 1), (2, 5, 7)],
        0,
    );
    // A minute that is told of late keeps its row as well.
    check(9, &[(1, 6, 1), (1, 5, 1), (1, 5, 1)], &[(1, 5, 2), (1, 6, 1)], 0);
}

#[test]
fn without_room_the_minutes_of_a_key_are_merged_into_the_latest() {
    check(2, &[(1, 5, 1), (1, 6, 2), (2, 7, 1)], &[(1, 6, 3), (2, 7, 1)], 0);
    check(
        2,
        &[(1, 5, 1), (2, 5, 1), (1, 6, 1), (2, 4, 1)],
        &[(1, 6, 2), (2, 5, 2)],
        0,
    );
}

#[test]
fn what_cannot_be_merged_is_dropped_and_counted() {
    check(
        2,
        &[(1, 5, 1), (2, 5, 1), (3, 5, 1), (2, 6, 1)],
        &[(1, 5, 1), (2, 6, 2)],
        1,
    );
}

#[test]
fn outcomes_of_a_key_have_rows_of_their_own() {
    let mut ledger = Ledger::new(9);
    let limited = |name: &str| UsageOutcome::RateLimited(name.to_owned());
    for outcome in [limited("a"), limited("b"), limited("a"), UsageOutcome::Allowed] {
        ledger.add(KeyId(1), outcome, tally(1, 1));
    }
    let mut counts: Vec<_> = ledger.take(9).into_iter().map(|row| row.count).collect();
    counts.sort_unstable();
    assert_eq!(counts, [1, 1, 2]);
}

#[test]
fn a_part_can_be_taken_and_the_rest_stays() {
    let mut ledger = Ledger::new(100);
    for minute in 0..10 {
        for key in 0..5 {
            ledger.add(KeyId(key), UsageOutcome::Allowed, tally(minute, 1));
        }
    }
    let mut seen = std::collections::HashSet::new();
    for expect in [7, 7, 7, 7, 7, 7, 7, 1, 0] {
        let rows = ledger.take(7);
        assert_eq!(rows.len(), expect);
        for row in rows {
            assert!(seen.insert((row.key_id, row.minute)), "{row:?} was taken twice");
            assert_eq!(row.count, 1);
        }
    }
    assert_eq!((seen.len(), ledger.rows()), (50, 0));
}

#[test]
fn minutes_are_kept_apart_again_once_there_is_room() {
    let mut ledger = Ledger::new(4);
    for key in 0..5 {
        ledger.add(KeyId(key), UsageOutcome::Allowed, tally(1, 1));
    }
    assert_eq!((ledger.rows(), ledger.rows_dropped()), (4, 1));
    ledger.take(2);
    for minute in [2, 3] {
        ledger.add(KeyId(9), UsageOutcome::Allowed, tally(minute, 1));
    }
    assert_eq!((ledger.rows(), ledger.rows_dropped()), (4, 1));
}

#[test]
fn sums_hold_under_any_order_of_adding_and_taking_while_each_key_has_a_row() {
    const KEYS: u64 = 12;
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut draw = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 16) % below
    };
    for rows_max in [12, 13, 20, 1_000] {
        let mut ledger = Ledger::new(rows_max);
        // By key: requests, and the latest time.
        let (mut added, mut taken) = (HashMap::new(), HashMap::new());
        let note = |sums: &mut HashMap<i64, (u64, i64)>, key: i64, count: u64, last_us: i64| {
            let sum = sums.entry(key).or_insert((0, i64::MIN));
            *sum = (sum.0 + count, sum.1.max(last_us));
        };
        for _ in 0..20_000 {
            if draw(50) == 0 {
                for row in ledger.take(usize::try_from(draw(8)).unwrap()) {
                    note(&mut taken, row.key_id.0, row.count, row.last_at_us);
                }
            }
            let (key, minute) = (draw(KEYS).cast_signed(), draw(30).cast_signed());
            let tally = tally(minute, 1 + draw(9));
            note(&mut added, key, tally.count, tally.last_at_us);
            ledger.add(KeyId(key), UsageOutcome::Allowed, tally);
            assert!(ledger.rows() <= rows_max);
        }
        let left = ledger.rows();
        let rest = ledger.take(usize::MAX);
        assert_eq!(
            (rest.len(), ledger.rows(), ledger.rows_dropped()),
            (left, 0, 0),
            "{rows_max}"
        );
        for row in rest {
            note(&mut taken, row.key_id.0, row.count, row.last_at_us);
        }
        assert_eq!(taken, added, "{rows_max}");
    }
}
