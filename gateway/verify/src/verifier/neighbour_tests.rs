//! Behind one address: a neighbour who guesses without a pause, and others whose keys are good.

use super::tests::{CACHE, CountingLimiter, FAILURES};
use super::*;
use crate::lookup::scripted_source::record;
use crate::{ChangeKind, Fetched, KeyId, ManualClock, Secret};
use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

const FIRST: Version = Version { epoch: 1, revision: 1 };

/// Keys that there are, all of one app.
#[derive(Default)]
struct Keys {
    hashes: Mutex<HashSet<KeyHash>>,
    revision: AtomicU64,
    asked: AtomicU64,
    is_away: AtomicBool,
}

#[async_trait::async_trait]
impl KeySource for Keys {
    async fn fetch(&self, hash: &KeyHash) -> Result<Fetched, SourceError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if self.is_away.load(Ordering::Relaxed) {
            return Err(SourceError {
                cause: "away".to_owned(),
            });
        }
        let is_there = self.hashes.lock().unwrap().contains(hash);
        Ok(Fetched {
            as_of: self.version(),
            record: is_there.then(|| record(KeyId(1))),
        })
    }
}

impl Keys {
    fn version(&self) -> Version {
        Version {
            revision: FIRST.revision + self.revision.load(Ordering::Relaxed),
            ..FIRST
        }
    }
}

struct Nat {
    verifier: Verifier,
    keys: Arc<Keys>,
    hand: ManualClock,
    door: Requirement,
}

impl Nat {
    /// An address that a neighbour has used up.
    async fn throttled() -> Nat {
        let keys = Arc::new(Keys::default());
        let (clock, hand) = Clock::manual(Moment {
            monotonic_us: 1,
            wall_us: 1_700_000_000_000_000,
        });
        let verifier = Verifier::new(VerifierParts {
            clock,
            source: Arc::clone(&keys) as Arc<dyn KeySource>,
            limiter: Arc::new(CountingLimiter::default()),
            default_rules: Arc::new(RuleSet::compile(None, &[])),
            cache: CACHE,
            failures: FAILURES,
        });
        let door = Requirement {
            deployment_id: Some(DeploymentId(1)),
            apps: AppScope::Every,
            permissions: Vec::new(),
        };
        let nat = Nat {
            verifier,
            keys,
            hand,
            door,
        };
        nat.guess(FAILURES.burst).await;
        assert_eq!(nat.ask(&secret()).await, "too_many_failures");
        nat
    }

    async fn ask(&self, secret: &str) -> &'static str {
        let request = VerifyRequest {
            credential: secret.as_bytes(),
            path: "/",
            address: Some("192.0.2.1".parse().unwrap()),
            requirement: &self.door,
        };
        match self.verifier.verify(&request).await {
            Ok(Verdict::Allow(_)) => "allowed",
            Ok(Verdict::Deny(denial)) => denial.reason.name(),
            Err(VerifyError::Source(_) | VerifyError::TooStale { .. }) => "error",
        }
    }

    /// So many guesses, each another one.
    async fn guess(&self, count: u32) {
        for _ in 0..count {
            self.ask(&secret()).await;
        }
    }

    fn insert(&self, secret: &str) -> KeyHash {
        let hash = hash(secret);
        self.keys.hashes.lock().unwrap().insert(hash);
        hash
    }

    fn apply(&self, kind: ChangeKind) {
        self.keys.revision.fetch_add(1, Ordering::Relaxed);
        self.verifier.apply(&Change {
            version: self.keys.version(),
            deployment_id: DeploymentId(1),
            kind,
        });
    }

    fn asked(&self) -> u64 {
        self.keys.asked.load(Ordering::Relaxed)
    }
}

fn secret() -> String {
    Secret::generate("sk_live").unwrap().expose().to_owned()
}

fn hash(secret: &str) -> KeyHash {
    PresentedKey::parse(secret.as_bytes()).unwrap().hash()
}

/// After a restart nothing is in memory and nothing was seen yet.
#[tokio::test]
async fn a_good_key_that_is_not_held_gets_in_at_its_second_try() {
    let nat = Nat::throttled().await;
    for _ in 0..200 {
        let good = secret();
        nat.insert(&good);
        nat.guess(5).await;
        assert_eq!(
            nat.ask(&good).await,
            "too_many_failures",
            "the first try cannot be told from a guess"
        );
        nat.guess(5).await;
        assert_eq!(nat.ask(&good).await, "allowed", "the second can");
        let asked = nat.asked();
        assert_eq!(nat.ask(&good).await, "allowed");
        assert_eq!(nat.asked(), asked, "from memory from then on");
    }
}

/// What the process has seen of a key before lets it pass at once, whatever made the cache forget it.
#[tokio::test]
async fn a_good_key_that_was_forgotten_gets_in_at_once() {
    let nat = Nat::throttled().await;
    let good = secret();
    let hash = nat.insert(&good);
    // Held without a try that the gate could remember.
    let verdict = nat.verifier.inspect(good.as_bytes(), DeploymentId(1)).await;
    assert!(matches!(verdict, Ok(Verdict::Allow(_))));
    assert_eq!(nat.ask(&good).await, "allowed");
    let app = record(KeyId(1)).app.id;
    let kinds = [
        ChangeKind::AppChanged(app),
        ChangeKind::KeyChanged(hash),
        ChangeKind::KeyCreated(hash),
    ];
    for kind in kinds {
        nat.guess(20).await;
        nat.apply(kind);
        let asked = nat.asked();
        assert_eq!(nat.ask(&good).await, "allowed", "{kind:?}");
        assert_eq!(nat.asked(), asked + 1, "{kind:?}: it was read again");
    }
    nat.verifier.distrust_all(nat.keys.version());
    assert_eq!(nat.ask(&good).await, "allowed");
}

#[tokio::test]
async fn a_key_that_was_just_made_gets_in_at_once() {
    let nat = Nat::throttled().await;
    let good = secret();
    let hash = nat.insert(&good);
    nat.apply(ChangeKind::KeyCreated(hash));
    assert_eq!(nat.ask(&good).await, "allowed");
    // So does one that somebody inspected.
    let inspected = secret();
    nat.insert(&inspected);
    let verdict = nat.verifier.inspect(inspected.as_bytes(), DeploymentId(1)).await;
    assert!(matches!(verdict, Ok(Verdict::Allow(_))));
    nat.apply(ChangeKind::AppChanged(record(KeyId(1)).app.id));
    assert_eq!(nat.ask(&inspected).await, "allowed");
}

#[tokio::test]
async fn a_key_that_the_source_has_lost_costs_one_look_up() {
    let nat = Nat::throttled().await;
    let lost = secret();
    nat.apply(ChangeKind::KeyCreated(hash(&lost)));
    let asked = nat.asked();
    assert_eq!(nat.ask(&lost).await, "key_unknown");
    for _ in 0..100 {
        assert_eq!(nat.ask(&lost).await, "key_unknown", "from memory");
    }
    assert_eq!(nat.asked(), asked + 1);
    nat.hand
        .advance_us(u64::try_from(CACHE.unknown_ttl.as_micros()).unwrap());
    nat.guess(FAILURES.burst).await;
    assert_eq!(nat.ask(&lost).await, "too_many_failures", "struck off");
}

#[tokio::test]
async fn a_source_that_is_away_makes_nobody_a_guesser() {
    let nat = Nat::throttled().await;
    let good = secret();
    nat.insert(&good);
    assert_eq!(nat.ask(&good).await, "too_many_failures");
    nat.keys.is_away.store(true, Ordering::Relaxed);
    for _ in 0..100 {
        assert_eq!(nat.ask(&good).await, "error");
    }
    nat.keys.is_away.store(false, Ordering::Relaxed);
    assert_eq!(nat.ask(&good).await, "allowed");
}
