//! What is decided by what is held when nothing was heard for a while: everything, then only what is known, then nothing.

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
    known: String,
    unknown: String,
}

/// What the source does when it is asked.
#[derive(Debug, Clone, Copy)]
enum Source {
    Knows,
    KnowsNot,
    IsAway,
    /// It answers, but by then this much time has passed.
    KnowsAfter(u64),
}

fn hash(secret: &str) -> KeyHash {
    PresentedKey::parse(secret.as_bytes()).unwrap().hash()
}

/// A verifier that has just heard that it is up to date, and holds one known and one unknown key.
async fn fixture(serves_stale: bool) -> Fixture {
    let (source, script) = scripted();
    let (clock, hand) = Clock::manual(Moment {
        monotonic_us: 1_000_000_000,
        wall_us: 1_000_000_000,
    });
    let soft = Duration::from_micros(SOFT_US);
    let freshness = Arc::new(Freshness::new(soft, Duration::from_micros(MAX_US), serves_stale));
    let verifier = Verifier::new(VerifierParts {
        clock,
        source,
        limiter: Arc::new(CountingLimiter::default()),
        default_rules: Arc::new(RuleSet::compile(None, &[])),
        cache: CacheSettings {
            unknown_ttl: Duration::from_secs(3_600),
            ..CACHE
        },
        failures: FAILURES,
    });
    let secret = || Secret::generate("sk").unwrap().expose().to_owned();
    let fixture = Fixture {
        verifier: verifier.with_freshness(Arc::clone(&freshness)),
        freshness,
        script,
        hand,
        door: Requirement {
            deployment_id: Some(DeploymentId(1)),
            apps: AppScope::Every,
            permissions: Vec::new(),
        },
        known: secret(),
        unknown: secret(),
    };
    fixture.hear();
    assert_eq!(fixture.verify(&fixture.known, Source::Knows).await, "allowed");
    assert_eq!(fixture.verify(&fixture.unknown, Source::KnowsNot).await, "key_unknown");
    fixture
}

impl Fixture {
    fn hear(&self) {
        self.freshness.note(self.verifier.clock().now().monotonic_us);
    }

    async fn verify(&self, secret: &str, source: Source) -> String {
        let request = VerifyRequest {
            credential: secret.as_bytes(),
            path: "/",
            address: None,
            requirement: &self.door,
        };
        let outcome = self.with(source, self.verifier.verify(&request)).await;
        named(&outcome.map(|verdict| match verdict {
            Verdict::Allow(_) => "allowed",
            Verdict::Deny(denial) => denial.reason.name(),
        }))
    }

    async fn still_opens(&self, secret: &str, source: Source) -> String {
        let hash = hash(secret);
        let outcome = self.with(source, self.verifier.still_opens(&hash, &self.door)).await;
        named(&outcome.map(|opens| if opens { "opens" } else { "shut" }))
    }

    async fn inspect(&self, secret: &str, source: Source) -> String {
        let inspecting = self.verifier.inspect(secret.as_bytes(), DeploymentId(1));
        let outcome = self.with(source, inspecting).await;
        named(&outcome.map(|verdict| match verdict {
            Verdict::Allow(_) => "allowed",
            Verdict::Deny(denial) => denial.reason.name(),
        }))
    }

    async fn with<T>(&self, source: Source, asking: impl Future<Output = T>) -> T {
        let answering = async {
            loop {
                let call = self.script.call().await;
                match source {
                    Source::Knows => call.answer(AT, Some(record(KeyId(1)))),
                    Source::KnowsNot => call.answer(AT, None),
                    Source::IsAway => drop(call),
                    Source::KnowsAfter(us) => {
                        self.hand.advance_us(us);
                        call.answer(AT, Some(record(KeyId(1))));
                    }
                }
            }
        };
        tokio::select! {
            biased;
            outcome = asking => outcome,
            () = answering => unreachable!(),
        }
    }
}

fn named(outcome: &Result<&str, VerifyError>) -> String {
    match outcome {
        Ok(name) => (*name).to_owned(),
        Err(VerifyError::Source(_)) => "source away".to_owned(),
        Err(VerifyError::TooStale { .. }) => "too stale".to_owned(),
    }
}

#[tokio::test]
async fn trust_ends_in_two_steps() {
    #[track_caller]
    fn same(what: &str, got: &str, expected: &str) {
        assert_eq!(got, expected, "{what}");
    }
    async fn check(serves_stale: bool, age_us: u64, source: Source, known: &str, unknown: &str) {
        let fixture = fixture(serves_stale).await;
        fixture.hand.advance_us(age_us);
        let what = format!("{serves_stale} {age_us} {source:?}");
        same(&what, &fixture.verify(&fixture.known, source).await, known);
        same(&what, &fixture.verify(&fixture.unknown, source).await, unknown);
        same(&what, &fixture.inspect(&fixture.known, source).await, known);
        // What never was a key is told apart without any knowledge.
        same(&what, &fixture.verify("junk", source).await, "key_malformed");
    }
    check(false, SOFT_US, Source::IsAway, "allowed", "key_unknown").await;
    check(false, SOFT_US + 1, Source::IsAway, "allowed", "source away").await;
    check(false, SOFT_US + 1, Source::KnowsNot, "allowed", "key_unknown").await;
    check(false, SOFT_US + 1, Source::Knows, "allowed", "allowed").await;
    check(false, MAX_US, Source::IsAway, "allowed", "source away").await;
    check(false, MAX_US + 1, Source::Knows, "too stale", "too stale").await;
    check(true, MAX_US + 1, Source::IsAway, "allowed", "source away").await;
    check(true, 100 * MAX_US, Source::Knows, "allowed", "allowed").await;
}

#[tokio::test]
async fn streams_are_judged_by_the_same_knowledge_and_none_is_cut_without_any() {
    async fn check(age_us: u64, source: Source, known: &str, unknown: &str) {
        let fixture = fixture(false).await;
        fixture.hand.advance_us(age_us);
        assert_eq!(fixture.still_opens(&fixture.known, source).await, known, "{age_us}");
        assert_eq!(fixture.still_opens(&fixture.unknown, source).await, unknown, "{age_us}");
        let held = |secret: &str| fixture.verifier.still_opens_as_held(&hash(secret), &fixture.door);
        assert_eq!(held(&fixture.known), (known == "opens").then_some(true));
        assert_eq!(held(&fixture.unknown), (age_us <= SOFT_US).then_some(false));
    }
    check(SOFT_US, Source::IsAway, "opens", "shut").await;
    check(SOFT_US + 1, Source::IsAway, "opens", "source away").await;
    check(SOFT_US + 1, Source::KnowsNot, "opens", "shut").await;
    check(MAX_US + 1, Source::KnowsNot, "too stale", "too stale").await;
}

#[tokio::test]
async fn a_process_that_was_stopped_while_it_asked_admits_nobody() {
    let fixture = fixture(false).await;
    let other = Secret::generate("sk").unwrap().expose().to_owned();
    assert_eq!(
        fixture.verify(&other, Source::KnowsAfter(MAX_US + 1)).await,
        "too stale"
    );
    fixture.hear();
    assert_eq!(
        fixture.verify(&other, Source::IsAway).await,
        "allowed",
        "the answer was kept"
    );
    let third = Secret::generate("sk").unwrap().expose().to_owned();
    assert_eq!(
        fixture.still_opens(&third, Source::KnowsAfter(MAX_US + 1)).await,
        "too stale"
    );
    fixture.hear();
    let fourth = Secret::generate("sk").unwrap().expose().to_owned();
    assert_eq!(
        fixture.inspect(&fourth, Source::KnowsAfter(MAX_US + 1)).await,
        "too stale"
    );
}

#[tokio::test]
async fn news_restores_trust_and_a_start_has_none() {
    let fixture = fixture(false).await;
    fixture.hand.advance_us(10 * MAX_US);
    assert_eq!(fixture.verify(&fixture.known, Source::IsAway).await, "too stale");
    fixture.hear();
    assert_eq!(fixture.verify(&fixture.known, Source::IsAway).await, "allowed");
    assert_eq!(fixture.verify(&fixture.unknown, Source::IsAway).await, "key_unknown");
    let never = VerifyError::TooStale { staleness: None };
    assert_eq!(never.to_string(), "not up to date: not synchronised since the start");
    let long = VerifyError::TooStale {
        staleness: Some(Duration::from_millis(31_250)),
    };
    assert_eq!(
        long.to_string(),
        "not up to date: last heard that nothing was missed 31.250 s ago"
    );
}
