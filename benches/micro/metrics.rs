//! What it costs to record one request: by one thread, and by each of two at once.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use portcullis_record::{Metrics, Surface};
use portcullis_verify::Clock;
use std::hint::black_box;
use std::sync::Barrier;
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// All that is recorded of a request that is forwarded.
fn record(metrics: &Metrics) {
    let in_flight = metrics.request_in_flight();
    metrics.decision(
        Surface::Proxy,
        black_box("allowed"),
        black_box(Duration::from_micros(1)),
    );
    metrics.proxied(black_box(200), black_box(Duration::from_micros(350)));
    drop(in_flight);
}

/// The time that each of two threads takes to record so many requests.
fn together(metrics: &Metrics, requests: u64) -> Duration {
    let start = Barrier::new(2);
    let run = || {
        start.wait();
        let clock = Clock::system();
        let begun = clock.now();
        for _ in 0..requests {
            record(metrics);
        }
        Duration::from_micros(clock.now().monotonic_us - begun.monotonic_us)
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(run);
        run().max(other.join().expect("the other thread ends"))
    })
}

fn benches(c: &mut Criterion) {
    let metrics = Metrics::new().expect("metrics");
    let mut group = c.benchmark_group("metrics");
    group.bench_function("in flight", |b| b.iter(|| drop(metrics.request_in_flight())));
    for outcome in ["allowed", "key_malformed"] {
        group.bench_function(BenchmarkId::new("decision", outcome), |b| {
            b.iter(|| metrics.decision(Surface::Proxy, black_box(outcome), black_box(Duration::from_micros(1))));
        });
    }
    group.bench_function("proxied", |b| {
        b.iter(|| metrics.proxied(black_box(200), black_box(Duration::from_micros(350))));
    });
    group.bench_function("request", |b| b.iter(|| record(&metrics)));
    group.bench_function("request, by two threads", |b| {
        b.iter_custom(|requests| together(&metrics, requests));
    });
    group.finish();
}

criterion_group!(all, benches);
criterion_main!(all);
