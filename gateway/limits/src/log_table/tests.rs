//! The table beside a plain map.

use super::*;
use crate::layout::Layout;
use crate::proof::chance::Chance;
use crate::subject::RuleDigest;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// A log known by its times, with stamps or without any.
fn log(marker: u64) -> DecimatedLog {
    let layout = Layout::new(5, 1_000);
    let mut log = DecimatedLog::starting_at(&layout, marker);
    for step in 0..marker % 5 {
        log.head.admit(&mut log.stamps, &layout, marker + step);
    }
    assert_eq!(log.has_stamps(), marker % 5 > 2);
    log.without_noise()
}

/// Few homes, so that chains form and wrap around.
fn key(id: u64, homes: u64) -> Hashed {
    let subject = Subject {
        rule: RuleDigest([0, 0]),
        owner: id,
        network: 0,
    };
    // What names the line, then what tells subjects apart.
    let line = (id % homes).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    Hashed {
        hash: id << 32 | line,
        subject,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn it_holds_what_a_map_holds(
        steps in prop::collection::vec((0..3_u8, 0..200_u64), 1..600),
        homes in prop_oneof![Just(1_u64), Just(3), Just(1_000)],
    ) {
        let mut table = LogTable::default();
        let mut map = BTreeMap::new();
        for (step, (action, id)) in steps.into_iter().enumerate() {
            let key = key(id, homes);
            let found = table.find(key.hash);
            prop_assert_eq!(found.is_some(), map.contains_key(&id));
            match (action, found) {
                (0 | 1, None) => {
                    let marker = u64::try_from(step).unwrap() + 1;
                    table.insert(&key, &log(marker));
                    map.insert(id, marker);
                }
                (2, Some(index)) => {
                    table.remove(index);
                    map.remove(&id);
                    table.shrink();
                }
                _ => {}
            }
            prop_assert_eq!(table.len(), map.len());
        }
        for (&id, &marker) in &map {
            let index = table.find(key(id, homes).hash);
            prop_assert_eq!(index.map(|index| table.log(index)), Some(log(marker)));
        }
        prop_assert_eq!((0..table.slots()).filter(|&at| table.subject(at).is_some()).count(), map.len());
    }
}

#[test]
fn it_is_never_more_than_four_fifths_full_nor_less_than_three_while_it_grows() {
    let mut table = LogTable::default();
    for id in 0..100_000 {
        table.insert(&key(id, 1_000_000), &log(id));
        assert!(table.len() * 5 <= table.slots() * 4, "{id}");
        assert!(
            table.slots() <= 40 || table.len() * 5 >= table.slots() * 3,
            "{id} {}",
            table.slots()
        );
    }
    while let Some(index) = (0..table.slots())
        .rev()
        .find(|&at| table.subject(at).is_some())
        .filter(|_| table.len() > 10)
    {
        table.remove(index);
        if table.len() % 1_000 == 0 {
            table.shrink();
        }
    }
    table.shrink();
    assert!(table.slots() <= 42, "{}", table.slots());
}

#[test]
fn two_slots_are_one_cache_line() {
    assert_eq!(
        (size_of::<Slot>(), size_of::<Line>(), size_of::<Stamps>()),
        (32, 64, 64)
    );
}

#[test]
fn small_tables_in_bulk_lose_nobody_and_always_end_a_search() {
    for seed in 0..2_000 {
        let mut chance = Chance::new(seed);
        let (ids, homes) = (chance.scaled(1, 60), chance.scaled(1, 40));
        let keys: Vec<Hashed> = (0..ids).map(|id| key(id, homes)).collect();
        let mut markers: Vec<Option<u64>> = vec![None; keys.len()];
        let mut table = LogTable::default();
        for step in 1..1_500 {
            let id = usize::try_from(chance.between(0, ids - 1)).unwrap();
            match (table.find(keys[id].hash), markers[id]) {
                (Some(index), Some(marker)) => {
                    assert_eq!(table.log(index), log(marker), "seed {seed}");
                    if chance.one_in(2) {
                        table.remove(index);
                        markers[id] = None;
                    }
                    if chance.one_in(20) {
                        table.shrink();
                    }
                }
                (None, None) => {
                    table.insert(&keys[id], &log(step));
                    markers[id] = Some(step);
                }
                (found, expected) => panic!("seed {seed}: {found:?} is not {expected:?}"),
            }
            // Second slots are taken after first ones, and some pair has room: without either a search would not end.
            let is_vacant = |index: usize| table.subject(index).is_none();
            let mut pairs = (0..table.slots()).step_by(PAIR);
            assert!(pairs.all(|pair| is_vacant(pair + 1) || !is_vacant(pair)), "seed {seed}");
            let mut pairs = (0..table.slots()).step_by(PAIR);
            assert!(pairs.any(|pair| is_vacant(pair + 1)), "seed {seed}");
        }
        let held = markers.iter().flatten().count();
        assert_eq!(table.len(), held, "seed {seed}");
    }
}
