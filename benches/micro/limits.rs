//! What charging costs: three rules, all or none, subjects drawn evenly from the population.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use portcullis_benches::{Picks, Population, SIZES, three_rules};
use portcullis_limits::{LimiterSettings, LocalLimiter};
use portcullis_verify::{ChargeRequest, Clock, KeySource, Limiter, RuleSet, SchemeId, StoredKey};
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn benches(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let mut group = c.benchmark_group("limits");
    for size in SIZES {
        let population = Population::new(size, &three_rules());
        let rules = Arc::new(RuleSet::compile(Some(SchemeId(1)), &three_rules()));
        let keys: Vec<Arc<StoredKey>> = runtime.block_on(async {
            let mut keys = Vec::with_capacity(size);
            for hash in &population.hashes {
                let fetched = population.fetch(hash).await.expect("the source answers");
                // All records of a scheme share its compiled rules, as they do in the cache.
                keys.push(Arc::new(StoredKey::with_rules(
                    fetched.record.expect("a record"),
                    fetched.as_of,
                    Arc::clone(&rules),
                )));
            }
            keys
        });
        let limiter = LocalLimiter::new(LimiterSettings {
            counters_max: 10_000_000,
        });
        let clock = Clock::system();
        let mut picks = Picks::below(size);
        let mut charge = || {
            let pick = picks.pick();
            let address = IpAddr::V4(Ipv4Addr::from(u32::try_from(pick).unwrap_or(0)));
            let request = ChargeRequest {
                path: "/v1/users",
                address: Some(address),
                now: clock.now(),
            };
            limiter.charge(black_box(&keys[pick]), &request)
        };
        group.bench_function(BenchmarkId::new("three rules", size), |b| b.iter(&mut charge));
    }
    group.finish();
}

criterion_group!(all, benches);
criterion_main!(all);
