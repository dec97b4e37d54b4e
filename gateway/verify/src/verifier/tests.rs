use super::*;
use crate::lookup::scripted_source::{Script, record, scripted};
use crate::{ChangeKind, KeyId, KeyRecord, ManualClock, Mode, Rule, RuleState, Secret, Unit};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

pub(super) const CACHE: CacheSettings = CacheSettings {
    keys_max: 1_000,
    unknown_keys_max: 1_000,
    unknown_ttl: Duration::from_secs(10),
    fills_max: 8,
    fill_timeout: Duration::from_secs(10),
};
pub(super) const FAILURES: FailureSettings = FailureSettings {
    burst: 50,
    per_minute: 60,
    addresses_max: 100,
};

/// Counts what it is asked, admits until told otherwise.
#[derive(Default)]
pub(super) struct CountingLimiter {
    charged: AtomicU32,
    peeked: AtomicU32,
    refuses: AtomicBool,
}

impl CountingLimiter {
    fn answer(&self) -> Charge {
        let state = RuleState {
            rule: 0,
            limit: 10,
            remaining: 0,
            grows_in_us: 7,
        };
        let outcome = match self.refuses.load(Ordering::Relaxed) {
            true => ChargeOutcome::Refused {
                blocked_rule: 0,
                retry_after_us: 7,
            },
            false => ChargeOutcome::Admitted,
        };
        Charge {
            outcome,
            states: [state].into_iter().collect(),
        }
    }
}

impl Limiter for CountingLimiter {
    fn charge(&self, _key: &StoredKey, _request: &ChargeRequest<'_>) -> Charge {
        self.charged.fetch_add(1, Ordering::Relaxed);
        self.answer()
    }

    fn peek(&self, _key: &StoredKey, _request: &ChargeRequest<'_>) -> Charge {
        self.peeked.fetch_add(1, Ordering::Relaxed);
        self.answer()
    }
}

struct Fixture {
    verifier: Arc<Verifier>,
    script: Script,
    hand: ManualClock,
    limiter: Arc<CountingLimiter>,
    door: Requirement,
}

const START_US: i64 = 1_700_000_000_000_000;
const FIRST: Version = Version { epoch: 1, revision: 1 };

fn fixture() -> Fixture {
    let (source, script) = scripted();
    let (clock, hand) = Clock::manual(Moment {
        monotonic_us: 1,
        wall_us: START_US,
    });
    let limiter = Arc::new(CountingLimiter::default());
    let verifier = Verifier::new(VerifierParts {
        clock,
        source,
        limiter: Arc::<CountingLimiter>::clone(&limiter),
        default_rules: Arc::new(RuleSet::compile(
            None,
            &[Rule {
                unit: Unit::Minute,
                duration: 1,
                max_requests: 10,
                mode: Some(Mode::PerApp),
                endpoints: None,
                priority: None,
            }],
        )),
        cache: CACHE,
        failures: FAILURES,
    });
    let door = Requirement {
        deployment_id: Some(DeploymentId(1)),
        apps: AppScope::Every,
        permissions: Vec::new(),
    };
    Fixture {
        verifier: Arc::new(verifier),
        script,
        hand,
        limiter,
        door,
    }
}

fn client() -> Option<IpAddr> {
    Some("192.0.2.1".parse().unwrap())
}

fn secret() -> String {
    Secret::generate("sk_live").unwrap().expose().to_owned()
}

fn reason(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Allow(_) => "allowed",
        Verdict::Deny(denial) => denial.reason.name(),
    }
}

impl Fixture {
    /// Verifies; the source, if asked, answers with `answer`.
    async fn verify_from(&self, credential: &[u8], address: Option<IpAddr>, answer: Option<KeyRecord>) -> Verdict {
        let request = VerifyRequest {
            credential,
            path: "/invoices/7",
            address,
            requirement: &self.door,
        };
        tokio::select! {
            biased;
            verdict = self.verifier.verify(&request) => verdict.unwrap(),
            never = self.answering(answer) => match never {},
        }
    }

    async fn verify(&self, credential: &[u8], answer: Option<KeyRecord>) -> Verdict {
        self.verify_from(credential, client(), answer).await
    }

    async fn inspect(&self, credential: &[u8], answer: Option<KeyRecord>) -> Verdict {
        tokio::select! {
            biased;
            verdict = self.verifier.inspect(credential, self.door.deployment_id.unwrap()) => verdict.unwrap(),
            never = self.answering(answer) => match never {},
        }
    }

    async fn still_opens(&self, hash: &KeyHash, answer: Option<KeyRecord>) -> bool {
        tokio::select! {
            biased;
            answer = self.verifier.still_opens(hash, &self.door) => answer.unwrap(),
            never = self.answering(answer) => match never {},
        }
    }

    async fn answering(&self, answer: Option<KeyRecord>) -> std::convert::Infallible {
        if let Some(call) = self.script.try_call() {
            call.answer(FIRST, answer.clone());
        }
        loop {
            match self.script.try_call() {
                Some(call) => call.answer(FIRST, answer.clone()),
                None => tokio::task::yield_now().await,
            }
        }
    }

    fn charged(&self) -> u32 {
        self.limiter.charged.load(Ordering::Relaxed)
    }
}

#[tokio::test]
async fn verdicts() {
    #[track_caller]
    fn check(edit: impl FnOnce(&mut KeyRecord, &mut Requirement), expected: &str) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let mut fixture = fixture();
        let mut key = record(KeyId(1));
        edit(&mut key, &mut fixture.door);
        runtime.block_on(async {
            let secret = secret();
            // From the source, then from memory.
            for _ in 0..2 {
                let verdict = fixture.verify(secret.as_bytes(), Some(key.clone())).await;
                assert_eq!(reason(&verdict), expected);
            }
            assert_eq!(fixture.verifier.stats().fills, 1);
            let expected_charges = if expected == "allowed" { 2 } else { 0 };
            assert_eq!(
                fixture.charged(),
                expected_charges,
                "what is refused for free charges nothing"
            );
        });
    }
    tokio::task::spawn_blocking(|| {
        check(|_, _| {}, "allowed");
        check(|key, _| key.revoked_at_us = Some(START_US), "key_revoked");
        check(|key, _| key.app.is_active = false, "app_inactive");
        check(|key, _| key.expires_at_us = Some(START_US), "key_expired");
        check(|_, door| door.apps = AppScope::Slugs(Box::default()), "app_not_allowed");
        check(|_, door| door.deployment_id = Some(DeploymentId(2)), "app_not_allowed");
        check(
            |key, _| key.app.resources = vec!["orders/*".to_owned()],
            "resource_denied",
        );
        check(
            |_, door| door.permissions = vec!["a".parse().unwrap()],
            "permission_denied",
        );
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn junk_reaches_neither_cache_nor_source() {
    let fixture = fixture();
    let mut wrong_checksum = secret().into_bytes();
    let last = wrong_checksum.len() - 1;
    wrong_checksum[last] = if wrong_checksum[last] == b'0' { b'1' } else { b'0' };
    let good = secret();
    let longer = format!("{good}x");
    let spaced = format!(" {good}");
    for junk in [
        b"".as_slice(),
        b"x",
        &[0xff; 60],
        &wrong_checksum,
        longer.as_bytes(),
        spaced.as_bytes(),
    ] {
        for _ in 0..100 {
            assert_eq!(reason(&fixture.verify(junk, None).await), "key_malformed");
        }
        assert_eq!(reason(&fixture.inspect(junk, None).await), "key_malformed");
    }
    assert_eq!(fixture.verifier.stats(), CacheStats::default());
}

#[tokio::test]
async fn a_permit_names_the_key_and_its_charge() {
    let fixture = fixture();
    let Verdict::Allow(permit) = fixture.verify(secret().as_bytes(), Some(record(KeyId(9)))).await else {
        panic!("the key is good")
    };
    assert_eq!(permit.key.key_id, KeyId(9));
    assert_eq!(permit.charge.states.len(), 1);
    assert_eq!(
        &*permit.key.rules.rules[0].name, "per_app-60s",
        "without a scheme the default rules hold"
    );
}

#[tokio::test]
async fn an_exhausted_limit_is_a_denial_with_its_rules() {
    let fixture = fixture();
    fixture.limiter.refuses.store(true, Ordering::Relaxed);
    let Verdict::Deny(denial) = fixture.verify(secret().as_bytes(), Some(record(KeyId(1)))).await else {
        panic!("the limiter refuses")
    };
    assert_eq!(
        denial.reason,
        DenialReason::RateLimited {
            blocked_rule: 0,
            retry_after_us: 7
        }
    );
    assert!(denial.key.is_some() && denial.charge.is_some());
}

#[tokio::test]
async fn another_tenants_key_is_not_shown() {
    let mut fixture = fixture();
    fixture.door.deployment_id = Some(DeploymentId(2));
    let secret = secret();
    for _ in 0..2 {
        let Verdict::Deny(denial) = fixture.verify(secret.as_bytes(), Some(record(KeyId(1)))).await else {
            panic!("it is another tenant's")
        };
        assert_eq!(denial.reason, DenialReason::AppNotAllowed);
        assert!(denial.key.is_none());
        let Verdict::Deny(denial) = fixture.inspect(secret.as_bytes(), Some(record(KeyId(1)))).await else {
            panic!("it is another tenant's")
        };
        assert_eq!(denial.reason, DenialReason::KeyUnknown);
        assert!(denial.key.is_none());
    }
}

#[tokio::test]
async fn times_are_exact_and_checked_on_what_is_held() {
    let fixture = fixture();
    let secret = secret();
    let mut key = record(KeyId(1));
    key.expires_at_us = Some(START_US + 10);
    assert_eq!(reason(&fixture.verify(secret.as_bytes(), Some(key)).await), "allowed");
    fixture.hand.advance_us(9);
    assert_eq!(reason(&fixture.verify(secret.as_bytes(), None).await), "allowed");
    fixture.hand.advance_us(1);
    assert_eq!(reason(&fixture.verify(secret.as_bytes(), None).await), "key_expired");
    fixture.hand.set_wall_us(START_US);
    assert_eq!(
        reason(&fixture.verify(secret.as_bytes(), None).await),
        "allowed",
        "the wall clock stepped back"
    );

    // A rotation's grace period: revoked from a moment to come.
    let mut rotated = record(KeyId(2));
    rotated.revoked_at_us = Some(START_US + 5);
    let secret = self::secret();
    assert_eq!(
        reason(&fixture.verify(secret.as_bytes(), Some(rotated)).await),
        "allowed"
    );
    fixture.hand.advance_us(5);
    assert_eq!(reason(&fixture.verify(secret.as_bytes(), None).await), "key_revoked");
}

#[tokio::test]
async fn a_key_that_expires_while_it_is_fetched_is_refused() {
    let fixture = fixture();
    let secret = secret();
    let verifier = Arc::clone(&fixture.verifier);
    let door = fixture.door.clone();
    let asking = tokio::spawn(async move {
        let request = VerifyRequest {
            credential: secret.as_bytes(),
            path: "/",
            address: None,
            requirement: &door,
        };
        verifier.verify(&request).await
    });
    let call = fixture.script.call().await;
    fixture.hand.advance_us(10);
    call.answer(
        FIRST,
        Some(KeyRecord {
            expires_at_us: Some(START_US + 10),
            ..record(KeyId(1))
        }),
    );
    assert_eq!(reason(&asking.await.unwrap().unwrap()), "key_expired");
}

#[tokio::test]
async fn a_silent_source_is_an_error_and_no_verdict() {
    let fixture = fixture();
    let secret = secret();
    let request = VerifyRequest {
        credential: secret.as_bytes(),
        path: "/",
        address: client(),
        requirement: &fixture.door,
    };
    let (outcome, ()) = tokio::join!(fixture.verifier.verify(&request), async {
        drop(fixture.script.call().await);
    });
    assert!(matches!(outcome, Err(VerifyError::Source(_))));
    assert_eq!(
        fixture.verifier.stats().throttled_addresses,
        0,
        "a failing source is not the client's failure"
    );
}

#[tokio::test]
async fn guessing_is_throttled_and_disturbs_nobody() {
    let fixture = fixture();
    let known = secret();
    fixture.verify(known.as_bytes(), Some(record(KeyId(1)))).await;
    let guesses: Vec<String> = (0..51).map(|_| secret()).collect();
    for guess in &guesses[..50] {
        assert_eq!(reason(&fixture.verify(guess.as_bytes(), None).await), "key_unknown");
    }
    let fills = fixture.verifier.stats().fills;
    let Verdict::Deny(denial) = fixture.verify(guesses[50].as_bytes(), None).await else {
        panic!("it is throttled")
    };
    assert_eq!(
        denial.reason,
        DenialReason::TooManyFailures {
            retry_after_us: 1_000_000
        }
    );
    let good_but_not_held = secret();
    assert_eq!(
        reason(
            &fixture
                .verify(good_but_not_held.as_bytes(), Some(record(KeyId(2))))
                .await
        ),
        "too_many_failures"
    );
    assert_eq!(fixture.verifier.stats().fills, fills, "the source is left alone");
    assert_eq!(reason(&fixture.verify(known.as_bytes(), None).await), "allowed");
    assert_eq!(
        reason(&fixture.verify(guesses[0].as_bytes(), None).await),
        "key_unknown",
        "from memory"
    );
    let elsewhere = Some("192.0.2.2".parse().unwrap());
    assert_eq!(
        reason(&fixture.verify_from(guesses[50].as_bytes(), elsewhere, None).await),
        "key_unknown"
    );
    assert_eq!(
        reason(&fixture.verify_from(secret().as_bytes(), None, None).await),
        "key_unknown"
    );
    assert_eq!(reason(&fixture.inspect(secret().as_bytes(), None).await), "key_unknown");
    fixture.hand.advance_us(1_000_000);
    assert_eq!(
        reason(
            &fixture
                .verify(good_but_not_held.as_bytes(), Some(record(KeyId(2))))
                .await
        ),
        "allowed"
    );
}

/// A client that goes on with a key that is no more must not lock out its neighbours behind the same address.
#[tokio::test]
async fn one_unknown_key_over_and_over_costs_neither_source_nor_allowance() {
    let fixture = fixture();
    let stale = secret();
    for _ in 0..5_000 {
        assert_eq!(reason(&fixture.verify(stale.as_bytes(), None).await), "key_unknown");
    }
    assert_eq!(fixture.verifier.stats().fills, 1);
    for _ in 0..49 {
        assert_eq!(reason(&fixture.verify(secret().as_bytes(), None).await), "key_unknown");
    }
    assert_eq!(
        reason(&fixture.verify(secret().as_bytes(), None).await),
        "too_many_failures"
    );
}

#[tokio::test]
async fn good_keys_spend_no_allowance() {
    let fixture = fixture();
    for index in 0..200 {
        let key = KeyRecord {
            revoked_at_us: Some(0),
            ..record(KeyId(index))
        };
        assert_eq!(
            reason(&fixture.verify(secret().as_bytes(), Some(key)).await),
            "key_revoked"
        );
        assert_eq!(
            reason(&fixture.verify(secret().as_bytes(), Some(record(KeyId(index)))).await),
            "allowed"
        );
    }
    assert_eq!(fixture.verifier.stats().throttled_addresses, 0);
}

#[tokio::test]
async fn inspecting_tells_the_reason_and_charges_nothing() {
    let fixture = fixture();
    let mut restricted = record(KeyId(1));
    restricted.app.resources = vec!["orders/*".to_owned()];
    let secret = secret();
    assert_eq!(
        reason(&fixture.inspect(secret.as_bytes(), Some(restricted)).await),
        "allowed"
    );
    fixture.limiter.refuses.store(true, Ordering::Relaxed);
    assert_eq!(reason(&fixture.inspect(secret.as_bytes(), None).await), "rate_limited");
    assert_eq!(fixture.charged(), 0);
    assert_eq!(fixture.limiter.peeked.load(Ordering::Relaxed), 2);
    let expired = KeyRecord {
        expires_at_us: Some(START_US),
        ..record(KeyId(2))
    };
    let Verdict::Deny(denial) = fixture.inspect(self::secret().as_bytes(), Some(expired)).await else {
        panic!("it is expired")
    };
    assert_eq!(denial.reason, DenialReason::KeyExpired);
    assert_eq!(denial.key.map(|key| key.key_id), Some(KeyId(2)));
}

#[tokio::test]
async fn a_change_takes_hold_with_the_next_request() {
    let fixture = fixture();
    let secret = secret();
    let hash = PresentedKey::parse(secret.as_bytes()).unwrap().hash();
    assert_eq!(
        reason(&fixture.verify(secret.as_bytes(), Some(record(KeyId(1)))).await),
        "allowed"
    );
    fixture.verifier.apply(&Change {
        version: FIRST,
        deployment_id: DeploymentId(1),
        kind: ChangeKind::KeyChanged(hash),
    });
    let revoked = KeyRecord {
        revoked_at_us: Some(START_US),
        ..record(KeyId(1))
    };
    assert_eq!(
        reason(&fixture.verify(secret.as_bytes(), Some(revoked)).await),
        "key_revoked"
    );
}

#[tokio::test]
async fn what_was_admitted_goes_on_for_as_long_as_the_key_opens_the_door() {
    async fn check(edit: impl FnOnce(&mut KeyRecord), expected: bool) {
        let mut fixture = fixture();
        fixture.door.apps = AppScope::Slugs(["app".into()].into());
        fixture.door.permissions = vec!["a".parse().unwrap()];
        let mut key = record(KeyId(1));
        key.permissions = vec!["a".to_owned()];
        let secret = secret();
        let Verdict::Allow(permit) = fixture.verify(secret.as_bytes(), Some(key.clone())).await else {
            panic!("the key is good")
        };
        let held = || fixture.verifier.still_opens_as_held(&permit.hash, &fixture.door);
        assert_eq!(held(), Some(true));
        edit(&mut key);
        fixture.verifier.apply(&Change {
            version: FIRST,
            deployment_id: DeploymentId(1),
            kind: ChangeKind::KeyChanged(permit.hash),
        });
        assert_eq!(held(), None, "what was held is not believed");
        assert_eq!(fixture.still_opens(&permit.hash, Some(key)).await, expected);
        assert_eq!(held(), Some(expected), "the answer is held");
        assert_eq!(fixture.charged(), 1, "asking charges nothing");
        let stats = fixture.verifier.stats();
        assert_eq!(
            (stats.hits, stats.misses, stats.fills),
            (0, 1, 2),
            "asking is no request"
        );
    }
    check(|_| {}, true).await;
    check(|key| key.name = "another".to_owned(), true).await;
    check(|key| key.app.resources = vec!["orders/*".to_owned()], true).await;
    check(|key| key.revoked_at_us = Some(START_US + 1), true).await;
    check(|key| key.revoked_at_us = Some(START_US), false).await;
    check(|key| key.expires_at_us = Some(START_US), false).await;
    check(|key| key.app.is_active = false, false).await;
    check(|key| key.app.slug = "other".to_owned(), false).await;
    check(|key| key.deployment_id = DeploymentId(2), false).await;
    check(|key| key.permissions = vec!["b".to_owned()], false).await;
    check(|key| key.app.permissions = vec!["b".to_owned()], false).await;
}

#[tokio::test]
async fn what_was_admitted_ends_with_a_grace_period_an_expiry_and_a_key_that_is_gone_but_not_with_its_source() {
    let fixture = fixture();
    let hash = PresentedKey::parse(secret().as_bytes()).unwrap().hash();
    let ends = |revoked_at_us, expires_at_us| KeyRecord {
        revoked_at_us,
        expires_at_us,
        ..record(KeyId(1))
    };
    let change = || {
        fixture.verifier.apply(&Change {
            version: FIRST,
            deployment_id: DeploymentId(1),
            kind: ChangeKind::KeyChanged(hash),
        });
    };
    for (step, key) in [
        (1, ends(Some(START_US + 5), None)),
        (2, ends(None, Some(START_US + 10))),
    ] {
        change();
        assert!(fixture.still_opens(&hash, Some(key)).await, "{step}");
        fixture.hand.advance_us(5);
        assert!(!fixture.still_opens(&hash, None).await, "{step}: from memory");
    }
    change();
    assert!(!fixture.still_opens(&hash, None).await, "no key has this hash");
    change();
    let (outcome, ()) = tokio::join!(fixture.verifier.still_opens(&hash, &fixture.door), async {
        drop(fixture.script.call().await);
    });
    assert!(
        matches!(outcome, Err(VerifyError::Source(_))),
        "no answer is no verdict"
    );
}

#[tokio::test]
async fn sweeping_and_stats() {
    let fixture = fixture();
    fixture.verify(secret().as_bytes(), Some(record(KeyId(1)))).await;
    fixture.verify(secret().as_bytes(), None).await;
    fixture.verifier.sweep();
    let expected = CacheStats {
        known_keys: 1,
        unknown_keys: 1,
        hits: 0,
        misses: 2,
        fills: 2,
        fill_errors: 0,
        throttled_addresses: 1,
    };
    assert_eq!(fixture.verifier.stats(), expected);
    fixture.hand.advance_us(120 * 1_000_000);
    fixture.verifier.sweep();
    assert_eq!(fixture.verifier.stats().throttled_addresses, 0);
}

/// What crosses threads in a server must be able to.
#[test]
fn is_send_and_sync() {
    fn check<T: Send + Sync>() {}
    fn check_future<T: Send>(_: T) {}
    check::<Verifier>();
    let fixture = fixture();
    let request = VerifyRequest {
        credential: b"",
        path: "/",
        address: None,
        requirement: &fixture.door,
    };
    check_future(fixture.verifier.verify(&request));
    check_future(fixture.verifier.inspect(b"", DeploymentId(1)));
    check_future(fixture.verifier.still_opens(&KeyHash([0; 32]), &fixture.door));
    let size = std::mem::size_of_val(&fixture.verifier.verify(&request));
    assert!(size <= 512, "the future of a request has grown to {size} bytes");
}
