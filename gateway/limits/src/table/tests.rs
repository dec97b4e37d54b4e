//! Capacity, sharing and forgetting.

use super::*;
use crate::layout::Layout;
use crate::subject::Network;

const WINDOW_US: u64 = 60_000_000;

fn quota(limit: u32) -> Quota {
    Quota::Rolling(Layout::new(limit, WINDOW_US))
}

fn at(monotonic_us: u64) -> Moment {
    Moment {
        monotonic_us,
        wall_us: 0,
    }
}

fn subject(table: &CounterTable, owner: i64) -> Hashed<Subject> {
    table.hashed(Subject {
        rule: RuleDigest([7, 7]),
        owner,
        network: Network::Any,
    })
}

/// The counter that charges for this subject go to, made if it is missing.
fn placed(table: &CounterTable, owner: i64, quota: &Quota) -> Found {
    let subject = subject(table, owner);
    table.place(&subject, quota);
    table.find(&subject).unwrap()
}

fn counter(found: &Found) -> &Arc<Counter> {
    match found {
        Found::Own(counter) | Found::Shared(counter) => counter,
    }
}

fn admit(found: &Found, quota: &Quota, now: Moment) {
    let mut tally = counter(found).lock();
    let tally = tally.as_mut().unwrap();
    assert_eq!(tally.wait_us(quota, now), None);
    tally.admit(quota, now);
}

fn remaining(found: &Found, quota: &Quota, now: Moment) -> u32 {
    counter(found).lock().unwrap().standing(quota, now).remaining
}

fn sweep_all(table: &CounterTable, now: Moment) {
    for _ in 0..SWEEPS_PER_ROUND {
        table.sweep(now);
    }
}

#[test]
fn looking_makes_no_counter() {
    let table = CounterTable::new(10);
    assert!(table.find(&subject(&table, 1)).is_none());
    assert_eq!(table.counters(), 0);
}

#[test]
fn a_sweep_forgets_what_is_idle_and_nothing_else() {
    let (table, quota) = (CounterTable::new(10_000), quota(10));
    for owner in 0..5_000 {
        let used_us = if owner % 2 == 0 { 0 } else { 1_000 };
        admit(&placed(&table, owner, &quota), &quota, at(used_us));
    }
    sweep_all(&table, at(WINDOW_US - 1));
    assert_eq!((table.counters(), table.evicted()), (5_000, 0));
    sweep_all(&table, at(WINDOW_US));
    assert_eq!((table.counters(), table.evicted()), (2_500, 2_500));
    for owner in 0..5_000 {
        let found = table.find(&subject(&table, owner));
        assert_eq!(found.is_some(), owner % 2 == 1, "owner {owner}");
        if let Some(found) = found {
            assert_eq!(remaining(&found, &quota, at(WINDOW_US)), 9);
        }
    }
    sweep_all(&table, at(WINDOW_US + 1_000));
    assert_eq!((table.counters(), table.evicted()), (0, 5_000));
}

#[test]
fn one_sweep_looks_at_a_part_of_the_table() {
    let (table, quota) = (CounterTable::new(10_000), quota(10));
    for owner in 0..5_000 {
        placed(&table, owner, &quota);
    }
    table.sweep(at(0));
    assert!((1..1_000).contains(&table.evicted()), "{}", table.evicted());
}

#[test]
fn a_forgotten_counter_is_retired_for_whoever_still_holds_it() {
    let (table, quota) = (CounterTable::new(10), quota(10));
    let held = placed(&table, 1, &quota);
    admit(&held, &quota, at(0));
    sweep_all(&table, at(WINDOW_US));
    assert!(counter(&held).lock().is_none());
    assert!(table.find(&subject(&table, 1)).is_none());
}

#[test]
fn a_counter_begins_where_the_last_was_forgotten() {
    let (table, quota) = (CounterTable::new(10), quota(1));
    admit(&placed(&table, 1, &quota), &quota, at(0));
    sweep_all(&table, at(WINDOW_US + 5));
    // A request that read the clock before the sweep did.
    let again = placed(&table, 1, &quota);
    admit(&again, &quota, at(WINDOW_US - 1));
    let wait_us = counter(&again).lock().unwrap().wait_us(&quota, at(WINDOW_US + 5));
    assert_eq!(wait_us, Some(WINDOW_US));
}

#[test]
fn a_full_table_drops_no_live_counter_and_lets_new_subjects_share() {
    let (table, quota) = (CounterTable::new(100), quota(10));
    for owner in 0..100 {
        let found = placed(&table, owner, &quota);
        assert!(matches!(found, Found::Own(_)));
        admit(&found, &quota, at(0));
    }
    assert!(!table.has_room());
    for owner in 100..40_000 {
        assert!(
            matches!(placed(&table, owner, &quota), Found::Shared(_)),
            "owner {owner}"
        );
    }
    assert_eq!(table.counters(), 100 + SHARED_PER_RULE, "shared counters are bounded");
    for owner in 0..100 {
        assert_eq!(
            remaining(&table.find(&subject(&table, owner)).unwrap(), &quota, at(0)),
            9
        );
    }
}

#[test]
fn a_rule_never_shares_with_another() {
    let (table, quota) = (CounterTable::new(0), quota(10));
    for rule in 0..20 {
        let subject = table.hashed(Subject {
            rule: RuleDigest([rule, 0]),
            owner: 1,
            network: Network::Any,
        });
        table.place(&subject, &quota);
        let found = table.find(&subject).unwrap();
        assert_eq!(remaining(&found, &quota, at(0)), 10);
        admit(&found, &quota, at(0));
    }
}

#[test]
fn a_subject_that_gets_its_own_counter_takes_the_shared_tally_along() {
    let (table, quota) = (CounterTable::new(1), quota(10));
    admit(&placed(&table, 1, &quota), &quota, at(0));
    let shared = placed(&table, 2, &quota);
    for _ in 0..7 {
        admit(&shared, &quota, at(WINDOW_US - 1));
    }
    sweep_all(&table, at(WINDOW_US));
    assert!(table.has_room());
    let own = placed(&table, 2, &quota);
    assert!(matches!(own, Found::Own(_)));
    assert_eq!(remaining(&own, &quota, at(WINDOW_US)), 3);
    assert!(counter(&shared).lock().is_none(), "a charge on its way must come back");
    admit(&own, &quota, at(WINDOW_US));
    assert_eq!(remaining(&own, &quota, at(WINDOW_US)), 2);
    // The others of the bucket keep what the shared counter knew.
    let share = table.share(&subject(&table, 2));
    let left = Arc::clone(table.shared.read(&share).get(&share).unwrap());
    assert_eq!(left.lock().unwrap().standing(&quota, at(WINDOW_US)).remaining, 3);
}

#[test]
fn shared_counters_are_forgotten_too() {
    let (table, quota) = (CounterTable::new(0), quota(10));
    for owner in 0..500 {
        let found = placed(&table, owner, &quota);
        if remaining(&found, &quota, at(4)) > 0 {
            admit(&found, &quota, at(owner.unsigned_abs() / 100));
        }
    }
    assert!(table.counters() > 300);
    sweep_all(&table, at(WINDOW_US + 5));
    assert_eq!(table.counters(), 0);
    assert!(table.find(&subject(&table, 1)).is_none());
}
