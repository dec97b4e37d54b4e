//! What finding a held key costs: in a cache that is full, and in a table of every key; drawn by use, and evenly, which is the hardest.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use portcullis_benches::{Drawn, Population, SIZES, Spread, draws, three_rules};
use portcullis_verify::lookup::{CacheSettings, Lookup};
use portcullis_verify::{Clock, KeyHash, KeySource, RuleSet};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Hashes drawn beforehand.
const DRAWS: usize = 1 << 20;

fn benches(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let mut group = c.benchmark_group("look_up");
    for size in SIZES {
        let population = Arc::new(Population::new(size, &three_rules()));
        let settings = CacheSettings {
            keys_max: u64::try_from(size).expect("a small number"),
            unknown_keys_max: 1_000,
            unknown_ttl: Duration::from_secs(10),
            fills_max: 64,
            fill_timeout: Duration::from_secs(2),
        };
        let rules = Arc::new(RuleSet::compile(None, &three_rules()));
        for (kept, make) in [
            ("cached", Lookup::new as fn(_, _, _, _) -> _),
            ("preloaded", Lookup::of_every_key),
        ] {
            let clock = Clock::system();
            let lookup: Lookup = make(
                settings,
                Arc::clone(&population) as _,
                Arc::clone(&rules),
                clock.clone(),
            );
            for hash in &population.hashes {
                let fetched = runtime.block_on(population.fetch(hash)).expect("the source answers");
                lookup.admit(*hash, fetched.record.expect("a record"), fetched.as_of);
            }
            let now = clock.now();
            for spread in Spread::ALL {
                let hashes = draws(size, spread, DRAWS)
                    .into_iter()
                    .map(|pick| population.hashes[pick]);
                let mut drawn: Drawn<KeyHash> = Drawn::new(hashes.collect());
                group.bench_function(BenchmarkId::new(format!("{kept}, {}", spread.name()), size), |b| {
                    b.iter(|| lookup.held(black_box(drawn.draw()), now).is_some());
                });
            }
        }
    }
    group.finish();
}

criterion_group!(all, benches);
criterion_main!(all);
