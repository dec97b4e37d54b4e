//! Capacity, sharing and forgetting.

use super::*;
use crate::decimated_log::Standing;
use crate::layout::Layout;
use crate::shard::Look;
use crate::subject::RuleDigest;

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

/// One rule's counters in a table.
struct Rule<'a> {
    table: &'a CounterTable,
    rule: u64,
    quota: Quota,
}

impl Rule<'_> {
    fn key(&self, owner: i64) -> (Hashed, ShardIndex) {
        let subject = Subject::anywhere(RuleDigest([self.rule, 7]), owner);
        self.table.key(Mode::PerKey, subject)
    }

    fn locate(&self, owner: i64) -> Located {
        let (key, shard) = self.key(owner);
        self.table.lock(shard).locate(&key, self.table.hasher())
    }

    /// The counter that charges for this subject go to, made if it is missing.
    fn placed(&self, owner: i64, now: Moment) -> Located {
        let (key, index) = self.key(owner);
        let mut shard = self.table.lock(index);
        let is_own = matches!(shard.locate(&key, self.table.hasher()), Located::Own(_));
        let is_reserved = !is_own && self.table.reserve(&mut shard, now);
        self.table.place(&mut shard, &key, &self.quota, is_reserved, now);
        shard.locate(&key, self.table.hasher())
    }

    fn wait_us(&self, owner: i64, now: Moment) -> Option<u64> {
        let (key, shard) = self.key(owner);
        let located = self.locate(owner);
        match self.table.lock(shard).look(&key, located, &self.quota, now) {
            Look::Blocked { wait_us } => Some(wait_us),
            Look::Room | Look::RoomOnceMade => None,
        }
    }

    fn admit(&self, owner: i64, now: Moment) {
        let spot = self.placed(owner, now).spot().unwrap();
        assert_eq!(self.wait_us(owner, now), None);
        let (key, shard) = self.key(owner);
        self.table.lock(shard).admit(&key, spot, &self.quota, now).unwrap();
    }

    fn remaining(&self, owner: i64, now: Moment) -> u32 {
        let (key, shard) = self.key(owner);
        let spot = self.locate(owner).spot();
        let Standing { remaining, .. } = self.table.lock(shard).standing(&key, spot, &self.quota, now);
        remaining
    }
}

fn rule(table: &CounterTable, limit: u32) -> Rule<'_> {
    Rule {
        table,
        rule: 7,
        quota: quota(limit),
    }
}

fn sweep_all(table: &CounterTable, now: Moment) {
    for _ in 0..SWEEPS_PER_ROUND {
        table.sweep(now);
    }
}

#[test]
fn looking_makes_no_counter() {
    let table = CounterTable::new(10);
    assert_eq!(rule(&table, 10).locate(1), Located::Missing);
    assert_eq!(rule(&table, 10).remaining(1, at(0)), 10);
    assert_eq!(table.counters(), 0);
}

#[test]
fn a_sweep_forgets_what_is_idle_and_nothing_else() {
    let table = CounterTable::new(10_000);
    let rule = rule(&table, 10);
    for owner in 0..5_000 {
        rule.admit(owner, at(if owner % 2 == 0 { 0 } else { 1_000 }));
    }
    sweep_all(&table, at(WINDOW_US - 1));
    assert_eq!((table.counters(), table.evicted()), (5_000, 0));
    sweep_all(&table, at(WINDOW_US));
    assert_eq!((table.counters(), table.evicted()), (2_500, 2_500));
    for owner in 0..5_000 {
        let is_live = owner % 2 == 1;
        assert_eq!(rule.locate(owner) != Located::Missing, is_live, "owner {owner}");
        assert_eq!(rule.remaining(owner, at(WINDOW_US)), if is_live { 9 } else { 10 });
    }
    sweep_all(&table, at(WINDOW_US + 1_000));
    assert_eq!((table.counters(), table.evicted()), (0, 5_000));
}

#[test]
fn one_sweep_looks_at_a_part_of_the_table() {
    let table = CounterTable::new(10_000);
    for owner in 0..5_000 {
        rule(&table, 10).placed(owner, at(0));
    }
    let sweeps = (1..)
        .find(|_| {
            table.sweep(at(0));
            table.counters() == 0
        })
        .unwrap();
    assert!((SWEEPS_PER_ROUND / 4..=SWEEPS_PER_ROUND).contains(&sweeps), "{sweeps}");
}

#[test]
fn a_counter_begins_where_the_last_was_forgotten() {
    let table = CounterTable::new(10);
    let rule = rule(&table, 1);
    rule.admit(1, at(0));
    sweep_all(&table, at(WINDOW_US + 5));
    // A request that read the clock before the sweep did.
    rule.admit(1, at(WINDOW_US - 1));
    assert_eq!(rule.wait_us(1, at(WINDOW_US + 5)), Some(WINDOW_US));
}

#[test]
fn a_full_table_drops_no_live_counter_and_lets_new_subjects_share() {
    let table = CounterTable::new(100);
    let rule = rule(&table, 10);
    for owner in 0..100 {
        rule.admit(owner, at(0));
        assert!(matches!(rule.locate(owner), Located::Own(_)));
    }

    for owner in 100..40_000 {
        let located = rule.placed(owner, at(0));
        assert!(matches!(located, Located::Shared(_)), "owner {owner}");
    }
    let shared = u64::try_from(SHARDS_PER_KIND).unwrap();
    assert_eq!(table.counters(), 100 + shared, "shared counters are bounded");
    for owner in 0..100 {
        assert_eq!(rule.remaining(owner, at(0)), 9);
    }
}

#[test]
fn a_full_table_gives_the_place_of_an_idle_counter_to_who_comes() {
    let table = CounterTable::new(1_000);
    let rule = rule(&table, 1_000);
    for owner in 0..1_000 {
        rule.admit(owner, at(0));
    }
    let own = (1_000..3_000)
        .filter(|&owner| {
            rule.admit(owner, at(WINDOW_US));
            matches!(rule.locate(owner), Located::Own(_))
        })
        .count();
    assert!(own >= 800, "{own} without a sweep");
    assert!(own <= 1_000 && table.evicted() >= 800);
}

#[test]
fn a_rule_never_shares_with_another() {
    let table = CounterTable::new(0);
    for rule in 0..20 {
        let rule = Rule {
            table: &table,
            rule,
            quota: quota(10),
        };
        assert_eq!(rule.remaining(1, at(0)), 10);
        rule.admit(1, at(0));
        assert_eq!(rule.remaining(1, at(0)), 9);
    }
}

#[test]
fn a_subject_that_gets_its_own_counter_takes_the_shared_tally_along() {
    let table = CounterTable::new(1);
    let rule = rule(&table, 10);
    rule.admit(1, at(0));
    for _ in 0..7 {
        rule.admit(2, at(WINDOW_US - 1));
    }
    assert!(matches!(rule.locate(2), Located::Shared(_)));
    // Another that shares with it.
    let (_, shard) = rule.key(2);
    let other = (3..).find(|&owner| rule.key(owner).1 == shard).unwrap();
    assert_eq!(rule.remaining(other, at(WINDOW_US)), 3);
    sweep_all(&table, at(WINDOW_US));

    rule.admit(2, at(WINDOW_US));
    assert!(matches!(rule.locate(2), Located::Own(_)));
    assert_eq!(rule.remaining(2, at(WINDOW_US)), 2);
    // The others keep what the shared counter knew.
    assert_eq!(rule.remaining(other, at(WINDOW_US)), 3);
}

#[test]
fn shared_counters_are_forgotten_too() {
    let table = CounterTable::new(0);
    let rule = rule(&table, 10);
    for owner in 0..500 {
        if rule.remaining(owner, at(4)) > 0 {
            rule.admit(owner, at(owner.unsigned_abs() / 100));
        }
    }
    assert!(table.counters() > 150);
    sweep_all(&table, at(WINDOW_US + 5));
    assert_eq!(table.counters(), 0);
    assert_eq!(rule.locate(1), Located::Missing);
}
