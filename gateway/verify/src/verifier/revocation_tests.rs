//! Many requests around changes, on real threads: what holds before a change and what holds after it, and nothing in between.

use super::tests::{CACHE, CountingLimiter, FAILURES};
use super::*;
use crate::lookup::scripted_source::record;
use crate::{ChangeKind, Fetched, KeyId, KeyRecord, PresentedKey, Secret};
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

const TASKS: u64 = 64;
const PHASES: u64 = 150;

/// Takes its time between reading and answering, so that changes come in between.
struct SlowSource {
    /// What is stored, and since which revision.
    truth: Mutex<(u64, Option<KeyRecord>)>,
    calls: AtomicU64,
}

#[async_trait::async_trait]
impl KeySource for SlowSource {
    async fn fetch(&self, _hash: &KeyHash) -> Result<Fetched, SourceError> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        let (revision, record) = self.truth.lock().clone();
        match call % 4 {
            0 => {}
            1 => tokio::time::sleep(Duration::from_micros(300)).await,
            _ => {
                for _ in 0..(call * 7) % 50 {
                    tokio::task::yield_now().await;
                }
            }
        }
        Ok(Fetched {
            as_of: Version { epoch: 1, revision },
            record,
        })
    }
}

/// Goes through `PHASES` changes, made by `change` from the number of the phase: what is stored from then on, and what the change
/// is called. While a phase lasts, every request that began and ended in it must be judged as `is_admitted` says.
async fn check(
    change: impl Fn(u64, KeyHash) -> (Option<KeyRecord>, ChangeKind),
    is_admitted: impl Fn(u64) -> bool + Send + Sync + Copy + 'static,
) {
    let source = Arc::new(SlowSource {
        truth: Mutex::new((0, None)),
        calls: AtomicU64::new(0),
    });
    let verifier = Arc::new(Verifier::new(VerifierParts {
        clock: Clock::system(),
        source: Arc::<SlowSource>::clone(&source),
        limiter: Arc::new(CountingLimiter::default()),
        default_rules: Arc::new(RuleSet::compile(None, &[])),
        cache: CACHE,
        failures: FAILURES,
    }));
    let secret: Arc<str> = Secret::generate("sk").unwrap().expose().into();
    let hash = PresentedKey::parse(secret.as_bytes()).unwrap().hash();
    // Odd while a change is being made.
    let phase = Arc::new(AtomicU64::new(1));
    let judged = Arc::new(AtomicU64::new(0));
    let is_over = Arc::new(AtomicBool::new(false));

    let tasks: Vec<_> = (0..TASKS)
        .map(|_| {
            let (verifier, secret) = (Arc::clone(&verifier), Arc::clone(&secret));
            let (phase, judged, is_over) = (Arc::clone(&phase), Arc::clone(&judged), Arc::clone(&is_over));
            tokio::spawn(async move {
                let door = Requirement {
                    deployment_id: Some(DeploymentId(1)),
                    apps: AppScope::Every,
                    permissions: Vec::new(),
                };
                while !is_over.load(Ordering::SeqCst) {
                    let before = phase.load(Ordering::SeqCst);
                    let request = VerifyRequest {
                        credential: secret.as_bytes(),
                        path: "/",
                        address: None,
                        requirement: &door,
                    };
                    // On a busy machine changes may overtake a fill again and again. No answer is not a wrong one.
                    let Ok(verdict) = verifier.verify(&request).await else {
                        tokio::task::yield_now().await;
                        continue;
                    };
                    if before == phase.load(Ordering::SeqCst) && before % 2 == 0 {
                        let expected = is_admitted(before / 2);
                        assert_eq!(
                            matches!(verdict, Verdict::Allow(_)),
                            expected,
                            "phase {}: {verdict:?}",
                            before / 2
                        );
                        judged.fetch_add(1, Ordering::SeqCst);
                    }
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();

    for number in 1..=PHASES {
        let (record, kind) = change(number, hash);
        *source.truth.lock() = (number, record);
        verifier.apply(&Change {
            version: Version {
                epoch: 1,
                revision: number,
            },
            deployment_id: DeploymentId(1),
            kind,
        });
        phase.store(number * 2, Ordering::SeqCst);
        let enough = judged.load(Ordering::SeqCst) + TASKS;
        while judged.load(Ordering::SeqCst) < enough && !tasks.iter().any(tokio::task::JoinHandle::is_finished) {
            tokio::task::yield_now().await;
        }
        phase.store(number * 2 + 1, Ordering::SeqCst);
    }
    is_over.store(true, Ordering::SeqCst);
    for task in tasks {
        task.await.unwrap();
    }
    assert!(verifier.stats().hits > PHASES, "the cache took part");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_revocation_holds_from_the_moment_it_is_applied() {
    check(
        |number, hash| {
            let revoked_at_us = (number % 2 == 0).then_some(0);
            (
                Some(KeyRecord {
                    revoked_at_us,
                    ..record(KeyId(1))
                }),
                ChangeKind::KeyChanged(hash),
            )
        },
        |number| number % 2 == 1,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_app_switched_off_is_off_from_the_moment_it_is_applied() {
    check(
        |number, _| {
            let mut key = record(KeyId(1));
            key.app.is_active = number % 2 == 1;
            let app = key.app.id;
            (Some(key), ChangeKind::AppChanged(app))
        },
        |number| number % 2 == 1,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_key_opens_from_the_moment_its_creation_is_applied() {
    check(
        |number, hash| match number % 2 {
            // No store unmakes a key; the test does, to see it made again.
            0 => (None, ChangeKind::KeyChanged(hash)),
            _ => (Some(record(KeyId(1))), ChangeKind::KeyCreated(hash)),
        },
        |number| number % 2 == 1,
    )
    .await;
}
