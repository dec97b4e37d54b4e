//! What finding a held key costs, keys drawn evenly from the whole population (the hardest case for a cache).

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use portcullis_benches::{Picks, Population, SIZES, three_rules};
use portcullis_verify::lookup::{CacheSettings, Lookup};
use portcullis_verify::{Clock, RuleSet};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn benches(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let mut group = c.benchmark_group("look_up");
    for size in SIZES {
        let population = Arc::new(Population::new(size, &three_rules()));
        let settings = CacheSettings {
            keys_max: 4_000_000,
            unknown_keys_max: 1_000,
            unknown_ttl: Duration::from_secs(10),
            fills_max: 64,
            fill_timeout: Duration::from_secs(2),
        };
        let rules = Arc::new(RuleSet::compile(None, &three_rules()));
        let clock = Clock::system();
        let lookup = Arc::new(Lookup::new(
            settings,
            Arc::clone(&population) as _,
            rules,
            clock.clone(),
        ));
        runtime.block_on(async {
            for hash in &population.hashes {
                Arc::clone(&lookup).fill(hash).await.expect("the source answers");
            }
        });
        let mut picks = Picks::below(size);
        group.bench_function(BenchmarkId::new("held", size), |b| {
            b.iter(|| {
                lookup
                    .held(black_box(&population.hashes[picks.pick()]), clock.now())
                    .is_some()
            });
        });
    }
    group.finish();
}

criterion_group!(all, benches);
criterion_main!(all);
