//! A decision API on a free port, over the real engine and limiter and keys held in memory.
//!
//! Speaks to it over real sockets. Only tests use it.

use crate::AuthzParts;
use crate::server::{Patience, Server};
use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use portcullis_limits::{LimiterSettings, LocalLimiter};
use portcullis_record::Metrics;
use portcullis_record::usage::UsageMeter;
use portcullis_verify::{
    AppId, AppRecord, AppScope, CacheSettings, Clock, DeploymentId, FailureSettings, Fetched, KeyHash, KeyId,
    KeyRecord, KeySource, ManualClock, Mode, Moment, Rule, RuleSet, SchemeId, SchemeRecord, Secret, SourceError, Unit,
    Verifier, VerifierParts, Version,
};
use serde_json::Value;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) const DEPLOYMENT: DeploymentId = DeploymentId(1);
pub(crate) const CHECK: &str = "/v1/authz/check";
pub(crate) const FORWARD: &str = "/v1/forward-auth";

/// Look-ups that the gate lets through at once.
pub(crate) const LOOK_UPS_MAX: usize = 1_000;

/// When the clock stands still: long after everything was issued.
pub(crate) const NOW: Moment = Moment {
    monotonic_us: 1_000_000_000_000,
    wall_us: 1_800_000_000_000_000,
};

/// Keys in memory, behind a gate and a switch.
pub(crate) struct Keys {
    records: Mutex<HashMap<KeyHash, KeyRecord>>,
    is_away: AtomicBool,
    /// A look-up takes a permit for as long as it lasts; plenty, unless a test takes them away.
    pub(crate) gate: Semaphore,
}

#[async_trait::async_trait]
impl KeySource for Keys {
    async fn fetch(&self, hash: &KeyHash) -> Result<Fetched, SourceError> {
        let _passed = self.gate.acquire().await.map_err(|error| SourceError {
            cause: error.to_string(),
        })?;
        if self.is_away.load(Ordering::Acquire) {
            return Err(SourceError {
                cause: "private-cause".into(),
            });
        }
        let record = self.records.lock().unwrap().get(hash).cloned();
        Ok(Fetched {
            as_of: Version { epoch: 1, revision: 1 },
            record,
        })
    }
}

impl Keys {
    /// Issues a key: active, of the app `api`, without permissions, limited to 1 000 a minute, then edited.
    pub(crate) fn issue(&self, edit: impl FnOnce(&mut KeyRecord)) -> Secret {
        let secret = Secret::generate("sk").unwrap();
        let mut records = self.records.lock().unwrap();
        let id = KeyId(i64::try_from(records.len()).unwrap() + 100);
        let mut record = KeyRecord {
            key_id: id,
            lineage_id: id,
            deployment_id: DEPLOYMENT,
            app: AppRecord {
                id: AppId(10),
                slug: "api".into(),
                is_active: true,
                permissions: Vec::new(),
                resources: Vec::new(),
            },
            name: "CI".into(),
            permissions: Vec::new(),
            metadata: serde_json::Map::new(),
            owner_user_id: None,
            organization_id: None,
            workspace_id: None,
            expires_at_us: None,
            revoked_at_us: None,
            scheme: Some(SchemeRecord {
                is_keys_own: false,
                id: SchemeId(5),
                rules: vec![per_key(1_000)],
            }),
        };
        edit(&mut record);
        records.insert(secret.hash(), record);
        secret
    }

    pub(crate) fn go_away(&self) {
        self.is_away.store(true, Ordering::Release);
    }
}

/// So many requests per key and minute.
pub(crate) fn per_key(max_requests: i32) -> Rule {
    Rule {
        unit: Unit::Minute,
        duration: 1,
        max_requests,
        mode: Some(Mode::PerKey),
        endpoints: None,
        priority: None,
    }
}

/// So many requests per address and minute.
pub(crate) fn per_ip(max_requests: i32) -> Rule {
    Rule {
        mode: Some(Mode::PerIp),
        ..per_key(max_requests)
    }
}

/// A running decision API. Dropping it stops it.
pub(crate) struct Api {
    pub(crate) address: SocketAddr,
    pub(crate) keys: Arc<Keys>,
    pub(crate) clock: ManualClock,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) usage: Arc<UsageMeter>,
    pub(crate) shutdown: CancellationToken,
    pub(crate) running: JoinHandle<()>,
}

/// How an [`Api`] differs from the usual one.
pub(crate) struct Setup {
    pub(crate) apps: AppScope,
    pub(crate) trusted_proxies: Vec<ipnet::IpNet>,
    pub(crate) body_bytes_max: usize,
    pub(crate) patience: Patience,
    pub(crate) connections_max: usize,
    pub(crate) drain_timeout: Duration,
    pub(crate) failure_burst: u32,
    pub(crate) legacy_headers: bool,
}

impl Default for Setup {
    fn default() -> Setup {
        Setup {
            apps: AppScope::Every,
            trusted_proxies: Vec::new(),
            body_bytes_max: 64 * 1024,
            patience: Patience::default(),
            connections_max: 100,
            drain_timeout: Duration::from_secs(30),
            failure_burst: 50,
            legacy_headers: false,
        }
    }
}

impl Setup {
    /// The usual one, but that the test's own address is a trusted proxy.
    pub(crate) fn behind_a_trusted_proxy() -> Setup {
        Setup {
            trusted_proxies: vec!["127.0.0.0/8".parse().unwrap()],
            ..Setup::default()
        }
    }

    pub(crate) async fn start(self) -> Api {
        let (clock, manual) = Clock::manual(NOW);
        let keys = Arc::new(Keys {
            records: Mutex::default(),
            is_away: AtomicBool::new(false),
            gate: Semaphore::new(LOOK_UPS_MAX),
        });
        let verifier = Verifier::new(VerifierParts {
            clock,
            source: Arc::clone(&keys) as Arc<dyn KeySource>,
            limiter: Arc::new(LocalLimiter::new(LimiterSettings { counters_max: 1_000 })),
            default_rules: Arc::new(RuleSet::compile(None, &[per_key(1_000)])),
            cache: CacheSettings {
                keys_max: 1_000,
                unknown_keys_max: 1_000,
                unknown_ttl: Duration::from_secs(10),
                fills_max: 64,
                fill_timeout: Duration::from_secs(60),
            },
            failures: FailureSettings {
                burst: self.failure_burst,
                per_minute: 1,
                addresses_max: 1_000,
            },
        });
        let metrics = Arc::new(Metrics::new().unwrap());
        let usage = Arc::new(UsageMeter::new(1_000, verifier.clock().now()));
        let parts = AuthzParts {
            verifier: Arc::new(verifier),
            metrics: Arc::clone(&metrics),
            usage: Arc::clone(&usage),
            deployment_id: Some(DEPLOYMENT),
            apps: self.apps,
            body_bytes_max: self.body_bytes_max,
            trusted_proxies: self.trusted_proxies,
            legacy_headers: self.legacy_headers,
            log_requests: true,
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let server = Server::new(parts, self.patience, self.connections_max);
        let running = tokio::spawn(server.run(listener, shutdown.clone(), self.drain_timeout));
        Api {
            address,
            keys,
            clock: manual,
            metrics,
            usage,
            shutdown,
            running,
        }
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.running.abort();
    }
}

impl Api {
    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends one HTTP/1.1 request on a connection of its own.
    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Reply {
        let io = TokioIo::new(self.connect().await);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
        let connection = tokio::spawn(connection);
        let reply = Reply::read(sender.send_request(request).await.unwrap()).await;
        connection.abort();
        reply
    }

    /// Asks `/v1/authz/check`.
    pub(crate) async fn check(&self, body: &Value) -> Reply {
        self.send(check_request(body.to_string())).await
    }

    /// Opens an HTTP/2 connection with prior knowledge.
    pub(crate) async fn http2(&self) -> hyper::client::conn::http2::SendRequest<Full<Bytes>> {
        let io = TokioIo::new(self.connect().await);
        let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
            .await
            .unwrap();
        tokio::spawn(connection);
        sender
    }

    /// The value of one sample, 0 when there is none.
    pub(crate) fn metric(&self, series: &str) -> u64 {
        let text = self.metrics.render().unwrap();
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(series)?.trim().parse().ok());
        value.unwrap_or(0)
    }

    /// Waits until a sample has a value.
    pub(crate) async fn until_metric(&self, series: &str, value: u64) {
        let reached = async {
            while self.metric(series) != value {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(20), reached).await;
        assert!(waited.is_ok(), "{series} never became {value}");
    }
}

/// A `POST /v1/authz/check` with this body.
pub(crate) fn check_request(body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    Request::post(CHECK)
        .header("host", "authz")
        .header("content-type", "application/json")
        .body(Full::new(body.into()))
        .unwrap()
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Reply {
    pub(crate) async fn read(response: http::Response<hyper::body::Incoming>) -> Reply {
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Reply {
            status: head.status.as_u16(),
            headers: head.headers,
            body,
        }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {:?}", self.body))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// Asserts the shape that every refusal has, and its status and reason.
    pub(crate) fn assert_refused(&self, status: u16, reason: &str) {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/json"));
        let body = self.json();
        assert_eq!(body["reason"], reason, "{body}");
        assert_eq!(body["message"], body["errors"][0]["message"]);
        assert!(body["message"].as_str().unwrap().ends_with('.'), "{body}");
        assert!(body["errors"][0]["code"].is_u64(), "{body}");
        assert_eq!(body["request_id"].as_str(), self.header("x-request-id"));
        assert_eq!(self.headers.contains_key("www-authenticate"), status == 401, "{self:?}");
    }
}
