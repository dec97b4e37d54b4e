//! What can be decided from memory is decided so, in one call that does not wait, and as the waiting call would.

use super::tests::{CACHE, CountingLimiter, FAILURES};
use super::*;
use crate::lookup::scripted_source::{Script, record, scripted};
use crate::{KeyId, ManualClock, Secret};
use std::time::Duration;

const SOFT_US: u64 = 1_000_000;
const MAX_US: u64 = 30_000_000;
const AT: Version = Version { epoch: 1, revision: 1 };

struct Fixture {
    verifier: Verifier,
    freshness: Arc<Freshness>,
    script: Script,
    hand: ManualClock,
    door: Requirement,
}

/// A verifier that has just heard that it is up to date.
fn fixture(holds_every_key: bool) -> Fixture {
    let (source, script) = scripted();
    let (clock, hand) = Clock::manual(Moment {
        monotonic_us: 1_000_000_000,
        wall_us: 1_000_000_000,
    });
    let freshness = Arc::new(Freshness::new(
        Duration::from_micros(SOFT_US),
        Duration::from_micros(MAX_US),
        false,
    ));
    freshness.note(clock.now().monotonic_us);
    let parts = VerifierParts {
        clock,
        source,
        limiter: Arc::new(CountingLimiter::default()),
        default_rules: Arc::new(RuleSet::compile(None, &[])),
        cache: CACHE,
        failures: FAILURES,
    };
    let verifier = match holds_every_key {
        true => Verifier::of_every_key(parts),
        false => Verifier::new(parts),
    };
    Fixture {
        verifier: verifier.with_freshness(Arc::clone(&freshness)),
        freshness,
        script,
        hand,
        door: Requirement {
            deployment_id: Some(DeploymentId(1)),
            apps: AppScope::Every,
            permissions: Vec::new(),
        },
    }
}

fn name(answer: Result<Verdict, VerifyError>) -> &'static str {
    match answer {
        Ok(Verdict::Allow(_)) => "allowed",
        Ok(Verdict::Deny(denial)) => denial.reason.name(),
        Err(VerifyError::TooStale { .. }) => "too stale",
        Err(VerifyError::Source(_)) => "no source",
    }
}

impl Fixture {
    fn request<'a>(&'a self, credential: &'a str) -> VerifyRequest<'a> {
        VerifyRequest {
            credential: credential.as_bytes(),
            path: "/",
            address: None,
            requirement: &self.door,
        }
    }

    fn held(&self, credential: &str) -> Option<&'static str> {
        let now = self.verifier.clock().now();
        self.verifier.verify_held(&self.request(credential), now).map(name)
    }

    /// The waiting call; the source, if it is asked, has the key or has not.
    async fn verify(&self, credential: &str, exists: bool) -> &'static str {
        let request = self.request(credential);
        let verifying = async { name(self.verifier.verify(&request).await) };
        tokio::select! {
            biased;
            answer = verifying => answer,
            () = async {
                self.script.call().await.answer(AT, exists.then(|| record(KeyId(1))));
                std::future::pending().await
            } => unreachable!("it never ends"),
        }
    }

    fn counted(&self) -> (u64, u64, u64) {
        let stats = self.verifier.stats();
        (stats.hits, stats.misses, stats.fills)
    }
}

fn secret() -> String {
    Secret::generate("sk").unwrap().expose().to_owned()
}

#[tokio::test]
async fn what_is_in_memory_needs_no_waiting_and_a_miss_is_counted_once() {
    for (exists, answer) in [(true, "allowed"), (false, "key_unknown")] {
        let (fixture, key) = (fixture(false), secret());
        assert_eq!(fixture.held(&key), None);
        assert_eq!(fixture.held(&key), None);
        assert_eq!(fixture.counted(), (0, 0, 0));
        assert_eq!(fixture.verify(&key, exists).await, answer);
        assert_eq!(fixture.counted(), (0, 1, 1));
        assert_eq!(fixture.held(&key), Some(answer));
        assert_eq!(fixture.counted(), (1, 1, 1));
        assert_eq!(fixture.verify(&key, exists).await, answer);
        assert_eq!(fixture.counted(), (2, 1, 1));
    }
}

#[tokio::test]
async fn junk_needs_no_look_up() {
    let fixture = fixture(false);
    assert_eq!(fixture.held("sk_junk"), Some("key_malformed"));
    assert_eq!(fixture.counted(), (0, 0, 0));
}

#[tokio::test]
async fn a_whole_table_knows_who_is_unknown() {
    let (fixture, key) = (fixture(true), secret());
    assert_eq!(fixture.held(&key), None);
    assert!(fixture.verifier.table_complete(AT));
    assert_eq!(fixture.held(&key), Some("key_unknown"));
}

#[tokio::test]
async fn it_decides_as_of_the_moment_it_is_told() {
    let (fixture, key) = (fixture(false), secret());
    let request = fixture.request(&key);
    let expiring = {
        let mut record = record(KeyId(1));
        record.expires_at_us = Some(2_000_000_000);
        record
    };
    let hash = PresentedKey::parse(key.as_bytes()).unwrap().hash();
    assert!(fixture.verifier.admit_record(hash, expiring, AT));
    let mut now = fixture.verifier.clock().now();
    assert_eq!(fixture.verifier.verify_held(&request, now).map(name), Some("allowed"));
    now.wall_us = 2_000_000_000;
    assert_eq!(
        fixture.verifier.verify_held(&request, now).map(name),
        Some("key_expired")
    );
    now.monotonic_us += MAX_US + 1;
    assert_eq!(fixture.verifier.verify_held(&request, now).map(name), Some("too stale"));
}

#[tokio::test]
async fn trust_ends_as_for_the_waiting_call() {
    let (fixture, known, unknown) = (fixture(false), secret(), secret());
    assert_eq!(fixture.verify(&known, true).await, "allowed");
    assert_eq!(fixture.verify(&unknown, false).await, "key_unknown");
    fixture.hand.advance_us(SOFT_US + 1);
    assert_eq!(fixture.held(&known), Some("allowed"));
    assert_eq!(fixture.held(&unknown), None, "one may have been created unheard");
    fixture.hand.advance_us(MAX_US);
    assert_eq!(fixture.held(&known), Some("too stale"));
    fixture.freshness.note(fixture.verifier.clock().now().monotonic_us);
    assert_eq!(fixture.held(&known), Some("allowed"));
}

#[tokio::test]
async fn a_change_ends_what_was_in_memory() {
    let (fixture, key) = (fixture(false), secret());
    assert_eq!(fixture.verify(&key, true).await, "allowed");
    let hash = PresentedKey::parse(key.as_bytes()).unwrap().hash();
    fixture.verifier.apply(&Change {
        version: Version { epoch: 1, revision: 2 },
        deployment_id: DeploymentId(1),
        kind: ChangeKind::KeyChanged(hash),
    });
    assert_eq!(fixture.held(&key), None);
}
