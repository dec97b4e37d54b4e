//! Threads under a scheduler that tries out their orders: no two requests wait for each other, and none is charged in part.
//!
//! Runs under the feature `shuttle` alone, where the table is so small that requests often meet in a shard. Threads of the
//! machine's own are in `concurrent.rs`.

use super::*;
use crate::subject::SubjectHasher;
use crate::table::CounterTable;
use shuttle::rand::{Rng, thread_rng};
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::thread;
use shuttle::{Config, FailurePersistence, Runner};
use std::collections::HashMap;

/// Schedules of each kind tried per test.
const SCHEDULES: usize = 2_000;

/// Bugs that take so many preemptions are sought by schedules of the second kind.
const PREEMPTIONS: usize = 3;

const THREADS: u64 = 3;

type Admitted = HashMap<(u64, u64), u32>;

/// Runs `scenario` under schedules drawn evenly, and under such as favour few preemptions at unlikely places.
fn explore(scenario: fn()) {
    let run = |scheduler: Box<dyn Scheduler + Send>| {
        let mut config = Config::new();
        config.failure_persistence = FailurePersistence::Print;
        Runner::new(scheduler, config).run(scenario);
    };
    run(Box::new(RandomScheduler::new(SCHEDULES)));
    run(Box::new(PctScheduler::new(PREEMPTIONS, SCHEDULES)));
}

/// A limiter whose placing of subjects belongs to the schedule, so that a failure can be replayed.
fn limiter_of(counters_max: usize) -> Arc<LocalLimiter> {
    let keys = [0, 1].map(|_: u8| thread_rng().r#gen());
    Arc::new(LocalLimiter::over(CounterTable::with_hasher(
        counters_max,
        SubjectHasher::of_keys(keys),
    )))
}

/// Five rules over addresses, keys and apps; the order in which a key has them differs from key to key.
fn keys(limits: [i32; 5]) -> Arc<Vec<StoredKey>> {
    let modes = [
        Mode::PerApp,
        Mode::PerKey,
        Mode::PerIp,
        Mode::PerAppAndIp,
        Mode::PerKeyAndIp,
    ];
    let key = |index: u64| {
        let rules: Vec<Rule> = (0..5)
            .map(|nth| Rule {
                priority: Some(i32::try_from((nth + 2 * index) % 5).unwrap()),
                ..per_minute(
                    modes[usize::try_from(nth).unwrap()],
                    limits[usize::try_from(nth).unwrap()],
                )
            })
            .collect();
        let lineage = i64::try_from(index).unwrap() + 1;
        let key = stored(
            Holder {
                key: lineage,
                lineage,
                ..ANYONE
            },
            &rules,
        );
        // The view that a rule set keeps for the limiter is made before there are threads.
        LocalLimiter::new(LimiterSettings { counters_max: 0 }).peek(&key, &from("192.0.2.1", start()));
        key
    };
    Arc::new((0..2).map(key).collect())
}

fn address(host: u64) -> IpAddr {
    IpAddr::from([192, 0, 2, u8::try_from(host).unwrap()])
}

fn request(host: u64, now: Moment) -> ChargeRequest<'static> {
    ChargeRequest {
        path: "/",
        address: Some(address(host)),
        now,
    }
}

/// Charges from several threads while another sweeps, and answers how often each key was admitted from each address.
fn charge_in_threads(limiter: &Arc<LocalLimiter>, keys: &Arc<Vec<StoredKey>>, now: Moment, each: u64) -> Admitted {
    let sweeper = {
        let limiter = Arc::clone(limiter);
        thread::spawn(move || (0..SWEEPS_PER_ROUND).for_each(|_| limiter.sweep(now)))
    };
    let charge = |nth: u64| {
        let (limiter, keys) = (Arc::clone(limiter), Arc::clone(keys));
        thread::spawn(move || {
            let mut admitted = Admitted::new();
            for step in 0..each {
                let (key, host) = ((nth + step) % 2, (nth + step / 2) % 2);
                let charge = limiter.charge(&keys[usize::try_from(key).unwrap()], &request(host, now));
                if charge.outcome == ChargeOutcome::Admitted {
                    *admitted.entry((key, host)).or_default() += 1;
                }
            }
            admitted
        })
    };
    let threads: Vec<_> = (0..THREADS).map(charge).collect();
    sweeper.join().unwrap();
    let mut sum = Admitted::new();
    for (whose, count) in threads.into_iter().flat_map(|thread| thread.join().unwrap()) {
        *sum.entry(whose).or_default() += count;
    }
    sum
}

/// What of `admitted` a rule of this mode counts together with a request.
fn counted(admitted: &Admitted, mode: Mode, key: u64, host: u64) -> u32 {
    let is_counted = |of: &(u64, u64)| match mode {
        Mode::PerApp => true,
        Mode::PerKey => of.0 == key,
        Mode::PerIp | Mode::PerAppAndIp => of.1 == host,
        Mode::PerKeyAndIp => *of == (key, host),
    };
    admitted
        .iter()
        .filter(|(of, _)| is_counted(of))
        .map(|(_, count)| count)
        .sum()
}

/// Asserts that every counter holds what was admitted and nothing else; a shared one may hold that of others, too.
fn check_counters(limiter: &LocalLimiter, keys: &[StoredKey], admitted: &Admitted, now: Moment, is_shared: bool) {
    for key in 0..2 {
        for host in 0..2 {
            let stored = &keys[usize::try_from(key).unwrap()];
            for state in limiter.peek(stored, &request(host, now)).states {
                let counted = counted(admitted, stored.rules.rules[state.rule].mode, key, host);
                let used = state.limit - state.remaining;
                assert!(counted <= state.limit, "{state:?}: {admitted:?}");
                assert!(
                    used == counted || is_shared && used > counted,
                    "{state:?}: {admitted:?}"
                );
            }
        }
    }
}

#[test]
fn what_was_charged_is_what_was_admitted_under_any_schedule() {
    explore(|| {
        let (limiter, keys) = (limiter_of(1_000), keys([4, 3, 3, 3, 2]));
        let admitted = charge_in_threads(&limiter, &keys, start(), 3);
        let sum: u32 = admitted.values().sum();
        assert!((3..=4).contains(&sum), "{admitted:?}");
        check_counters(&limiter, &keys, &admitted, start(), false);
    });
}

#[test]
fn a_window_that_ends_under_sweeps_begins_once_under_any_schedule() {
    explore(|| {
        let (limiter, keys) = (limiter_of(1_000), keys([4, 3, 3, 3, 2]));
        for phase in 0..2 {
            let now = later(phase * 60 * SECOND);
            let admitted = charge_in_threads(&limiter, &keys, now, 2);
            check_counters(&limiter, &keys, &admitted, now, false);
        }
    });
}

#[test]
fn a_full_table_admits_nothing_twice_under_any_schedule() {
    explore(|| {
        // Enough for some: the others share, and move when a sweep makes room.
        let (limiter, keys) = (limiter_of(thread_rng().gen_range(0..6)), keys([4, 3, 3, 3, 2]));
        for phase in 0..2 {
            let now = later(phase * 60 * SECOND);
            let admitted = charge_in_threads(&limiter, &keys, now, 2);
            check_counters(&limiter, &keys, &admitted, now, true);
        }
    });
}

#[test]
fn a_refused_request_changes_no_counter_under_any_schedule() {
    explore(|| {
        let (limiter, keys) = (limiter_of(1_000), keys([2, 9, 9, 9, 9]));
        // The app's limit is used up; the counters of the other key and address are still to be made.
        for _ in 0..2 {
            assert_eq!(
                limiter.charge(&keys[0], &request(0, start())).outcome,
                ChargeOutcome::Admitted
            );
        }
        let before = limiter.table.tallies();
        let admitted = charge_in_threads(&limiter, &keys, later(SECOND), 3);
        assert!(admitted.is_empty(), "{admitted:?}");
        assert_eq!(limiter.table.tallies(), before);
    });
}

#[test]
fn two_versions_of_a_scheme_admit_no_more_than_the_larger_under_any_schedule() {
    explore(|| {
        let limiter = limiter_of(1_000);
        let (old, new) = (keys([4, 9, 9, 9, 9]), keys([3, 9, 9, 9, 9]));
        let both: Vec<_> = [old, new]
            .into_iter()
            .map(|keys| {
                let limiter = Arc::clone(&limiter);
                thread::spawn(move || charge_in_threads(&limiter, &keys, start(), 1).values().sum::<u32>())
            })
            .collect();
        let sum: u32 = both.into_iter().map(|thread| thread.join().unwrap()).sum();
        assert!((3..=4).contains(&sum), "{sum}");
    });
}
