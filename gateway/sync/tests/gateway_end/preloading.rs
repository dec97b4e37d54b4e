//! The parts together: a verifier that holds every key, filled over the link and kept whole by the follower.

use crate::control_end::{Call, ControlEnd, TOKEN, Watch, at, changes, soon};
use crate::gateway::{Gateway, Setup};
use portcullis_sync::message::{HashText, KEYS, KeyPage, LOOK_UP, LookUp, LookedUp, PagedKey, Touches};
use portcullis_sync::{KeyTable, Link, Preloader, RemoteSource, RemoteSourceSettings};
use portcullis_verify::{
    AppId, AppRecord, CacheSettings, ChangeSink, Charge, ChargeOutcome, ChargeRequest, Clock, DenialReason,
    DeploymentId, FailureSettings, KeyId, KeyRecord, Limiter, RuleSet, Secret, StoredKey, Verdict, Verifier,
    VerifierParts,
};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::{CancellationToken, DropGuard};

struct NoLimits;

impl Limiter for NoLimits {
    fn charge(&self, key: &StoredKey, request: &ChargeRequest<'_>) -> Charge {
        self.peek(key, request)
    }

    fn peek(&self, _: &StoredKey, _: &ChargeRequest<'_>) -> Charge {
        Charge {
            outcome: ChargeOutcome::Admitted,
            states: [].into_iter().collect(),
        }
    }
}

struct Scene {
    control: ControlEnd,
    watch: Watch,
    verifier: Arc<Verifier>,
    preloader: Arc<Preloader>,
    _gateway: Gateway,
    _running: DropGuard,
}

async fn scene() -> Scene {
    let mut control = ControlEnd::start().await;
    let link = Arc::new(Link::new(&control.url(), TOKEN).unwrap());
    let source = RemoteSource::new(Arc::clone(&link), RemoteSourceSettings::default(), Clock::system());
    let verifier = Arc::new(Verifier::of_every_key(VerifierParts {
        clock: Clock::system(),
        source: Arc::new(source),
        limiter: Arc::new(NoLimits),
        default_rules: Arc::new(RuleSet::compile(None, &[])),
        cache: CacheSettings {
            keys_max: 100,
            unknown_keys_max: 100,
            unknown_ttl: Duration::from_secs(60),
            fills_max: 8,
            fill_timeout: Duration::from_secs(10),
        },
        failures: FailureSettings {
            burst: 50,
            per_minute: 60,
            addresses_max: 10,
        },
    }));
    let preloader = Preloader::new(Arc::clone(&verifier) as Arc<dyn KeyTable>);
    let preloader = Arc::new(preloader);
    let gateway = Setup {
        sinks: vec![
            Arc::clone(&verifier) as Arc<dyn ChangeSink>,
            Arc::clone(&preloader) as Arc<dyn ChangeSink>,
        ],
        ..Setup::new(control.url())
    };
    let gateway = gateway.start();
    let stopping = CancellationToken::new();
    preloader.start(link, &gateway.handle, Clock::system(), stopping.clone());
    let watch = control.watch().await;
    Scene {
        control,
        watch,
        verifier,
        preloader,
        _gateway: gateway,
        _running: stopping.drop_guard(),
    }
}

/// Why the key does not open anything, if it does not.
async fn inspect(verifier: &Verifier, secret: &Secret) -> Option<DenialReason> {
    let verdict = verifier.inspect(secret.expose().as_bytes(), DeploymentId(1)).await;
    match verdict.unwrap() {
        Verdict::Allow(_) => None,
        Verdict::Deny(denial) => Some(denial.reason),
    }
}

fn record(id: i64) -> KeyRecord {
    KeyRecord {
        key_id: KeyId(id),
        lineage_id: KeyId(id),
        deployment_id: DeploymentId(1),
        app: AppRecord {
            id: AppId(1),
            slug: "app".to_owned(),
            is_active: true,
            permissions: Vec::new(),
            resources: Vec::new(),
        },
        name: "key".to_owned(),
        permissions: Vec::new(),
        metadata: serde_json::Map::new(),
        owner_user_id: None,
        organization_id: None,
        workspace_id: None,
        expires_at_us: None,
        revoked_at_us: None,
        scheme: None,
    }
}

fn page(call: Call, id: i64, secret: &Secret, next: Option<KeyId>) {
    assert!(call.path.starts_with(KEYS), "{}", call.path);
    call.answer_json(&KeyPage {
        as_of: at(10),
        keys: vec![PagedKey {
            hash: HashText(secret.hash()),
            record: record(id),
        }],
        next,
    });
}

/// Answers a look-up with the same record for each hash.
fn looked_up(call: Call, as_of: u64, record: Option<KeyRecord>) {
    assert_eq!(call.path, LOOK_UP);
    let question: LookUp = serde_json::from_slice(&call.body).unwrap();
    call.answer_json(&LookedUp {
        as_of: at(as_of),
        records: question.hashes.iter().map(|_| record.clone()).collect(),
    });
}

#[tokio::test]
async fn every_key_is_answered_without_a_question_and_changes_are_not_missed() {
    let mut scene = scene().await;
    let secrets: Vec<Secret> = (0..4).map(|_| Secret::generate("sk").unwrap()).collect();
    scene.watch.welcome().await;
    scene.watch.reset(at(10)).await;
    page(scene.control.call().await, 1, &secrets[0], Some(KeyId(1)));
    page(scene.control.call().await, 2, &secrets[1], None);
    soon(scene.preloader.completed()).await;
    // Known or not: nobody is asked, and nobody would answer.
    assert_eq!(inspect(&scene.verifier, &secrets[0]).await, None);
    assert_eq!(inspect(&scene.verifier, &secrets[1]).await, None);
    assert_eq!(
        inspect(&scene.verifier, &secrets[2]).await,
        Some(DenialReason::KeyUnknown)
    );
    // One is revoked and one is created: they are fetched before anybody asks, and again only if somebody asks first.
    let run = [
        (11, Touches::KeyChanged(HashText(secrets[0].hash()))),
        (12, Touches::KeyCreated(HashText(secrets[2].hash()))),
    ];
    scene.watch.until_acknowledged(at(10)).await;
    scene.watch.say(changes(10, 12, &run)).await;
    let mut named = 0;
    while named < 2 {
        let call = scene.control.call().await;
        let question: LookUp = serde_json::from_slice(&call.body).unwrap();
        named += question.hashes.len();
        call.answer_json(&LookedUp {
            as_of: at(12),
            records: question
                .hashes
                .iter()
                .map(|hash| {
                    let is_new = hash.0 == secrets[2].hash();
                    let id = if is_new { 3 } else { 1 };
                    Some(KeyRecord {
                        revoked_at_us: (!is_new).then_some(0),
                        ..record(id)
                    })
                })
                .collect(),
        });
    }
    scene.watch.until_acknowledged(at(12)).await;
    while scene.preloader.progress().keys_read_again < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(
        inspect(&scene.verifier, &secrets[0]).await,
        Some(DenialReason::KeyRevoked)
    );
    assert_eq!(inspect(&scene.verifier, &secrets[2]).await, None);
    assert_eq!(
        inspect(&scene.verifier, &secrets[3]).await,
        Some(DenialReason::KeyUnknown)
    );
    assert!(scene.verifier.table().unwrap().is_complete);
}

#[tokio::test]
async fn while_keys_may_be_missing_the_control_api_is_asked() {
    let mut scene = scene().await;
    let secret = Secret::generate("sk").unwrap();
    scene.watch.welcome().await;
    scene.watch.reset(at(10)).await;
    let unfinished = scene.control.call().await;
    assert!(unfinished.path.starts_with(KEYS));
    let (verifier, asked) = (Arc::clone(&scene.verifier), secret.expose().to_owned());
    let asking = tokio::spawn(async move {
        let verdict = verifier.inspect(asked.as_bytes(), DeploymentId(1)).await;
        matches!(verdict, Ok(Verdict::Allow(_)))
    });
    looked_up(scene.control.call().await, 10, Some(record(7)));
    assert!(soon(asking).await.unwrap());
    unfinished.refuse(503);
    page(scene.control.call().await, 7, &secret, None);
    soon(scene.preloader.completed()).await;
}
