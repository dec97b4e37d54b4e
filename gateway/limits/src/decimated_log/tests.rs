//! The log beside an exact log of every admission.

use super::*;
use proptest::prelude::*;

const MS: u64 = 1_000;
const SECOND: u64 = 1_000_000;
const DAY: u64 = 86_400 * SECOND;

/// A decimated log and every admission it ever made.
struct Pair {
    layout: Layout,
    window_us: u64,
    log: DecimatedLog,
    admitted_us: Vec<u64>,
}

impl Pair {
    fn new(limit: u32, window_us: u64) -> Pair {
        let layout = Layout::new(limit, window_us);
        Pair {
            layout,
            window_us,
            log: DecimatedLog::starting_at(&layout, 0),
            admitted_us: Vec::new(),
        }
    }

    fn tick_us(&self) -> u64 {
        self.layout.begins_us(1)
    }

    /// Admissions within this long before `now_us`, half-open.
    fn used(&self, now_us: u64, window_us: u64) -> usize {
        let after = now_us.checked_sub(window_us);
        self.admitted_us.len() - after.map_or(0, |after| self.admitted_us.partition_point(|&at_us| at_us <= after))
    }

    /// Requests one admission and checks all that is promised of it.
    fn request(&mut self, now_us: u64) -> bool {
        let effective_us = now_us.max(self.admitted_us.last().copied().unwrap_or(0));
        let limit = usize::try_from(self.layout.limit()).unwrap();
        let before = self.log.standing(&self.layout, now_us);
        match self.log.wait_us(&self.layout, now_us) {
            None => {
                assert!(
                    self.used(effective_us, self.window_us) < limit,
                    "one too many in the window at {now_us}"
                );
                assert!(before.remaining > 0, "admitted with nothing remaining at {now_us}");
                let after = self.log.admit(&self.layout, now_us);
                self.admitted_us.push(effective_us);
                assert_eq!(after, self.log.standing(&self.layout, now_us), "at {now_us}");
                assert_eq!(after.remaining, before.remaining - 1, "at {now_us}");
                self.check_growth(now_us, after);
                true
            }
            Some(wait_us) => {
                // Stamps are rounded up and the present down: two ticks may be lost, and a group.
                let used = self.used(effective_us, self.window_us + 2 * (self.tick_us() - 1));
                let group = usize::try_from(self.layout.group_size()).unwrap();
                assert!(used > limit - group, "refused with {used} of {limit} used at {now_us}");
                assert_eq!(
                    before,
                    Standing {
                        remaining: 0,
                        grows_in_us: wait_us
                    },
                    "at {now_us}"
                );
                assert!(wait_us > 0);
                assert_eq!(
                    self.log.wait_us(&self.layout, now_us + wait_us),
                    None,
                    "not admitted when promised"
                );
                assert_eq!(
                    self.log.wait_us(&self.layout, now_us + wait_us - 1),
                    Some(1),
                    "promised too late"
                );
                self.check_growth(now_us, before);
                false
            }
        }
    }

    fn check_growth(&self, now_us: u64, standing: Standing) {
        assert!(standing.grows_in_us > 0, "something is used at {now_us}");
        let at = |us| self.log.standing(&self.layout, us).remaining;
        assert!(
            at(now_us + standing.grows_in_us) > standing.remaining,
            "does not grow when promised at {now_us}"
        );
        assert_eq!(
            at(now_us + standing.grows_in_us - 1),
            standing.remaining,
            "grows before promised at {now_us}"
        );
    }

    /// Checks that exactly what `remaining` says would be admitted now in a row.
    fn check_remaining(&self, now_us: u64) {
        let remaining = self.log.standing(&self.layout, now_us).remaining;
        let mut log = self.log;
        for nth in 0..remaining {
            assert_eq!(
                log.wait_us(&self.layout, now_us),
                None,
                "{nth} of {remaining} at {now_us}"
            );
            log.admit(&self.layout, now_us);
        }
        assert!(
            log.wait_us(&self.layout, now_us).is_some(),
            "more than {remaining} at {now_us}"
        );
    }
}

/// One stretch of an arrival pattern. Fractions are thousandths of the window.
#[derive(Debug, Clone)]
enum Arrivals {
    /// This many at one instant.
    Burst(u32),
    /// This many, this far apart.
    Trickle {
        count: u32,
        gap_per_mille: u64,
        jitter_us: u64,
    },
    /// This many, this far apart, however long the window is.
    Flood { count: u32, gap_us: u64 },
    /// Whatever has room, up to a window's edge and from it on.
    Edge { before_us: u64 },
    /// As soon as allowed, this often.
    Eager(u32),
    /// Nobody comes.
    Idle { per_mille: u64 },
    /// Nobody comes until 32 bits of ticks are over.
    LongIdle { ticks: u64 },
    /// A reading of the clock from before others.
    Late { by_us: u64 },
}

fn arrivals() -> impl Strategy<Value = Arrivals> {
    prop_oneof![
        (1..60_u32).prop_map(Arrivals::Burst),
        (1..40_u32, 0..1_400_u64, 0..50_u64).prop_map(|(count, gap_per_mille, jitter_us)| Arrivals::Trickle {
            count,
            gap_per_mille,
            jitter_us
        }),
        (1..80_u32, 0..20_u64).prop_map(|(count, gap_us)| Arrivals::Flood { count, gap_us }),
        (0..5_u64).prop_map(|before_us| Arrivals::Edge { before_us }),
        (1..40_u32).prop_map(Arrivals::Eager),
        (0..2_500_u64).prop_map(|per_mille| Arrivals::Idle { per_mille }),
        ((1_u64 << 31)..(1 << 34)).prop_map(|ticks| Arrivals::LongIdle { ticks }),
        (0..3_000_u64).prop_map(|by_us| Arrivals::Late { by_us }),
    ]
}

fn limits() -> impl Strategy<Value = u32> {
    prop_oneof![1..=18_u32, 17..=70_u32, 70..=300_u32]
}

fn windows() -> impl Strategy<Value = u64> {
    prop_oneof![
        (1..=60_000_u64).prop_map(|ms| ms * MS),
        (1..=1_800_u64).prop_map(|seconds| seconds * SECOND),
        (1..=1_440_u64).prop_map(|minutes| minutes * 60 * SECOND),
        (1..=720_u64).prop_map(|hours| hours * 3_600 * SECOND),
        Just(MS),
        Just(1 << 30),
        Just((1 << 30) + MS),
        Just(30 * DAY),
    ]
}

fn walk(pair: &mut Pair, now_us: &mut u64, stretch: &Arrivals) {
    let window_us = pair.window_us;
    match *stretch {
        Arrivals::Burst(count) => {
            for _ in 0..count {
                pair.request(*now_us);
            }
        }
        Arrivals::Trickle {
            count,
            gap_per_mille,
            jitter_us,
        } => {
            for nth in 0..count {
                *now_us += window_us * gap_per_mille / 1_000 + (u64::from(nth) * 7_919) % (jitter_us + 1);
                pair.request(*now_us);
            }
        }
        Arrivals::Flood { count, gap_us } => {
            for _ in 0..count {
                *now_us += gap_us;
                pair.request(*now_us);
            }
        }
        Arrivals::Edge { before_us } => {
            let first_us = *now_us;
            for at_us in [
                first_us,
                first_us + window_us - before_us.min(window_us),
                first_us + window_us,
            ] {
                *now_us = at_us;
                for _ in 0..pair.layout.limit() + 2 {
                    pair.request(*now_us);
                }
            }
        }
        Arrivals::Eager(count) => {
            for _ in 0..count {
                *now_us += pair.log.wait_us(&pair.layout, *now_us).unwrap_or(0);
                assert!(pair.request(*now_us));
            }
        }
        Arrivals::Idle { per_mille } => *now_us += window_us * per_mille / 1_000,
        Arrivals::LongIdle { ticks } => *now_us += ticks * pair.tick_us(),
        Arrivals::Late { by_us } => {
            pair.request(now_us.saturating_sub(by_us));
        }
    }
    pair.check_remaining(*now_us);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_window_holds_more_than_its_limit(
        limit in limits(),
        window_us in windows(),
        start_us in prop_oneof![Just(0), 0..100 * DAY],
        pattern in prop::collection::vec(arrivals(), 1..20),
    ) {
        let mut pair = Pair::new(limit, window_us);
        let mut now_us = start_us;
        for stretch in &pattern {
            walk(&mut pair, &mut now_us, stretch);
        }
    }

    #[test]
    fn an_edit_keeps_what_was_used(
        limits in (limits(), limits()),
        windows in (windows(), windows()),
        start_us in 0..100 * DAY,
        before in prop::collection::vec(arrivals(), 1..8),
        after in prop::collection::vec(arrivals(), 1..8),
    ) {
        let mut pair = Pair::new(limits.0, windows.0);
        let mut now_us = start_us;
        for stretch in &before {
            walk(&mut pair, &mut now_us, stretch);
        }
        edit(&mut pair, limits.1, windows.1, now_us);
        for stretch in &after {
            walk_edited(&mut pair, &mut now_us, stretch);
        }
    }
}

/// Replays the log into another shape and keeps, of the exact log, what the replay may still know.
fn edit(pair: &mut Pair, limit: u32, window_us: u64, now_us: u64) {
    let layout = Layout::new(limit, window_us);
    let batches = pair.log.batches(&pair.layout);
    let held: usize = batches.iter().map(|batch| usize::try_from(batch.count).unwrap()).sum();
    assert!(held <= pair.admitted_us.len());
    assert!(
        held >= pair.used(now_us.max(*pair.admitted_us.last().unwrap_or(&0)), pair.window_us),
        "lost at {now_us}"
    );
    pair.log = DecimatedLog::replay(&layout, &batches, now_us);
    let kept = held.min(usize::try_from(limit).unwrap());
    pair.admitted_us.drain(..pair.admitted_us.len() - kept);
    pair.layout = layout;
    pair.window_us = window_us;
}

/// After an edit stamps may be late by a group of the old shape, so that only what must never be exceeded is checked.
fn walk_edited(pair: &mut Pair, now_us: &mut u64, stretch: &Arrivals) {
    let requests = match *stretch {
        Arrivals::Burst(count) | Arrivals::Eager(count) => count,
        Arrivals::Trickle { count, .. } | Arrivals::Flood { count, .. } => count,
        _ => 1,
    };
    for nth in 0..requests {
        *now_us += match *stretch {
            Arrivals::Trickle {
                gap_per_mille,
                jitter_us,
                ..
            } => pair.window_us * gap_per_mille / 1_000 + (u64::from(nth) * 7_919) % (jitter_us + 1),
            Arrivals::Flood { gap_us, .. } => gap_us,
            Arrivals::Edge { before_us } => pair.window_us - before_us.min(pair.window_us),
            Arrivals::Eager(_) => pair.log.wait_us(&pair.layout, *now_us).unwrap_or(0),
            Arrivals::Idle { per_mille } => pair.window_us * per_mille / 1_000,
            Arrivals::LongIdle { ticks } => ticks * pair.tick_us(),
            Arrivals::Burst(_) | Arrivals::Late { .. } => 0,
        };
        let Some(wait_us) = pair.log.wait_us(&pair.layout, *now_us) else {
            let effective_us = (*now_us).max(pair.admitted_us.last().copied().unwrap_or(0));
            let limit = usize::try_from(pair.layout.limit()).unwrap();
            assert!(
                pair.used(effective_us, pair.window_us) < limit,
                "one too many in the window at {now_us}"
            );
            pair.log.admit(&pair.layout, *now_us);
            pair.admitted_us.push(effective_us);
            continue;
        };
        assert_eq!(pair.log.wait_us(&pair.layout, *now_us + wait_us), None);
        assert_eq!(pair.log.wait_us(&pair.layout, *now_us + wait_us - 1), Some(1));
        assert!(
            wait_us <= pair.window_us + 2 * pair.tick_us(),
            "a replay waits longer than a window"
        );
    }
    pair.check_remaining(*now_us);
}

#[test]
fn a_burst_takes_the_whole_limit_and_comes_back_whole() {
    let check = |limit: u32, window_us: u64| {
        let mut pair = Pair::new(limit, window_us);
        let start_us = 5 * DAY;
        for lap in 0..3 {
            let now_us = start_us + lap * window_us.next_multiple_of(pair.tick_us());
            for nth in 1..=limit {
                assert!(pair.request(now_us), "{nth} of {limit} per {window_us}");
                let standing = pair.log.standing(&pair.layout, now_us);
                assert_eq!(standing.remaining, limit - nth);
            }
            assert!(!pair.request(now_us));
            assert!(!pair.request(now_us + window_us - 1));
        }
    };
    for limit in (1..=40).chain([100, 1_000, 1_001]) {
        for window_us in [MS, 60 * SECOND, 1_800 * SECOND, 3_600 * SECOND, DAY, 30 * DAY] {
            check(limit, window_us);
        }
    }
}

#[test]
fn sixteen_or_fewer_are_counted_exactly() {
    for limit in 1..=16_u32 {
        let mut pair = Pair::new(limit, 60 * SECOND);
        let mut now_us = 0;
        for nth in 0..20_000_u64 {
            now_us += (nth * 2_654_435_761) % 9_000_001;
            let room = pair.used(now_us, pair.window_us) < usize::try_from(limit).unwrap();
            assert_eq!(pair.request(now_us), room, "limit {limit} at {now_us}");
        }
    }
}

#[test]
fn a_slow_trickle_outlives_the_stamps() {
    // One request every 0.9 windows never leaves the log idle, and passes 32 bits of ticks every few requests.
    for (limit, window_us) in [
        (16, 1_u64 << 30),
        (1_000, 1 << 30),
        (2, 30 * DAY),
        (17, 30 * DAY),
        (40, 1_800 * SECOND),
    ] {
        let mut pair = Pair::new(limit, window_us);
        let mut now_us = 0;
        for nth in 0..20_000.min(TIME_US_MAX / window_us) {
            now_us += window_us * (85 + nth % 10) / 100;
            pair.request(now_us);
        }
        let last_us = *pair.admitted_us.last().unwrap();
        assert!(last_us / pair.tick_us() > 1 << 39, "the stamps were not outlived");
        pair.check_remaining(now_us);
        for _ in 0..limit {
            pair.request(now_us);
        }
    }
}

#[test]
fn the_largest_limit_is_counted_to_the_request() {
    let limit = i32::MAX.unsigned_abs();
    for window_us in [MS, 60 * SECOND, 30 * DAY] {
        let layout = Layout::new(limit, window_us);
        let now_us = 40 * DAY;
        let nearly = Batches::from_slice(&[Batch {
            at_us: now_us,
            count: limit - 3,
        }]);
        let mut log = DecimatedLog::replay(&layout, &nearly, now_us);
        for left in (0..3).rev() {
            assert_eq!(log.wait_us(&layout, now_us), None);
            log.admit(&layout, now_us);
            assert_eq!(log.standing(&layout, now_us).remaining, left);
        }
        let wait_us = log.wait_us(&layout, now_us).unwrap();
        assert!(wait_us >= window_us && wait_us <= window_us + 2 * layout.begins_us(1));
        assert_eq!(log.standing(&layout, now_us + wait_us).remaining, limit);
    }
}

#[test]
fn a_log_that_was_never_used_is_idle_and_whole() {
    let layout = Layout::new(100, 60 * SECOND);
    for (floor_us, now_us) in [(0, 0), (0, 1), (5 * DAY, 5 * DAY), (5 * DAY, 0)] {
        let log = DecimatedLog::starting_at(&layout, floor_us);
        assert!(log.is_idle(&layout, now_us));
        assert_eq!(log.wait_us(&layout, now_us), None);
        assert_eq!(
            log.standing(&layout, now_us),
            Standing {
                remaining: 100,
                grows_in_us: 0
            }
        );
    }
}

#[test]
fn a_floor_is_never_undercut() {
    // What was forgotten at the floor had left the window then; a request stamped earlier must not see it come back.
    let layout = Layout::new(1, 3_600 * SECOND);
    let floor_us = 7_200 * SECOND + 1;
    let mut log = DecimatedLog::starting_at(&layout, floor_us);
    log.admit(&layout, 10);
    assert_eq!(
        log.batches(&layout).as_slice(),
        [Batch {
            at_us: floor_us,
            count: 1
        }]
    );
}

#[test]
fn it_is_idle_exactly_one_window_after_the_newest_admission() {
    let mut pair = Pair::new(100, 60 * SECOND);
    pair.request(7);
    pair.request(9);
    assert!(!pair.log.is_idle(&pair.layout, 9 + 60 * SECOND - 1));
    assert!(pair.log.is_idle(&pair.layout, 9 + 60 * SECOND));
}

#[test]
fn edits_keep_the_newest_that_fit() {
    #[derive(Debug)]
    struct Case {
        used: u32,
        from: (u32, u64),
        to: (u32, u64),
        after_us: u64,
        remaining: u32,
    }
    let check = |case: Case| {
        let (from, to) = (Layout::new(case.from.0, case.from.1), Layout::new(case.to.0, case.to.1));
        let mut log = DecimatedLog::starting_at(&from, 0);
        let start_us = DAY;
        for _ in 0..case.used {
            log.admit(&from, start_us);
        }
        let now_us = start_us + case.after_us;
        let replayed = DecimatedLog::replay(&to, &log.batches(&from), now_us);
        assert_eq!(replayed.standing(&to, now_us).remaining, case.remaining, "{case:?}");
    };
    let minute = 60 * SECOND;
    check(Case {
        used: 60,
        from: (100, minute),
        to: (200, minute),
        after_us: 0,
        remaining: 140,
    });
    check(Case {
        used: 60,
        from: (100, minute),
        to: (70, minute),
        after_us: 0,
        remaining: 10,
    });
    check(Case {
        used: 60,
        from: (100, minute),
        to: (10, minute),
        after_us: 0,
        remaining: 0,
    });
    check(Case {
        used: 60,
        from: (100, minute),
        to: (100, 10 * minute),
        after_us: 0,
        remaining: 40,
    });
    check(Case {
        used: 60,
        from: (100, minute),
        to: (100, 10 * minute),
        after_us: 2 * minute,
        remaining: 40,
    });
    check(Case {
        used: 60,
        from: (100, minute),
        to: (100, SECOND),
        after_us: SECOND - 1,
        remaining: 40,
    });
    check(Case {
        used: 60,
        from: (100, minute),
        to: (100, SECOND),
        after_us: SECOND,
        remaining: 100,
    });
    check(Case {
        used: 60,
        from: (100, minute),
        to: (100, 30 * DAY),
        after_us: 0,
        remaining: 40,
    });
    check(Case {
        used: 16,
        from: (16, 30 * DAY),
        to: (3, minute),
        after_us: 0,
        remaining: 0,
    });
    check(Case {
        used: 0,
        from: (16, 30 * DAY),
        to: (3, minute),
        after_us: 0,
        remaining: 3,
    });
}

#[test]
fn editing_to_and_fro_does_not_move_the_newest_admission() {
    let (fine, coarse) = (Layout::new(100, 60 * SECOND), Layout::new(100, 30 * DAY));
    let mut log = DecimatedLog::starting_at(&fine, 0);
    let now_us = DAY + 1;
    for _ in 0..40 {
        log.admit(&fine, now_us);
    }
    for _ in 0..1_000 {
        log = DecimatedLog::replay(&coarse, &log.batches(&fine), now_us);
        log = DecimatedLog::replay(&fine, &log.batches(&coarse), now_us);
    }
    assert_eq!(log.batches(&fine).last().unwrap().at_us, now_us);
    assert_eq!(
        log.standing(&fine, now_us),
        Standing {
            remaining: 60,
            grows_in_us: 60 * SECOND
        }
    );
}

#[test]
fn a_head_is_three_words_and_the_stamps_are_a_cache_line() {
    assert_eq!((size_of::<LogHead>(), size_of::<Stamps>()), (24, 64));
}
