use super::scripted_source::{PATIENCE, Script, record, scripted};
use super::*;
use crate::{AppId, DeploymentId, Fetched, KeyId, KeyRecord, ManualClock, SchemeId, SchemeRecord, SourceError};
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use tokio::task::JoinHandle;

pub(super) const SETTINGS: CacheSettings = CacheSettings {
    keys_max: 1_000,
    unknown_keys_max: 1_000,
    unknown_ttl: Duration::from_secs(10),
    fills_max: 8,
    fill_timeout: Duration::from_secs(30),
};

struct Fixture {
    lookup: Arc<Lookup>,
    script: Script,
    hand: ManualClock,
}

fn fixture(settings: CacheSettings) -> Fixture {
    let (source, script) = scripted();
    let (clock, hand) = Clock::manual(Moment {
        monotonic_us: 1,
        wall_us: 1,
    });
    let lookup = Arc::new(Lookup::new(
        settings,
        source,
        Arc::new(RuleSet::compile(None, &[])),
        clock,
    ));
    Fixture { lookup, script, hand }
}

fn hash(byte: u8) -> KeyHash {
    KeyHash([byte; 32])
}

const fn at(revision: u64) -> Version {
    Version { epoch: 1, revision }
}

fn live() -> Option<KeyRecord> {
    Some(record(KeyId(1)))
}

fn revoked() -> Option<KeyRecord> {
    Some(KeyRecord {
        revoked_at_us: Some(0),
        ..record(KeyId(1))
    })
}

fn is_live(found: &Found) -> bool {
    matches!(found, Found::Known(key) if key.revoked_at_us().is_none())
}

impl Fixture {
    fn ask(&self, hash: KeyHash) -> JoinHandle<Result<Found, SourceError>> {
        let lookup = Arc::clone(&self.lookup);
        tokio::spawn(async move {
            tokio::time::timeout(PATIENCE, lookup.fill(&hash))
                .await
                .expect("stranded")
        })
    }

    fn held(&self, hash: KeyHash) -> Option<Found> {
        self.lookup.held(&hash, self.lookup.clock.now())
    }

    fn change(&self, revision: u64, kind: ChangeKind) {
        self.lookup.apply(&Change {
            version: at(revision),
            deployment_id: DeploymentId(1),
            kind,
        });
    }

    /// Asks and answers.
    async fn fill(&self, hash: KeyHash, as_of: Version, record: Option<KeyRecord>) -> Result<Found, SourceError> {
        let asking = self.ask(hash);
        self.script.call().await.answer(as_of, record);
        asking.await.unwrap()
    }
}

/// Lets every task run until it waits.
async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_was_filled_is_held() {
    let fixture = fixture(SETTINGS);
    assert!(fixture.held(hash(1)).is_none());
    assert!(is_live(&fixture.fill(hash(1), at(1), live()).await.unwrap()));
    assert!(is_live(&fixture.held(hash(1)).unwrap()));
    assert!(fixture.held(hash(2)).is_none());
    let stats = fixture.lookup.stats();
    assert_eq!((stats.hits, stats.misses, stats.fills, stats.fill_errors), (1, 2, 1, 0));
}

#[tokio::test]
async fn a_fill_that_began_before_a_change_is_repeated() {
    let fixture = fixture(SETTINGS);
    for kind in [
        ChangeKind::KeyChanged(hash(1)),
        ChangeKind::KeyCreated(hash(1)),
        ChangeKind::AppChanged(AppId(1)),
        ChangeKind::SchemeChanged(SchemeId(5)),
    ] {
        let revision = fixture.lookup.stats().fills + 10;
        fixture.change(revision - 1, ChangeKind::KeyChanged(hash(1)));
        let with_scheme = |record: Option<KeyRecord>| {
            record.map(|record| KeyRecord {
                scheme: Some(SchemeRecord {
                    is_keys_own: false,
                    id: SchemeId(5),
                    rules: Vec::new(),
                }),
                ..record
            })
        };
        let asking = fixture.ask(hash(1));
        let call = fixture.script.call().await;
        fixture.change(revision, kind);
        call.answer(at(revision - 1), with_scheme(live()));
        let repeated = fixture.script.call().await;
        assert!(fixture.held(hash(1)).is_none(), "{kind:?}");
        repeated.answer(at(revision), with_scheme(revoked()));
        assert!(!is_live(&asking.await.unwrap().unwrap()), "{kind:?}");
        assert!(!is_live(&fixture.held(hash(1)).unwrap()), "{kind:?}");
    }
}

#[tokio::test]
async fn a_fill_that_includes_the_change_is_not_repeated() {
    let fixture = fixture(SETTINGS);
    let asking = fixture.ask(hash(1));
    let call = fixture.script.call().await;
    fixture.change(5, ChangeKind::KeyChanged(hash(1)));
    call.answer(at(5), live());
    assert!(is_live(&asking.await.unwrap().unwrap()));
    assert!(is_live(&fixture.held(hash(1)).unwrap()));
    assert_eq!(fixture.lookup.stats().fills, 1);
}

#[tokio::test]
async fn a_source_that_never_catches_up_is_an_error_and_nothing_is_kept() {
    let fixture = fixture(SETTINGS);
    fixture.change(5, ChangeKind::KeyChanged(hash(1)));
    let asking = fixture.ask(hash(1));
    while !asking.is_finished() {
        if let Some(call) = fixture.script.try_call() {
            call.answer(at(4), live());
        }
        tokio::task::yield_now().await;
    }
    assert!(
        asking
            .await
            .unwrap()
            .unwrap_err()
            .to_string()
            .contains("changed faster")
    );
    assert!(fixture.held(hash(1)).is_none());
    assert_eq!(fixture.lookup.stats().fills, 8);
    assert_eq!(fixture.lookup.stats().fill_errors, 1);
    assert!(is_live(&fixture.fill(hash(1), at(5), live()).await.unwrap()));
}

#[tokio::test]
async fn all_who_ask_together_ask_once() {
    let fixture = fixture(SETTINGS);
    let asking: Vec<_> = (0..500).map(|_| fixture.ask(hash(1))).collect();
    settle().await;
    fixture.script.call().await.answer(at(1), live());
    for one in asking {
        assert!(is_live(&one.await.unwrap().unwrap()));
    }
    assert_eq!(fixture.lookup.stats().fills, 1);
    assert_eq!(fixture.lookup.waiters.load(Ordering::Relaxed), 0);
    assert_eq!(fixture.lookup.flights.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn one_who_joined_late_never_gets_what_is_outdated() {
    let fixture = fixture(SETTINGS);
    let first = fixture.ask(hash(1));
    let call = fixture.script.call().await;
    fixture.change(5, ChangeKind::KeyChanged(hash(1)));
    let second = fixture.ask(hash(1));
    settle().await;
    call.answer(at(4), live());
    fixture.script.call().await.answer(at(5), revoked());
    for one in [first, second] {
        assert!(!is_live(&one.await.unwrap().unwrap()));
    }
}

/// The change is applied after the answer landed and before the task that waits for it gets its turn.
#[tokio::test]
async fn an_answer_outdated_on_its_way_to_the_asker_is_not_given() {
    let kinds = [
        ChangeKind::KeyChanged(hash(1)),
        ChangeKind::AppChanged(AppId(1)),
        ChangeKind::SchemeChanged(SchemeId(1)),
    ];
    for (kind, is_concerned) in kinds.into_iter().zip([true, true, false]) {
        let fixture = fixture(SETTINGS);
        let mut asking = pin!(fixture.lookup.fill(&KeyHash([1; 32])));
        let mut context = Context::from_waker(Waker::noop());
        assert!(asking.as_mut().poll(&mut context).is_pending());
        fixture.script.call().await.answer(at(4), live());
        settle().await;
        assert!(is_live(&fixture.held(hash(1)).unwrap()), "it has landed");
        fixture.change(5, kind);
        let poll = asking.as_mut().poll(&mut context);
        if !is_concerned {
            assert!(matches!(poll, Poll::Ready(Ok(found)) if is_live(&found)));
            continue;
        }
        assert!(poll.is_pending(), "{kind:?}");
        fixture.script.call().await.answer(at(5), revoked());
        settle().await;
        assert!(
            matches!(asking.as_mut().poll(&mut context), Poll::Ready(Ok(found)) if !is_live(&found)),
            "{kind:?}"
        );
    }
}

#[tokio::test]
async fn the_first_asker_may_leave() {
    let fixture = fixture(SETTINGS);
    let first = fixture.ask(hash(1));
    let call = fixture.script.call().await;
    let second = fixture.ask(hash(1));
    settle().await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    let third = fixture.ask(hash(1));
    settle().await;
    call.answer(at(1), live());
    for one in [second, third] {
        assert!(is_live(&one.await.unwrap().unwrap()));
    }
    assert_eq!(fixture.lookup.stats().fills, 1);
}

#[tokio::test]
async fn all_askers_may_leave_and_the_answer_is_kept() {
    let fixture = fixture(SETTINGS);
    let asking = fixture.ask(hash(1));
    let call = fixture.script.call().await;
    asking.abort();
    settle().await;
    call.answer(at(1), live());
    settle().await;
    assert!(is_live(&fixture.held(hash(1)).unwrap()));
    assert_eq!(fixture.lookup.waiters.load(Ordering::Relaxed), 0);
    assert_eq!(fixture.lookup.stats().fill_errors, 0);
}

#[tokio::test]
async fn an_error_reaches_all_who_wait_and_is_not_remembered() {
    let fixture = fixture(SETTINGS);
    let asking: Vec<_> = (0..5).map(|_| fixture.ask(hash(1))).collect();
    settle().await;
    drop(fixture.script.call().await);
    for one in asking {
        assert_eq!(one.await.unwrap().unwrap_err().cause, "unplugged");
    }
    assert_eq!(fixture.lookup.stats().fill_errors, 1);
    assert!(is_live(&fixture.fill(hash(1), at(1), live()).await.unwrap()));
}

#[tokio::test]
async fn a_silent_source_is_given_up() {
    let fixture = fixture(CacheSettings {
        fill_timeout: Duration::from_millis(20),
        ..SETTINGS
    });
    let asking: Vec<_> = (0..5).map(|_| fixture.ask(hash(1))).collect();
    let call = fixture.script.call().await;
    for one in asking {
        assert_eq!(one.await.unwrap().unwrap_err().cause, "no answer within 20ms");
    }
    assert!(!call.has_asker());
    call.answer(at(1), live());
    settle().await;
    assert!(
        fixture.held(hash(1)).is_none(),
        "an answer that came too late is not kept"
    );
    assert!(is_live(&fixture.fill(hash(1), at(1), live()).await.unwrap()));
}

struct PanickingSource;

#[async_trait::async_trait]
impl KeySource for PanickingSource {
    async fn fetch(&self, _hash: &KeyHash) -> Result<Fetched, SourceError> {
        panic!("a bug in the source")
    }
}

#[tokio::test]
async fn a_source_that_panics_strands_nobody() {
    let (clock, _hand) = Clock::manual(Moment {
        monotonic_us: 1,
        wall_us: 1,
    });
    let lookup = Arc::new(Lookup::new(
        SETTINGS,
        Arc::new(PanickingSource),
        Arc::new(RuleSet::compile(None, &[])),
        clock,
    ));
    for _ in 0..2 {
        let error = lookup.fill(&hash(1)).await.unwrap_err();
        assert_eq!(error.cause, "the look-up ended without an answer");
    }
    assert_eq!(lookup.flights.load(Ordering::Relaxed), 0);
    assert_eq!(lookup.stats().fill_errors, 2);
}

#[tokio::test]
async fn the_source_is_asked_by_no_more_than_allowed_at_once() {
    let fixture = fixture(CacheSettings {
        fills_max: 2,
        ..SETTINGS
    });
    let asking: Vec<_> = (1..=5).map(|byte| fixture.ask(hash(byte))).collect();
    settle().await;
    let mut calls = vec![fixture.script.try_call().unwrap(), fixture.script.try_call().unwrap()];
    assert!(fixture.script.try_call().is_none());
    for _ in 0..3 {
        calls.remove(0).answer(at(1), live());
        settle().await;
        calls.push(fixture.script.try_call().unwrap());
        assert!(fixture.script.try_call().is_none());
    }
    calls.into_iter().for_each(|call| call.answer(at(1), live()));
    for one in asking {
        one.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_queued_look_up_that_nobody_waits_for_is_dropped() {
    let fixture = fixture(CacheSettings {
        fills_max: 1,
        ..SETTINGS
    });
    let running = fixture.ask(hash(1));
    let call = fixture.script.call().await;
    let deserted = fixture.ask(hash(2));
    settle().await;
    deserted.abort();
    settle().await;
    call.answer(at(1), live());
    running.await.unwrap().unwrap();
    settle().await;
    assert!(fixture.script.try_call().is_none());
    assert_eq!(fixture.lookup.flights.load(Ordering::Relaxed), 0);
    assert_eq!(fixture.lookup.stats().fill_errors, 0);
    assert!(is_live(&fixture.fill(hash(2), at(1), live()).await.unwrap()));
}

#[tokio::test]
async fn those_who_wait_are_bounded() {
    let fixture = fixture(SETTINGS);
    fixture.lookup.waiters.store(65_536, Ordering::Relaxed);
    let error = fixture.lookup.fill(&hash(1)).await.unwrap_err();
    assert_eq!(error.cause, "too many requests wait for the key source");
    fixture.lookup.waiters.store(0, Ordering::Relaxed);
    fixture.lookup.flights.store(8_192, Ordering::Relaxed);
    let error = fixture.lookup.fill(&hash(1)).await.unwrap_err();
    assert_eq!(error.cause, "too many look-ups wait for the key source");
    assert_eq!(fixture.lookup.waiters.load(Ordering::Relaxed), 0);
    fixture.lookup.flights.store(0, Ordering::Relaxed);
    assert!(is_live(&fixture.fill(hash(1), at(1), live()).await.unwrap()));
}

#[tokio::test]
async fn unknown_is_remembered_for_its_time() {
    let fixture = fixture(SETTINGS);
    assert!(matches!(fixture.fill(hash(1), at(1), None).await, Ok(Found::Unknown)));
    assert!(matches!(fixture.held(hash(1)), Some(Found::Unknown)));
    fixture.hand.advance_us(9_999_999);
    assert!(matches!(fixture.held(hash(1)), Some(Found::Unknown)));
    fixture.hand.advance_us(1);
    assert!(fixture.held(hash(1)).is_none());
    assert!(is_live(&fixture.fill(hash(1), at(1), live()).await.unwrap()));
    assert!(is_live(&fixture.held(hash(1)).unwrap()));
}

#[tokio::test]
async fn creation_ends_unknown() {
    let fixture = fixture(SETTINGS);
    fixture.fill(hash(1), at(1), None).await.unwrap();
    fixture.change(2, ChangeKind::KeyCreated(hash(1)));
    assert!(fixture.held(hash(1)).is_none());
    // In flight while the key is created.
    let asking = fixture.ask(hash(1));
    let call = fixture.script.call().await;
    fixture.change(3, ChangeKind::KeyCreated(hash(1)));
    call.answer(at(2), None);
    fixture.script.call().await.answer(at(3), live());
    assert!(is_live(&asking.await.unwrap().unwrap()));
}

#[tokio::test]
async fn a_wide_change_reaches_its_own_keys_only() {
    let fixture = fixture(SETTINGS);
    let with = |app: i64, scheme: Option<i64>| {
        let mut record = record(KeyId(app));
        record.app.id = AppId(app);
        record.scheme = scheme.map(|id| SchemeRecord {
            is_keys_own: false,
            id: SchemeId(id),
            rules: Vec::new(),
        });
        Some(record)
    };
    fixture.fill(hash(1), at(1), with(1, None)).await.unwrap();
    fixture.fill(hash(2), at(1), with(2, Some(7))).await.unwrap();
    fixture.fill(hash(3), at(1), with(3, Some(8))).await.unwrap();
    let held = || [1, 2, 3].map(|byte| fixture.held(hash(byte)).is_some());
    assert_eq!(held(), [true, true, true]);
    fixture.change(2, ChangeKind::NoKey);
    assert_eq!(held(), [true, true, true]);
    fixture.change(3, ChangeKind::AppChanged(AppId(1)));
    assert_eq!(held(), [false, true, true]);
    fixture.change(4, ChangeKind::SchemeChanged(SchemeId(7)));
    assert_eq!(held(), [false, false, true]);
    fixture.change(5, ChangeKind::SchemeChanged(SchemeId(1)));
    fixture.change(6, ChangeKind::AppChanged(AppId(7)));
    assert_eq!(held(), [false, false, true], "ids of apps and schemes are not mixed up");
    fixture.fill(hash(1), at(6), with(1, None)).await.unwrap();
    fixture.fill(hash(2), at(6), with(2, Some(7))).await.unwrap();
    assert_eq!(held(), [true, true, true]);
}

#[tokio::test]
async fn a_hit_pays_for_a_wide_change_once() {
    let fixture = fixture(SETTINGS);
    let Ok(Found::Known(key)) = fixture.fill(hash(1), at(1), live()).await else {
        panic!("it is known")
    };
    fixture.change(2, ChangeKind::AppChanged(AppId(9)));
    assert!(key.trusted_at.load(Ordering::Relaxed) < fixture.lookup.wide.load(Ordering::Relaxed));
    assert!(fixture.held(hash(1)).is_some());
    assert_eq!(
        key.trusted_at.load(Ordering::Relaxed),
        fixture.lookup.wide.load(Ordering::Relaxed)
    );
    // Held against the notes already: even their lock is not needed.
    let _locked = fixture.lookup.wide_fences.write();
    assert!(fixture.held(hash(1)).is_some());
}

#[tokio::test]
async fn a_hit_needs_its_own_stripe_and_nothing_else() {
    let fixture = fixture(SETTINGS);
    fixture.fill(hash(1), at(1), live()).await.unwrap();
    fixture.fill(hash(2), at(1), None).await.unwrap();
    let own = [1, 2, 3].map(|byte| fixture.lookup.stripes.of(&hash(byte)));
    let others: Vec<_> = (4..=255).map(|byte| fixture.lookup.stripes.of(&hash(byte))).collect();
    drop(own);
    let _locked = (others, fixture.lookup.wide_fences.write());
    assert!(is_live(&fixture.held(hash(1)).unwrap()));
    assert!(matches!(fixture.held(hash(2)), Some(Found::Unknown)));
    assert!(fixture.held(hash(3)).is_none());
}

#[tokio::test]
async fn a_key_that_must_be_read_again_is_a_miss_and_no_hit() {
    let fixture = fixture(SETTINGS);
    fixture.fill(hash(1), at(1), live()).await.unwrap();
    fixture.change(2, ChangeKind::AppChanged(AppId(9)));
    assert!(fixture.held(hash(1)).is_some());
    fixture.change(3, ChangeKind::AppChanged(AppId(1)));
    assert!(fixture.held(hash(1)).is_none());
    let stats = fixture.lookup.stats();
    assert_eq!((stats.hits, stats.misses), (1, 1));
}

#[tokio::test]
async fn distrust_reaches_all_that_is_held_or_in_flight() {
    let fixture = fixture(SETTINGS);
    fixture.fill(hash(1), at(4), live()).await.unwrap();
    fixture.fill(hash(2), at(4), None).await.unwrap();
    fixture.fill(hash(3), at(5), live()).await.unwrap();
    let asking = fixture.ask(hash(4));
    let call = fixture.script.call().await;
    fixture.lookup.distrust_all(at(5));
    assert!(fixture.held(hash(1)).is_none());
    assert!(fixture.held(hash(2)).is_none());
    assert!(
        is_live(&fixture.held(hash(3)).unwrap()),
        "what was read at the floor is good"
    );
    call.answer(at(4), live());
    fixture.script.call().await.answer(at(5), revoked());
    assert!(!is_live(&asking.await.unwrap().unwrap()));
}

#[tokio::test]
async fn another_history_is_another_world() {
    let fixture = fixture(SETTINGS);
    let new = |revision| Version { epoch: 2, revision };
    fixture.change(900, ChangeKind::KeyChanged(hash(1)));
    fixture.change(901, ChangeKind::AppChanged(AppId(1)));
    fixture.fill(hash(1), at(901), live()).await.unwrap();
    fixture.fill(hash(2), at(901), None).await.unwrap();
    fixture.lookup.distrust_all(new(3));
    assert!(fixture.held(hash(1)).is_none());
    assert!(fixture.held(hash(2)).is_none());
    let asking = fixture.ask(hash(1));
    fixture.script.call().await.answer(at(1_000), live());
    fixture.script.call().await.answer(new(2), live());
    fixture.script.call().await.answer(new(3), revoked());
    assert!(
        !is_live(&asking.await.unwrap().unwrap()),
        "fences of the old history do not stand in the way"
    );
    assert!(!is_live(&fixture.held(hash(1)).unwrap()));
}

#[tokio::test]
async fn a_change_of_another_history_is_distrusted_unasked() {
    let fixture = fixture(SETTINGS);
    let new = Version { epoch: 2, revision: 7 };
    fixture.lookup.distrust_all(at(1));
    fixture.fill(hash(1), at(1), live()).await.unwrap();
    fixture.fill(hash(2), at(1), None).await.unwrap();
    fixture.lookup.apply(&Change {
        version: new,
        deployment_id: DeploymentId(1),
        kind: ChangeKind::NoKey,
    });
    assert!(fixture.held(hash(1)).is_none());
    assert!(fixture.held(hash(2)).is_none());
    fixture.fill(hash(1), new, live()).await.unwrap();
    assert!(is_live(&fixture.held(hash(1)).unwrap()));
}

#[tokio::test]
async fn first_start_at_revision_zero() {
    let fixture = fixture(SETTINGS);
    fixture.lookup.distrust_all(at(0));
    fixture.fill(hash(1), at(0), None).await.unwrap();
    assert!(matches!(fixture.held(hash(1)), Some(Found::Unknown)));
    fixture.change(1, ChangeKind::KeyCreated(hash(1)));
    assert!(fixture.held(hash(1)).is_none());
    assert!(is_live(&fixture.fill(hash(1), at(1), live()).await.unwrap()));
}

#[tokio::test]
async fn what_was_read_before_the_first_change_was_heard() {
    #[track_caller]
    fn check(read_at: Version, first_change: u64, is_kept: bool) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(async {
            let fixture = fixture(SETTINGS);
            fixture.fill(hash(1), read_at, live()).await.unwrap();
            fixture.change(first_change, ChangeKind::NoKey);
            assert_eq!(fixture.held(hash(1)).is_some(), is_kept);
        });
    }
    tokio::task::spawn_blocking(|| {
        check(at(0), 1, true);
        check(at(6), 7, true);
        check(at(7), 7, true);
        // The changes between were never heard.
        check(at(0), 2, false);
        check(at(5), 7, false);
        check(Version { epoch: 9, revision: 7 }, 7, false);
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_change_may_be_applied_twice_and_late() {
    let fixture = fixture(SETTINGS);
    fixture.change(5, ChangeKind::KeyChanged(hash(1)));
    fixture.change(6, ChangeKind::AppChanged(AppId(1)));
    fixture.fill(hash(1), at(6), live()).await.unwrap();
    fixture.change(5, ChangeKind::KeyChanged(hash(1)));
    assert!(fixture.held(hash(1)).is_none(), "dropping more than needed is harmless");
    let asking = fixture.ask(hash(1));
    fixture.script.call().await.answer(at(5), live());
    fixture.script.call().await.answer(at(6), live());
    assert!(is_live(&asking.await.unwrap().unwrap()), "and lowers no fence");
}

#[tokio::test]
async fn a_full_cache_forgets_keys_and_never_changes() {
    let fixture = fixture(CacheSettings {
        keys_max: 2,
        unknown_keys_max: 2,
        ..SETTINGS
    });
    for byte in 1..=20 {
        fixture.fill(hash(byte), at(1), live()).await.unwrap();
        fixture.fill(hash(byte + 100), at(1), None).await.unwrap();
    }
    fixture.lookup.sweep();
    let stats = fixture.lookup.stats();
    assert!(stats.known_keys <= 2 && stats.unknown_keys <= 2, "{stats:?}");
    for byte in 1..=20 {
        fixture.change(u64::from(byte) + 1, ChangeKind::KeyChanged(hash(byte)));
        assert!(fixture.held(hash(byte)).is_none());
        let asking = fixture.ask(hash(byte));
        fixture.script.call().await.answer(at(u64::from(byte)), live());
        fixture.script.call().await.answer(at(u64::from(byte) + 1), revoked());
        assert!(!is_live(&asking.await.unwrap().unwrap()));
        fixture.lookup.sweep();
    }
}

#[tokio::test]
async fn a_cache_of_no_size_still_answers() {
    let fixture = fixture(CacheSettings {
        keys_max: 0,
        unknown_keys_max: 0,
        fills_max: 0,
        ..SETTINGS
    });
    for _ in 0..3 {
        let asking: Vec<_> = (0..10).map(|_| fixture.ask(hash(1))).collect();
        settle().await;
        while let Some(call) = fixture.script.try_call() {
            call.answer(at(1), live());
            settle().await;
            fixture.lookup.sweep();
        }
        for one in asking {
            assert!(is_live(&one.await.unwrap().unwrap()));
        }
    }
}
