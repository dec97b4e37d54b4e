//! A gateway in this process, with keys in memory and a limiter that admits as many requests as it is told to.

use portcullis_config::Settings;
use portcullis_config::settings::{self, Listener, Route};
use portcullis_proxy::{Proxy, ProxyParts, ResolvedRoute, bind};
use portcullis_record::Metrics;
use portcullis_record::usage::UsageMeter;
use portcullis_verify::failure_throttle::FailureSettings;
use portcullis_verify::lookup::CacheSettings;
use portcullis_verify::verifier::VerifierParts;
use portcullis_verify::{
    AppId, AppRecord, Change, ChangeKind, Charge, ChargeOutcome, ChargeRequest, Clock, DeploymentId, Fetched, KeyHash,
    KeyId, KeyRecord, KeySource, Limiter, Mode, PresentedKey, Rule, RuleSet, RuleState, Secret, SourceError, StoredKey,
    Unit, Verifier, Version,
};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) const LIMIT: u32 = 100;

/// All that happens, happens at once.
const NOW: Version = Version { epoch: 1, revision: 1 };

/// Keys in memory.
#[derive(Default)]
pub(crate) struct Keys {
    records: Mutex<HashMap<KeyHash, KeyRecord>>,
    pub(crate) is_away: AtomicBool,
}

#[async_trait::async_trait]
impl KeySource for Keys {
    async fn fetch(&self, hash: &KeyHash) -> Result<Fetched, SourceError> {
        if self.is_away.load(Ordering::Relaxed) {
            return Err(SourceError {
                cause: "away".to_owned(),
            });
        }
        let record = self.records.lock().unwrap().get(hash).cloned();
        Ok(Fetched { as_of: NOW, record })
    }
}

/// Admits this many requests, whoever makes them.
pub(crate) struct Allowance(AtomicU32);

impl Limiter for Allowance {
    fn charge(&self, _: &StoredKey, _: &ChargeRequest<'_>) -> Charge {
        let taken = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        let state = |remaining| RuleState {
            rule: 0,
            limit: LIMIT,
            remaining,
            grows_in_us: 16_200_000,
        };
        match taken {
            Ok(left) => Charge {
                outcome: ChargeOutcome::Admitted,
                states: [state(left - 1)].into_iter().collect(),
            },
            Err(_) => Charge {
                outcome: ChargeOutcome::Refused {
                    blocked_rule: 0,
                    retry_after_us: 16_200_000,
                },
                states: [state(0)].into_iter().collect(),
            },
        }
    }

    fn peek(&self, key: &StoredKey, request: &ChargeRequest<'_>) -> Charge {
        self.charge(key, request)
    }
}

/// What a test wants to be different.
pub(crate) struct Setup {
    pub(crate) gateway: settings::Gateway,
    pub(crate) routes: Vec<Route>,
    pub(crate) allowance: u32,
    pub(crate) legacy_headers: bool,
}

/// A running gateway. Dropping it stops it.
pub(crate) struct Gateway {
    pub(crate) address: SocketAddr,
    /// A key of the app `api`, which every route of [`route`] opens to.
    pub(crate) key: String,
    pub(crate) keys: Arc<Keys>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) usage: Arc<UsageMeter>,
    pub(crate) verifier: Arc<Verifier>,
    pub(crate) stop: CancellationToken,
    pub(crate) running: JoinHandle<()>,
    next_id: AtomicU32,
}

/// A route to these upstreams, for keys of the app `api`.
pub(crate) fn route(upstreams: &[SocketAddr]) -> Route {
    Route {
        upstreams: upstreams
            .iter()
            .map(|address| settings::Upstream {
                tls: false,
                host: address.ip().to_string(),
                port: address.port(),
            })
            .collect(),
        apps: vec!["api".to_owned()],
        ..Route::default()
    }
}

pub(crate) async fn start(upstreams: &[SocketAddr]) -> Gateway {
    start_with(upstreams, |_| {}).await
}

pub(crate) async fn start_with(upstreams: &[SocketAddr], adjust: impl FnOnce(&mut Setup)) -> Gateway {
    let mut gateway = Settings::default().gateway;
    gateway.listen = vec![Listener::plain(SocketAddr::from(([127, 0, 0, 1], 0)))];
    gateway.drain_timeout = Duration::from_secs(5);
    let mut setup = Setup {
        gateway,
        routes: vec![route(upstreams)],
        allowance: LIMIT,
        legacy_headers: false,
    };
    adjust(&mut setup);

    let keys = Arc::new(Keys::default());
    let rule = Rule {
        unit: Unit::Minute,
        duration: 1,
        max_requests: i32::try_from(LIMIT).unwrap(),
        mode: Some(Mode::PerKey),
        endpoints: None,
        priority: None,
    };
    let verifier = Arc::new(Verifier::new(VerifierParts {
        clock: Clock::system(),
        source: Arc::clone(&keys) as Arc<dyn KeySource>,
        limiter: Arc::new(Allowance(AtomicU32::new(setup.allowance))),
        default_rules: Arc::new(RuleSet::compile(None, &[rule])),
        cache: CacheSettings {
            keys_max: 1000,
            unknown_keys_max: 1000,
            unknown_ttl: Duration::from_secs(1),
            fills_max: 8,
            fill_timeout: Duration::from_secs(2),
        },
        failures: FailureSettings {
            burst: 50,
            per_minute: 60,
            addresses_max: 1000,
        },
    }));
    let metrics = Arc::new(Metrics::new().unwrap());
    let usage = Arc::new(UsageMeter::new(1_000, verifier.clock().now()));
    let listeners = bind(&setup.gateway).unwrap();
    let address = listeners[0].address();
    let proxy = Proxy::new(ProxyParts {
        gateway: setup.gateway,
        routes: setup
            .routes
            .into_iter()
            .map(|route| ResolvedRoute {
                route,
                deployment_id: Some(DeploymentId(1)),
            })
            .collect(),
        verifier: Arc::clone(&verifier),
        metrics: Arc::clone(&metrics),
        usage: Arc::clone(&usage),
        legacy_headers: setup.legacy_headers,
        log_requests: true,
    })
    .unwrap();
    let stop = CancellationToken::new();
    let running = tokio::spawn(proxy.run(listeners, stop.clone()));
    let mut gateway = Gateway {
        address,
        key: String::new(),
        keys,
        metrics,
        usage,
        verifier,
        stop,
        running,
        next_id: AtomicU32::new(1),
    };
    gateway.key = gateway.issue(|_| {});
    gateway
}

impl Gateway {
    /// Issues a key of the app `api`.
    pub(crate) fn issue(&self, adjust: impl FnOnce(&mut KeyRecord)) -> String {
        let secret = Secret::generate("sk_test").unwrap();
        let id = KeyId(i64::from(self.next_id.fetch_add(1, Ordering::Relaxed)));
        let mut record = KeyRecord {
            key_id: id,
            lineage_id: id,
            deployment_id: DeploymentId(1),
            app: AppRecord {
                id: AppId(1),
                slug: "api".to_owned(),
                is_active: true,
                permissions: Vec::new(),
                resources: Vec::new(),
            },
            name: "test key".to_owned(),
            permissions: vec!["read".to_owned(), "write".to_owned()],
            metadata: serde_json::Map::new(),
            owner_user_id: Some(42),
            organization_id: None,
            workspace_id: None,
            expires_at_us: None,
            revoked_at_us: None,
            scheme: None,
        };
        adjust(&mut record);
        self.keys.records.lock().unwrap().insert(secret.hash(), record);
        secret.expose().to_owned()
    }

    /// Changes what is known of a key, as a call to the control API would.
    pub(crate) fn change(&self, key: &str, adjust: impl FnOnce(&mut KeyRecord)) {
        let hash = PresentedKey::parse(key.as_bytes()).unwrap().hash();
        adjust(self.keys.records.lock().unwrap().get_mut(&hash).unwrap());
        self.verifier.apply(&Change {
            version: NOW,
            deployment_id: DeploymentId(1),
            kind: ChangeKind::KeyChanged(hash),
        });
    }

    /// Revokes a key.
    pub(crate) fn revoke(&self, key: &str) {
        self.change(key, |record| record.revoked_at_us = Some(0));
    }

    /// `GET path` with the key, as bytes; `extra` are whole header lines.
    pub(crate) fn get(&self, path: &str, extra: &str) -> String {
        get_with(&self.key, path, extra)
    }

    /// The metrics as text.
    pub(crate) fn metric(&self, line: &str) -> bool {
        self.metrics.render().unwrap().lines().any(|found| found == line)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// `GET path` with a key, as bytes; `extra` are whole header lines.
pub(crate) fn get_with(key: &str, path: &str, extra: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: example.com\r\nAuthorization: Bearer {key}\r\n{extra}\r\n")
}

/// Waits for a condition, at most ten seconds.
pub(crate) async fn eventually(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..1000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what} did not happen");
}
