//! What it costs to count a decision: on one key, on many, and by two threads at once.
//!
//! `record` is what touching the key's record costs by itself, which a decision has paid for already.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use portcullis_benches::{Picks, Population, three_rules};
use portcullis_record::usage::{METER_ROWS_MAX, UsageMeter};
use portcullis_verify::{
    Charge, ChargeOutcome, Clock, KeyHash, KeySource, Permit, RuleSet, SchemeId, StoredKey, Verdict,
};
use std::hint::black_box;
use std::sync::{Arc, Barrier};
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SIZES: [usize; 3] = [1, 1_000, 100_000];

/// Verdicts that let a request pass, on so many keys.
fn verdicts(size: usize) -> Vec<Verdict> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let population = Population::new(size, &three_rules());
    let rules = Arc::new(RuleSet::compile(Some(SchemeId(1)), &three_rules()));
    let verdict = |hash: &KeyHash| {
        let fetched = runtime.block_on(population.fetch(hash)).expect("the source answers");
        let record = fetched.record.expect("a record");
        Verdict::Allow(Permit {
            key: Arc::new(StoredKey::with_rules(record, fetched.as_of, Arc::clone(&rules))),
            hash: *hash,
            charge: Charge {
                outcome: ChargeOutcome::Admitted,
                states: Default::default(),
            },
        })
    };
    population.hashes.iter().map(verdict).collect()
}

/// The time for about so many notes, each the first of its key since the last gathering, with all that follows from them.
fn first_notes(meter: &UsageMeter, verdicts: &[Verdict], notes: u64) -> Duration {
    let clock = Clock::system();
    let now = clock.now();
    meter.gather();
    drop(meter.take(usize::MAX));
    let keys = u64::try_from(verdicts.len()).unwrap_or(u64::MAX);
    let rounds = notes.div_ceil(keys);
    let begun = clock.now();
    for _ in 0..rounds {
        for verdict in verdicts {
            meter.note(black_box(verdict), now);
        }
        meter.gather();
        black_box(meter.take(usize::MAX));
    }
    let elapsed_us = clock.now().monotonic_us - begun.monotonic_us;
    Duration::from_nanos(elapsed_us * 1_000 * notes / (rounds * keys))
}

/// The time that two threads take for so many notes each, one on each of the verdicts.
fn together(meter: &UsageMeter, verdicts: [&Verdict; 2], notes: u64) -> Duration {
    let now = Clock::system().now();
    let start = Barrier::new(2);
    let run = |verdict: &Verdict| {
        start.wait();
        let clock = Clock::system();
        let begun = clock.now();
        for _ in 0..notes {
            meter.note(black_box(verdict), now);
        }
        Duration::from_micros(clock.now().monotonic_us - begun.monotonic_us)
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(|| run(verdicts[1]));
        run(verdicts[0]).max(other.join().expect("the other thread ends"))
    })
}

fn benches(c: &mut Criterion) {
    let now = Clock::system().now();
    let meter = UsageMeter::new(METER_ROWS_MAX, now);
    let mut group = c.benchmark_group("usage");
    for size in SIZES {
        let verdicts = verdicts(size);
        let mut picks = Picks::below(size);
        group.bench_function(BenchmarkId::new("record", size), |b| {
            b.iter(|| match black_box(&verdicts[picks.pick()]) {
                Verdict::Allow(permit) => permit.key.key_id.0,
                Verdict::Deny(_) => 0,
            });
        });
        group.bench_function(BenchmarkId::new("note", size), |b| {
            b.iter(|| meter.note(black_box(&verdicts[picks.pick()]), now));
        });
        group.bench_function(BenchmarkId::new("first note, gathered and taken", size), |b| {
            b.iter_custom(|notes| first_notes(&meter, &verdicts, notes));
        });
    }
    let pair = verdicts(2);
    for (name, second) in [("a key each", 1), ("one key", 0)] {
        group.bench_function(BenchmarkId::new("note by two threads", name), |b| {
            b.iter_custom(|notes| together(&meter, [&pair[0], &pair[second]], notes));
        });
    }
    group.finish();
}

criterion_group!(all, benches);
criterion_main!(all);
