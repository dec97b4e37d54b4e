//! Who stays when there is no room, and that nobody stays who should not.

use super::scripted_source::{record, scripted};
use super::tests::SETTINGS;
use super::*;
use crate::{DeploymentId, KeyId};
use std::sync::atomic::AtomicBool;

const DAY_US: i64 = 24 * 3_600 * 1_000_000;
const NOW_US: i64 = 100 * DAY_US;
const AT: Version = Version { epoch: 1, revision: 1 };

fn lookup(make: fn(CacheSettings, Arc<dyn KeySource>, Arc<RuleSet>, Clock) -> Lookup, keys_max: u64) -> Lookup {
    let (source, _script) = scripted();
    let (clock, _hand) = Clock::manual(Moment {
        monotonic_us: 1,
        wall_us: NOW_US,
    });
    let settings = CacheSettings { keys_max, ..SETTINGS };
    make(settings, source, Arc::new(RuleSet::compile(None, &[])), clock)
}

/// Hashes that differ in every part that is looked at.
fn hash(n: u64) -> KeyHash {
    let mixed = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut bytes = [0; 32];
    for part in bytes.chunks_exact_mut(8) {
        part.copy_from_slice(&mixed.to_be_bytes());
    }
    KeyHash(bytes)
}

fn admit(lookup: &Lookup, n: u64) -> bool {
    admit_at(lookup, n, AT)
}

fn admit_at(lookup: &Lookup, n: u64, as_of: Version) -> bool {
    lookup.admit(hash(n), record(KeyId(i64::try_from(n).unwrap())), as_of)
}

fn is_held(lookup: &Lookup, n: u64) -> bool {
    lookup.recall(&hash(n), lookup.clock.now()).is_some()
}

fn held(lookup: &Lookup) -> usize {
    lookup.stripes.each().map(|stripe| stripe.held.count()).sum()
}

#[test]
fn a_table_holds_what_it_holds_and_turns_away_what_is_too_much() {
    let table = lookup(Lookup::of_every_key, 3);
    assert!((0..3).all(|n| admit(&table, n)));
    assert!(!admit(&table, 3));
    assert!(
        admit_at(&table, 0, Version { revision: 2, ..AT }),
        "one that is held may be replaced"
    );
    assert_eq!((table.room.count(), held(&table)), (3, 3));
    for _ in 0..2 {
        table.note_absent(&hash(1), AT);
        assert_eq!((table.room.count(), held(&table)), (2, 2));
    }
    assert!(admit(&table, 3));
    assert!(!is_held(&table, 4) && is_held(&table, 3));
}

#[test]
fn only_keys_that_are_long_over_make_room() {
    #[track_caller]
    fn check(revoked_at_us: Option<i64>, expires_at_us: Option<i64>, stays: bool) {
        let table = lookup(Lookup::of_every_key, 8);
        assert!((0..7).all(|n| admit(&table, n)));
        let mut one = record(KeyId(7));
        (one.revoked_at_us, one.expires_at_us) = (revoked_at_us, expires_at_us);
        assert!(table.admit(hash(7), one, AT));
        table.sweep();
        assert_eq!(is_held(&table, 7), stays, "{revoked_at_us:?} {expires_at_us:?}");
        let count = if stays { 8 } else { 7 };
        assert_eq!((table.room.count(), held(&table)), (count, count));
    }
    let (recently, long_ago) = (NOW_US - DAY_US / 24, NOW_US - DAY_US);
    check(None, None, true);
    check(Some(0), None, false);
    check(Some(recently), None, true);
    check(None, Some(recently), true);
    check(None, Some(long_ago), false);
    check(Some(long_ago), Some(i64::MAX), false);
    check(None, Some(i64::MAX), true);
}

#[test]
fn a_table_with_room_forgets_nobody() {
    let table = lookup(Lookup::of_every_key, 100);
    let mut revoked = record(KeyId(0));
    revoked.revoked_at_us = Some(0);
    assert!(table.admit(hash(0), revoked, AT));
    table.sweep();
    assert!(is_held(&table, 0), "it still tells a revoked key from an unknown one");
}

#[test]
fn a_cache_holds_as_many_as_it_may_and_no_more() {
    let cache = lookup(Lookup::new, 1_000);
    for n in 0..5_000 {
        assert!(admit(&cache, n));
        assert_eq!(held(&cache), usize::try_from(n + 1).unwrap().min(1_000));
    }
    assert_eq!(cache.room.count(), held(&cache));
    assert_eq!(cache.stats().known_keys, u64::try_from(held(&cache)).unwrap());
}

#[test]
fn a_cache_keeps_the_keys_that_are_asked_for() {
    let cache = lookup(Lookup::new, 1_000);
    let (now, asked) = (cache.clock.now(), 100);
    let mut newcomer = asked;
    assert!((0..asked).all(|n| admit(&cache, n)));
    // Each of the hundred is asked for ten times as often as a new key comes, of which there are many more than fit.
    for _ in 0..300 {
        for n in 0..asked {
            let _ = cache.find(&hash(n), now);
            if n % 10 == 0 {
                admit(&cache, newcomer);
                newcomer += 1;
            }
        }
        cache.sweep();
    }
    let kept = (0..asked).filter(|&n| is_held(&cache, n)).count();
    assert!(kept >= 95, "{kept}");
    let strangers = (asked..newcomer - 1_500).filter(|&n| is_held(&cache, n)).count();
    assert!(strangers < 950, "{strangers}");
}

#[test]
fn forgetting_all_leaves_nothing_and_what_comes_after_stays() {
    for make in [Lookup::new, Lookup::of_every_key] {
        let lookup = lookup(make, 1_000);
        assert!((0..500).all(|n| admit(&lookup, n)));
        lookup.forget_all();
        assert_eq!((lookup.room.count(), held(&lookup)), (0, 0));
        assert!((0..500).all(|n| admit(&lookup, n)));
        lookup.sweep();
        assert_eq!((lookup.room.count(), held(&lookup)), (500, 500));
    }
}

/// Twenty thousand keys, of which those asked for most are asked for most by far, and room for a tenth: how many requests find
/// their key, beside the best that any choice could do. By recency alone it would be 0.70.
#[test]
fn a_cache_that_is_too_small_serves_most_of_what_a_perfect_one_would() {
    const KEYS: u64 = 20_000;
    let cache = lookup(Lookup::new, KEYS / 10);
    let now = cache.clock.now();
    let weights: Vec<f64> = (1..=KEYS).map(|rank| 1.0 / rank as f64).collect();
    let cumulated: Vec<f64> = weights
        .iter()
        .scan(0.0, |sum, weight| {
            *sum += weight;
            Some(*sum)
        })
        .collect();
    let all = cumulated.last().copied().unwrap();
    let perfect = cumulated[usize::try_from(KEYS / 10).unwrap() - 1] / all;
    let mut state = 1_u64;
    let (mut hits, mut asked) = (0_u32, 0_u32);
    for turn in 0..400_000 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let at = (state >> 11) as f64 / (1_u64 << 53) as f64 * all;
        let n = u64::try_from(cumulated.partition_point(|&sum| sum <= at)).unwrap();
        let is_hit = cache.find(&hash(n), now).is_some();
        if !is_hit {
            admit(&cache, n);
        }
        if turn >= 100_000 {
            asked += 1;
            hits += u32::from(is_hit);
        }
    }
    let share = f64::from(hits) / f64::from(asked);
    println!("{share:.3} of requests find their key; with the most frequent held all the time, {perfect:.3} would");
    assert!(share > 0.70 && perfect < 0.79, "{share:.3} of {perfect:.3}");
}

#[test]
fn stripes_stay_alike_while_keys_come_and_go() {
    let cache = lookup(Lookup::new, 20_480);
    assert!((0..400_000).all(|n| admit(&cache, n)));
    assert_eq!(held(&cache), 20_480);
    let most = cache.stripes.each().map(|stripe| stripe.held.count()).max().unwrap();
    let least = cache.stripes.each().map(|stripe| stripe.held.count()).min().unwrap();
    assert!(least >= 10 && most <= 40, "{least} to {most}, twenty on average");
}

/// Threads that let in, ask for and change keys of a cache that is much too small: what is given is never older than a change that was
/// applied before it was asked for, and no record is left behind.
#[test]
fn changes_hold_while_keys_come_and_go() {
    const KEYS: u64 = 64;
    let cache = lookup(Lookup::new, 16);
    let applied: Vec<AtomicU64> = (0..KEYS).map(|_| AtomicU64::new(1)).collect();
    let is_over = AtomicBool::new(false);
    let given = AtomicU64::new(0);
    cache.distrust_all(AT);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut n = 0;
                while !is_over.load(Ordering::Acquire) {
                    n = (n * 5 + 1) % KEYS;
                    let slot = &applied[usize::try_from(n).unwrap()];
                    let revision = slot.load(Ordering::Acquire);
                    // As read before whatever is being applied now.
                    admit_at(&cache, n, Version { revision, ..AT });
                    let heard = slot.load(Ordering::Acquire);
                    if let Some(Found::Known(key)) = cache.find(&hash(n), cache.clock.now()) {
                        assert!(key.as_of.revision >= heard, "{n}: {:?} after {heard}", key.as_of);
                        given.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        let mut revision = 2;
        while revision < 20_000 || given.load(Ordering::Relaxed) < 20_000 {
            let n = revision % KEYS;
            cache.apply(&Change {
                version: Version { revision, ..AT },
                deployment_id: DeploymentId(1),
                kind: ChangeKind::KeyChanged(hash(n)),
            });
            applied[usize::try_from(n).unwrap()].store(revision, Ordering::Release);
            revision += 1;
        }
        is_over.store(true, Ordering::Release);
    });
    assert!(held(&cache) <= 16, "{}", held(&cache));
    assert_eq!(cache.room.count(), held(&cache));
}
