//! What a caller's bytes cost before any look-up: shape, checksum, hash; and junk, which must cost less.

use criterion::{Criterion, criterion_group, criterion_main};
use portcullis_verify::{PresentedKey, Secret};
use std::hint::black_box;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn benches(c: &mut Criterion) {
    let secret = Secret::generate("sk_live").expect("randomness");
    let good = secret.expose().as_bytes().to_vec();
    let mut wrong_checksum = good.clone();
    let last = wrong_checksum.len() - 1;
    wrong_checksum[last] = if wrong_checksum[last] == b'a' { b'b' } else { b'a' };
    let mut group = c.benchmark_group("presented_key");
    group.bench_function("hash", |b| b.iter(|| black_box(&secret).hash()));
    group.bench_function("parse, check and hash", |b| {
        b.iter(|| PresentedKey::parse(black_box(&good)).is_ok())
    });
    group.bench_function("refuse a wrong checksum", |b| {
        b.iter(|| PresentedKey::parse(black_box(&wrong_checksum)).is_ok())
    });
    group.bench_function("refuse another shape", |b| {
        b.iter(|| PresentedKey::parse(black_box(b"Basic dXNlcjpwYXNz")).is_ok())
    });
    group.finish();
}

criterion_group!(all, benches);
criterion_main!(all);
