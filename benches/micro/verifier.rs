//! What one whole decision costs: parse, hash, look-up, decide, three limits; and what refusing costs.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use portcullis_benches::{Picks, Population, SIZES, requirement, three_rules, verifier};
use portcullis_verify::VerifyRequest;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn benches(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let requirement = requirement();
    let mut group = c.benchmark_group("verifier");
    for size in SIZES {
        let population = Arc::new(Population::new(size, &three_rules()));
        let verifier = verifier(Arc::clone(&population));
        let request = |pick: usize| VerifyRequest {
            credential: population.secrets[pick].as_bytes(),
            path: "/v1/users",
            address: Some(IpAddr::V4(Ipv4Addr::from(u32::try_from(pick).unwrap_or(0)))),
            requirement: &requirement,
        };
        runtime.block_on(async {
            for pick in 0..size {
                verifier.verify(&request(pick)).await.expect("the source answers");
            }
        });
        let mut picks = Picks::below(size);
        // Many decisions a turn, so that entering the runtime is not what is measured.
        group.bench_function(BenchmarkId::new("admit", size), |b| {
            b.iter_custom(|iterations| {
                runtime.block_on(async {
                    #[expect(clippy::disallowed_methods, reason = "a bench is what measures time")]
                    let start = std::time::Instant::now();
                    for _ in 0..iterations {
                        let verdict = verifier.verify(&request(picks.pick())).await;
                        black_box(&verdict);
                    }
                    start.elapsed()
                })
            });
        });
    }
    let population = Arc::new(Population::new(1, &three_rules()));
    let verifier = verifier(population);
    let junk = VerifyRequest {
        credential: b"sk_live_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        path: "/v1/users",
        address: None,
        requirement: &requirement,
    };
    group.bench_function("refuse junk", |b| {
        b.iter_custom(|iterations| {
            runtime.block_on(async {
                #[expect(clippy::disallowed_methods, reason = "a bench is what measures time")]
                let start = std::time::Instant::now();
                for _ in 0..iterations {
                    let verdict = verifier.verify(black_box(&junk)).await;
                    black_box(&verdict);
                }
                start.elapsed()
            })
        });
    });
    group.finish();
}

criterion_group!(all, benches);
criterion_main!(all);
