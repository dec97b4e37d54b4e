//! Many threads on the same counters: nothing is admitted twice, nothing is charged in part.

use super::*;
use std::collections::HashMap;
use std::sync::Barrier;
use std::sync::atomic::AtomicBool;

const THREADS: u64 = 4;

/// Runs `work` in every thread at once and gathers what each answers.
fn in_threads<T: Send>(work: impl Fn(u64) -> T + Sync) -> Vec<T> {
    let barrier = Barrier::new(usize::try_from(THREADS).unwrap());
    let run = &|thread| {
        barrier.wait();
        work(thread)
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|thread| scope.spawn(move || run(thread))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// Small, fast, and good enough to mix arrivals.
struct Mixer(u64);

impl Mixer {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

fn address(host: u64) -> IpAddr {
    IpAddr::from([198, 51, 100, u8::try_from(host).unwrap()])
}

/// Three rules in different orders in different records, so that an order of locking that follows the rules would lock up.
fn record(key: u64, app: i64, limits: [i32; 3]) -> StoredKey {
    let by = |mode, limit, nth: u64| Rule {
        priority: Some(i32::try_from((key + nth) % 3).unwrap()),
        ..per_minute(mode, limit)
    };
    let rules = [
        by(Mode::PerApp, limits[0], 0),
        by(Mode::PerKey, limits[1], 1),
        by(Mode::PerAppAndIp, limits[2], 2),
    ];
    let lineage = i64::try_from(key).unwrap() + 1;
    stored(
        Holder {
            key: lineage,
            lineage,
            app,
            ..ANYONE
        },
        &rules,
    )
}

#[test]
fn what_was_charged_is_what_was_admitted() {
    let limiter = limiter();
    let keys: Vec<StoredKey> = (0..4).map(|key| record(key, 1, [3_000, 900, 400])).collect();
    for phase in 0..5 {
        let now = later(phase * 60 * SECOND);
        let admitted = in_threads(|thread| {
            let mut mixer = Mixer(thread + 10 * phase);
            let mut admitted: HashMap<(u64, u64), u32> = HashMap::new();
            for _ in 0..20_000 {
                let (key, host) = (mixer.below(4), mixer.below(9));
                let request = ChargeRequest {
                    path: "/",
                    address: Some(address(host)),
                    now,
                };
                if limiter.charge(&keys[usize::try_from(key).unwrap()], &request).outcome == ChargeOutcome::Admitted {
                    *admitted.entry((key, host)).or_default() += 1;
                }
            }
            admitted
        });
        let sum = |of: &dyn Fn(u64, u64) -> bool| -> u32 {
            admitted
                .iter()
                .flatten()
                .filter(|((key, host), _)| of(*key, *host))
                .map(|(_, count)| count)
                .sum()
        };
        assert_eq!(sum(&|_, _| true), 3_000, "the app's limit is used up and not passed");
        for index in 0..4 {
            let key = &keys[usize::try_from(index).unwrap()];
            for from in 0..9 {
                // Each counter was charged exactly for what passed: a refused request left no trace anywhere.
                let request = ChargeRequest {
                    path: "/",
                    address: Some(address(from)),
                    now,
                };
                for state in limiter.peek(key, &request).states {
                    let used = match key.rules.rules[state.rule].mode {
                        Mode::PerApp => sum(&|_, _| true),
                        Mode::PerKey => sum(&|key, _| key == index),
                        _ => sum(&|_, host| host == from),
                    };
                    assert_eq!(
                        state.limit - state.remaining,
                        used,
                        "{state:?} of key {index} from {from}"
                    );
                }
            }
        }
    }
}

#[test]
fn refused_requests_change_no_counter_bit_for_bit() {
    let limiter = limiter();
    let day = [
        per_minute(Mode::PerApp, 50),
        rule(Mode::PerKey, Unit::CalendarDay, 1, 900),
        per_minute(Mode::PerKeyAndIp, 900),
    ];
    let lineage = |key: i64| Holder {
        key,
        lineage: key,
        ..ANYONE
    };
    let keys: Vec<StoredKey> = (1..=4)
        .map(|key| {
            let mut rules = day.clone();
            // One half of the records has the rules in the opposite order.
            for (nth, rule) in (0..).zip(&mut rules) {
                rule.priority = Some(if key % 2 == 0 { nth } else { -nth });
            }
            stored(lineage(key), &rules)
        })
        .collect();
    let one = |thread: u64, mixer: &mut Mixer| {
        let request = ChargeRequest {
            path: "/",
            address: Some(address(mixer.below(5))),
            now: later(thread * SECOND),
        };
        let key = &keys[usize::try_from(mixer.below(4)).unwrap()];
        limiter.charge(key, &request).outcome == ChargeOutcome::Admitted
    };
    let mut mixer = Mixer(7);
    while one(0, &mut mixer) {}
    // Some keys and addresses have a counter by now and some do not: refusals must neither make nor touch any.
    let before = limiter.table.tallies();
    let admitted = in_threads(|thread| {
        let mut mixer = Mixer(thread);
        (0..50_000).filter(|_| one(thread, &mut mixer)).count()
    });
    assert_eq!(admitted.iter().sum::<usize>(), 0);
    assert_eq!(limiter.table.tallies(), before);
}

/// Charges in phases a window apart while another thread sweeps, and answers how much each phase admitted of each address.
fn charge_under_sweeps(limiter: &LocalLimiter, phases: u64, hosts: u64) -> Vec<HashMap<u64, u32>> {
    let rules = [per_minute(Mode::PerApp, i32::MAX), per_minute(Mode::PerIp, 30)];
    let keys: Vec<StoredKey> = (0..2).map(|_| stored(ANYONE, &rules)).collect();
    let charge_phase = |phase: u64| {
        let now = later(phase * 60 * SECOND);
        let done = AtomicBool::new(false);
        let admitted = std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut sweeps = 0;
                while sweeps < SWEEPS_PER_ROUND || !done.load(Ordering::Relaxed) {
                    limiter.sweep(now);
                    sweeps += 1;
                }
            });
            let admitted = in_threads(|thread| {
                let mut mixer = Mixer(thread + 10 * phase);
                let key = &keys[usize::try_from(thread % 2).unwrap()];
                let mut admitted: HashMap<u64, u32> = HashMap::new();
                for _ in 0..6_000 {
                    let host = mixer.below(hosts);
                    let request = ChargeRequest {
                        path: "/",
                        address: Some(address(host)),
                        now,
                    };
                    if limiter.charge(key, &request).outcome == ChargeOutcome::Admitted {
                        *admitted.entry(host).or_default() += 1;
                    }
                }
                admitted
            });
            done.store(true, Ordering::Relaxed);
            admitted
        });
        let mut sum: HashMap<u64, u32> = HashMap::new();
        for (host, count) in admitted.into_iter().flatten() {
            *sum.entry(host).or_default() += count;
        }
        sum
    };
    (0..phases).map(charge_phase).collect()
}

#[test]
fn sweeping_under_load_neither_splits_nor_forgets_a_counter() {
    let limiter = limiter();
    for (phase, admitted) in charge_under_sweeps(&limiter, 30, 40).into_iter().enumerate() {
        for host in 0..40 {
            assert_eq!(admitted.get(&host), Some(&30), "host {host} in phase {phase}");
        }
    }
    assert!(limiter.stats().evicted > 0, "{:?}", limiter.stats());
}

#[test]
fn moving_from_shared_to_own_counters_under_load_admits_nothing_twice() {
    let limiter = LocalLimiter::new(LimiterSettings { counters_max: 20 });
    for (phase, admitted) in charge_under_sweeps(&limiter, 60, 200).into_iter().enumerate() {
        for (host, count) in admitted {
            assert!(count <= 30, "host {host} in phase {phase}: {count}");
        }
    }
    let stats = limiter.stats();
    assert!(stats.overflowed > 0 && stats.evicted > 0, "{stats:?}");
}

#[test]
fn threads_with_clocks_of_their_own_never_pass_the_limit() {
    const LIMIT: usize = 100;
    let limiter = limiter();
    let rules = [per_minute(Mode::PerKey, i32::try_from(LIMIT).unwrap())];
    let keys: Vec<StoredKey> = (0..THREADS).map(|_| stored(ANYONE, &rules)).collect();
    let clock_us = AtomicU64::new(0);
    let admitted = in_threads(|thread| {
        let key = &keys[usize::try_from(thread).unwrap()];
        let mut admitted = Vec::new();
        for _ in 0..100_000 {
            let read_us = clock_us.fetch_add(5_000, Ordering::SeqCst);
            let request = ChargeRequest {
                path: "/",
                address: None,
                now: later(read_us),
            };
            if limiter.charge(key, &request).outcome == ChargeOutcome::Admitted {
                admitted.push((read_us, clock_us.load(Ordering::SeqCst)));
            }
        }
        admitted
    })
    .concat();
    // Each was admitted at some time between its two readings, so the n-th of all lies between the n-th first and the n-th
    // second reading. That leaves no doubt about windows longer than a thread can be held up.
    let (mut first_us, mut last_us): (Vec<u64>, Vec<u64>) = admitted.into_iter().unzip();
    first_us.sort_unstable();
    last_us.sort_unstable();
    for (earlier_us, later_us) in first_us.iter().zip(&last_us[LIMIT..]) {
        assert!(
            later_us - earlier_us >= 60 * SECOND,
            "{LIMIT} and one within {} µs",
            later_us - earlier_us
        );
    }
    let laps = clock_us.into_inner() / (60 * SECOND);
    assert!(
        u64::try_from(first_us.len()).unwrap() > (laps - 1) * 90,
        "{} in {laps} windows",
        first_us.len()
    );
}
