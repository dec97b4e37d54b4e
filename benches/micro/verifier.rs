//! What one whole decision costs, as the data plane makes it: clock, shape, checksum, hash, look-up, free checks, three limits, usage.
//!
//! Drawn from a cache with room for just so many keys and from a table of every key, by use and evenly; and what refusing junk costs.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use portcullis_benches::{Drawn, Population, SIZES, Spread, draws, requirement, three_rules, warm_verifier};
use portcullis_record::usage::{METER_ROWS_MAX, UsageMeter};
use portcullis_verify::VerifyRequest;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Requests drawn beforehand. Their credentials lie in order, as a request's own lies in its buffer.
const DRAWS: usize = 1 << 20;

fn benches(c: &mut Criterion) {
    let requirement = requirement();
    let mut group = c.benchmark_group("verifier");
    for size in SIZES {
        let population = Arc::new(Population::new(size, &three_rules()));
        for (kept, is_table) in [("cached", false), ("preloaded", true)] {
            let verifier = warm_verifier(&population, is_table);
            let usage = UsageMeter::new(METER_ROWS_MAX, verifier.clock().now());
            for spread in Spread::ALL {
                let drawn = draws(size, spread, DRAWS).into_iter().map(|pick| {
                    let address = Ipv4Addr::from(u32::try_from(pick).unwrap_or(0));
                    (
                        Box::<[u8]>::from(population.secrets[pick].as_bytes()),
                        IpAddr::V4(address),
                    )
                });
                let mut drawn = Drawn::new(drawn.collect());
                let mut decide = || {
                    let (credential, address) = drawn.draw();
                    let request = VerifyRequest {
                        credential,
                        path: "/v1/users",
                        address: Some(*address),
                        requirement: &requirement,
                    };
                    let now = verifier.clock().now();
                    let answer = verifier.verify_held(&request, now);
                    if let Some(Ok(verdict)) = &answer {
                        usage.note(verdict, now);
                    }
                    answer
                };
                // Everybody's counters are there, and every first note of the minute is made.
                for _ in 0..DRAWS {
                    black_box(decide());
                }
                let name = format!("decide, {kept}, {}", spread.name());
                group.bench_function(BenchmarkId::new(name, size), |b| b.iter(&mut decide));
            }
        }
    }
    let verifier = warm_verifier(&Arc::new(Population::new(1, &three_rules())), false);
    let junk = VerifyRequest {
        credential: b"sk_live_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        path: "/v1/users",
        address: None,
        requirement: &requirement,
    };
    group.bench_function("refuse junk", |b| {
        b.iter(|| verifier.verify_held(black_box(&junk), verifier.clock().now()));
    });
    group.finish();
}

criterion_group!(all, benches);
criterion_main!(all);
