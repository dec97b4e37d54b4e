//! A decision on what is held allocates nothing, with the real limiter and the real count of usage; nor does refusing.
//!
//! In a process of its own, because the allocator that counts takes the place of every other.

use allocation_counter::{AllocationInfo, measure};
use portcullis_benches::{Population, requirement, three_rules, warm_verifier};
use portcullis_record::usage::{METER_ROWS_MAX, UsageMeter};
use portcullis_verify::{Moment, Requirement, Verdict, Verifier, VerifyRequest};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

const KEYS: usize = 1_000;
const ROUNDS: usize = 20;

struct Fixture {
    population: Arc<Population>,
    verifier: Verifier,
    usage: UsageMeter,
    requirement: Requirement,
    now: Moment,
}

fn fixture(is_table: bool) -> Fixture {
    let population = Arc::new(Population::new(KEYS, &three_rules()));
    let verifier = warm_verifier(&population, is_table);
    let now = verifier.clock().now();
    Fixture {
        population,
        verifier,
        usage: UsageMeter::new(METER_ROWS_MAX, now),
        requirement: requirement(),
        now,
    }
}

impl Fixture {
    /// Decides a request and notes it; says whether it may pass, or nothing if the source would have to be asked.
    fn decide(&self, credential: &[u8], pick: usize) -> Option<bool> {
        let request = VerifyRequest {
            credential,
            path: "/v1/users",
            address: Some(IpAddr::V4(Ipv4Addr::from(u32::try_from(pick).unwrap_or(0)))),
            requirement: &self.requirement,
        };
        // Reads the clock as the data plane does. Decides as of one time, so that no minute ends meanwhile.
        let _ = self.verifier.clock().now();
        let verdict = self.verifier.verify_held(&request, self.now)?.ok()?;
        self.usage.note(&verdict, self.now);
        Some(matches!(verdict, Verdict::Allow(_)))
    }

    fn everyone_passes(&self) {
        for (pick, secret) in self.population.secrets.iter().enumerate() {
            assert_eq!(self.decide(secret.as_bytes(), pick), Some(true));
        }
    }
}

#[test]
fn the_allocator_counts() {
    assert_eq!(measure(|| drop(std::hint::black_box(Box::new(1_u8)))).count_total, 1);
}

#[test]
fn a_decision_on_a_held_key_allocates_nothing() {
    for is_table in [false, true] {
        let fixture = fixture(is_table);
        // Counters are made, and first notes are listed.
        fixture.everyone_passes();
        let AllocationInfo { count_total, .. } = measure(|| {
            for _ in 0..ROUNDS {
                fixture.everyone_passes();
            }
        });
        assert_eq!(count_total, 0, "in a table: {is_table}");
    }
}

#[test]
fn refusing_allocates_nothing() {
    for is_table in [false, true] {
        let mut fixture = fixture(is_table);
        let held = fixture.population.secrets[0].clone();
        let mut junk = held.clone().into_bytes();
        junk.reverse();
        // A key of another app's door: known and refused, which has a word of its own.
        fixture.requirement.apps = portcullis_verify::AppScope::Slugs(Box::new([]));
        assert_eq!(fixture.decide(held.as_bytes(), 0), Some(false));
        let AllocationInfo { count_total, .. } = measure(|| {
            for _ in 0..ROUNDS {
                assert_eq!(fixture.decide(&junk, 0), Some(false));
                assert_eq!(fixture.decide(held.as_bytes(), 0), Some(false));
            }
        });
        assert_eq!(count_total, 0, "in a table: {is_table}");
    }
}
