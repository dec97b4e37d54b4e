//! What the free checks cost once a key is found.

use criterion::{Criterion, criterion_group, criterion_main};
use portcullis_benches::{Population, requirement, three_rules};
use portcullis_verify::decide::decide;
use portcullis_verify::{Clock, KeySource, RuleSet, StoredKey};
use std::hint::black_box;
use std::sync::Arc;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn benches(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let population = Population::new(1, &three_rules());
    let fetched = runtime
        .block_on(population.fetch(&population.hashes[0]))
        .expect("the source answers");
    let rules = Arc::new(RuleSet::compile(None, &three_rules()));
    let key = StoredKey::compile(fetched.record.expect("a record"), fetched.as_of, &rules);
    let (requirement, now) = (requirement(), Clock::system().now());
    c.bench_function("decide/admit", |b| {
        b.iter(|| decide(black_box(&key), &requirement, black_box("/v1/users"), now))
    });
}

criterion_group!(all, benches);
criterion_main!(all);
