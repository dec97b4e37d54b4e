//! That it holds what a map would, near where it should lie, and lets go of what is not asked for.

use super::*;
use crate::lookup::scripted_source::record;
use crate::{KeyId, RuleSet, Version};
use proptest::prelude::*;
use std::collections::HashMap;

fn key(hash: KeyHash, id: i64) -> Arc<StoredKey> {
    let rules = Arc::new(RuleSet::compile(None, &[]));
    let mut key = StoredKey::compile(record(KeyId(id)), Version { epoch: 1, revision: 1 }, &rules);
    key.hash = hash;
    Arc::new(key)
}

/// Hashes of which many share a home and some a tag.
fn hash(n: u16) -> KeyHash {
    let mut bytes = [0; 32];
    bytes[..2].copy_from_slice(&n.to_le_bytes());
    bytes[12..16].copy_from_slice(&(u32::from(n % 50) << 26).to_le_bytes());
    KeyHash(bytes)
}

#[test]
fn a_bucket_is_a_cache_line() {
    assert_eq!((size_of::<Bucket>(), align_of::<Bucket>()), (64, 64));
}

#[test]
fn random_hashes_lie_near_their_homes() {
    let mut held = HeldKeys::default();
    let mut state = 1_u64;
    for id in 0..20_000 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let mut bytes = [0; 32];
        bytes[8..16].copy_from_slice(&state.to_le_bytes());
        held.insert(key(KeyHash(bytes), id));
    }
    let slots = held.buckets.len() * BUCKET_SLOTS;
    assert!(held.count * 100 / slots >= 60, "{} of {slots}", held.count);
    let passed: u32 = held.buckets.iter().map(|bucket| bucket.beside.passed()).sum();
    assert!(passed < 10_000, "{passed} buckets are read in vain");
}

#[test]
fn what_is_asked_for_outlasts_what_is_not() {
    let mut held = HeldKeys::default();
    for n in 0..40 {
        held.insert(key(hash(n), i64::from(n)));
    }
    for _ in 0..2 {
        for n in 0..10 {
            assert!(held.get_to_use(&hash(n)).is_some());
        }
    }
    let gone: Vec<i64> = std::iter::from_fn(|| held.take_any()).map(|key| key.key_id.0).collect();
    assert_eq!(gone.len(), 40);
    assert!(gone[..30].iter().all(|id| (10..40).contains(id)), "{gone:?}");
    assert!(held.take_any().is_none());
}

#[derive(Debug, Clone)]
enum Step {
    Insert(u16, i64),
    Remove(u16),
    Use(u16),
    TakeAny,
    KeepEven,
    Clear,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        60 => (0..400_u16, any::<i64>()).prop_map(|(n, id)| Step::Insert(n, id)),
        30 => (0..400_u16).prop_map(Step::Remove),
        30 => (0..400_u16).prop_map(Step::Use),
        10 => Just(Step::TakeAny),
        1 => Just(Step::KeepEven),
        1 => Just(Step::Clear),
    ]
}

proptest! {
    #[test]
    fn it_holds_what_a_map_would(steps in proptest::collection::vec(step(), 0..600)) {
        let mut held = HeldKeys::default();
        let mut model: HashMap<u16, i64> = HashMap::new();
        for step in steps {
            match step {
                Step::Insert(n, id) => {
                    let before = held.insert(key(hash(n), id)).map(|key| key.key_id.0);
                    prop_assert_eq!(before, model.insert(n, id));
                }
                Step::Remove(n) => {
                    let before = held.remove(&hash(n)).map(|key| key.key_id.0);
                    prop_assert_eq!(before, model.remove(&n));
                }
                Step::Use(n) => {
                    let found = held.get_to_use(&hash(n)).map(|key| key.key_id.0);
                    prop_assert_eq!(found, model.get(&n).copied());
                }
                Step::TakeAny => match held.take_any() {
                    Some(gone) => {
                        let n = model.keys().copied().find(|&n| hash(n) == gone.hash).unwrap();
                        prop_assert_eq!(model.remove(&n), Some(gone.key_id.0));
                    }
                    None => prop_assert!(model.is_empty()),
                },
                Step::KeepEven => {
                    let before = model.len();
                    model.retain(|_, id| *id % 2 == 0);
                    prop_assert_eq!(held.retain(|key| key.key_id.0 % 2 == 0), before - model.len());
                }
                Step::Clear => {
                    prop_assert_eq!(held.clear(), model.len());
                    model.clear();
                }
            }
            prop_assert_eq!(held.count(), model.len());
        }
        for n in 0..400 {
            prop_assert_eq!(held.get(&hash(n)).map(|key| key.key_id.0), model.get(&n).copied());
        }
        held.retain(|_| false);
        prop_assert!(held.buckets.iter().all(|bucket| bucket.beside == Beside::default()));
    }
}
