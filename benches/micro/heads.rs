//! What it costs to write what is ours into heads: identity headers, where limits stand, and a whole refusal.

use criterion::{Criterion, criterion_group, criterion_main};
use portcullis_benches::{Population, three_rules};
use portcullis_http::{Refusal, identity_headers, rate_limit_headers, request_id};
use portcullis_verify::{Charge, ChargeOutcome, KeySource, RuleSet, RuleState, SchemeId, StoredKey};
use std::hint::black_box;
use std::sync::Arc;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A key as most are, with two permissions and an owner.
fn key() -> StoredKey {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let population = Population::new(1, &three_rules());
    let fetched = runtime
        .block_on(population.fetch(&population.hashes[0]))
        .expect("the source answers");
    let mut record = fetched.record.expect("a record");
    record.permissions = vec!["invoices:read".to_owned(), "invoices:write".to_owned()];
    record.owner_user_id = Some(4_711);
    let rules = Arc::new(RuleSet::compile(Some(SchemeId(1)), &three_rules()));
    StoredKey::with_rules(record, fetched.as_of, rules)
}

fn charge(rules: &RuleSet) -> Charge {
    let state = |rule| RuleState {
        rule,
        limit: 1_000,
        remaining: 873,
        grows_in_us: 16_200_000,
    };
    Charge {
        outcome: ChargeOutcome::Admitted,
        states: (0..rules.rules.len()).map(state).collect(),
    }
}

fn benches(c: &mut Criterion) {
    let key = key();
    let charge = charge(&key.rules);
    let id = request_id::generate();
    let mut out = Vec::with_capacity(4096);
    let mut group = c.benchmark_group("heads");
    group.bench_function("identity headers", |b| {
        b.iter(|| {
            out.clear();
            identity_headers::write(black_box(&key), &mut out);
        });
    });
    group.bench_function("identity headers, as a map's entries", |b| {
        b.iter(|| identity_headers::of(black_box(&key)));
    });
    group.bench_function("limits, of three rules", |b| {
        b.iter(|| {
            out.clear();
            rate_limit_headers::write(&key.rules, black_box(&charge), false, &mut out)
        });
    });
    group.bench_function("limits, as a map's entries", |b| {
        b.iter(|| rate_limit_headers::of(&key.rules, black_box(&charge), false));
    });
    group.bench_function("a refusal of junk", |b| {
        b.iter(|| {
            out.clear();
            black_box(Refusal::key_invalid()).write_http1(black_box(&id), b"", false, false, &mut out);
        });
    });
    group.bench_function("a request id", |b| b.iter(request_id::generate));
    group.finish();
}

criterion_group!(all, benches);
criterion_main!(all);
