//! A running control API and a client for it. Time stands still until a test moves it.

use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use portcullis_config::settings;
use portcullis_control::{ControlParts, GatewayBounds, TailerParts, serve_within, tailer, token};
use portcullis_limits::{LimiterSettings, LocalLimiter};
use portcullis_store::Store;
use portcullis_store::entity::{Deployment, TokenKind};
use portcullis_verify::ChangeSink;
use portcullis_verify::{
    CacheSettings, Charge, ChargeOutcome, ChargeRequest, Clock, FailureSettings, KeySource, Limiter, ManualClock, Mode,
    Moment, PresentedKey, Rule, RuleSet, RuleState, StoredKey, Unit, Verifier, VerifierParts,
};
use serde_json::Value;
use std::any::Any;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The management token of the first deployment.
pub(crate) const TOKEN: &str = "the-token-of-the-first-tenant";
/// A key of this name makes the limiter panic.
pub(crate) const PANICS: &str = "a key that panics";
/// 2026-01-01T00:00:00Z.
const START_US: i64 = 1_767_225_600_000_000;

/// What tests may set.
pub(crate) struct Options {
    pub(crate) body_bytes_max: usize,
    pub(crate) request_timeout: Duration,
    pub(crate) counters_max: usize,
    pub(crate) bounds: GatewayBounds,
    pub(crate) local_gateway: bool,
    pub(crate) change_log_rows_max: u64,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            body_bytes_max: 64 * 1_024,
            request_timeout: Duration::from_secs(20),
            counters_max: 10_000,
            bounds: GatewayBounds::default(),
            local_gateway: false,
            change_log_rows_max: 1_000_000,
        }
    }
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) store: Store,
    pub(crate) deployment: Deployment,
    pub(crate) clock: Arc<ManualClock>,
    /// What `GET /api-auth/limits` looks at. The verifier has another, which counts nothing.
    pub(crate) limiter: Arc<LocalLimiter>,
    pub(crate) time: Clock,
    pub(crate) default_rules: Arc<RuleSet>,
    pub(crate) store_url: String,
    pub(crate) stop_tailer: CancellationToken,
    pub(crate) stop: CancellationToken,
    client: Client<HttpConnector, Full<bytes::Bytes>>,
    /// Its own, if it can be killed.
    runtime: Option<tokio::runtime::Runtime>,
    /// Where the store is.
    folder: Arc<dyn Any + Send + Sync>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
        self.stop_tailer.cancel();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    /// The body as JSON; null when there is none.
    pub(crate) fn json(&self) -> Value {
        if self.text.is_empty() {
            Value::Null
        } else {
            serde_json::from_str(&self.text).expect("answers are JSON")
        }
    }

    /// The body, after checking the status.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        self.json()
    }

    /// Checks an error answer: its shape, its status, its codes in order, and the parts that its message must have.
    #[track_caller]
    pub(crate) fn expect_error(self, status: u16, codes: &[u32], parts: &[&str]) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        let body = self.json();
        let errors = body["errors"].as_array().expect("errors is a list");
        let found: Vec<u32> = errors
            .iter()
            .map(|error| u32::try_from(error["code"].as_u64().unwrap()).unwrap())
            .collect();
        assert_eq!(found, codes, "{}", self.text);
        let message = body["message"].as_str().expect("message is a text");
        for error in errors {
            assert!(
                message.contains(error["message"].as_str().unwrap()),
                "the message holds every error's"
            );
        }
        for part in parts {
            assert!(message.contains(part), "{message:?} lacks {part:?}");
        }
        body
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// A request being made up.
pub(crate) struct Call<'a> {
    server: &'a Server,
    request: http::request::Builder,
    body: Option<Vec<u8>>,
}

impl Call<'_> {
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    pub(crate) fn token(self, token: &str) -> Self {
        self.header(AUTHORIZATION.as_str(), &format!("Bearer {token}"))
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.bytes("application/json", body.to_string())
    }

    pub(crate) fn bytes(mut self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self.header(CONTENT_TYPE.as_str(), content_type)
    }

    /// A body without a content type.
    pub(crate) fn untyped(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    pub(crate) async fn send(self) -> Answer {
        let request = self.request.body(Full::from(self.body.unwrap_or_default())).unwrap();
        let response = self.server.client.request(request).await.expect("the server answers");
        let (parts, body) = response.into_parts();
        let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        Answer {
            status: parts.status,
            headers: parts.headers,
            text,
        }
    }
}

impl Server {
    pub(crate) async fn start() -> Server {
        Server::with(Options::default()).await
    }

    pub(crate) async fn with(options: Options) -> Server {
        let folder = tempfile::tempdir().unwrap();
        let store_url = format!("sqlite://{}/portcullis.db", folder.path().display());
        Server::on(options, store_url, Arc::new(folder)).await
    }

    /// On a store of one's own, which is there for as long as `store` is kept.
    pub(crate) async fn on(options: Options, store_url: String, store: Arc<dyn Any + Send + Sync>) -> Server {
        let (clock, manual) = Clock::manual(Moment {
            monotonic_us: 1_000_000_000,
            wall_us: START_US,
        });
        Server::launch(options, store, store_url, clock, Arc::new(manual)).await
    }

    /// Another control process on the same store, by the same clock.
    pub(crate) async fn another_process(&self) -> Server {
        let (folder, clock) = (Arc::clone(&self.folder), Arc::clone(&self.clock));
        Server::launch(
            Options::default(),
            folder,
            self.store_url.clone(),
            self.time.clone(),
            clock,
        )
        .await
    }

    /// One that can be [killed](Server::kill).
    pub(crate) async fn mortal() -> Server {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let mut server = runtime.spawn(Server::start()).await.unwrap();
        server.runtime = Some(runtime);
        server
    }

    /// Ends everything it does in the middle of it, as `kill -9` would.
    pub(crate) fn kill(&mut self) {
        self.runtime.take().expect("it is mortal").shutdown_background();
    }

    async fn launch(
        options: Options,
        folder: Arc<dyn Any + Send + Sync>,
        store_url: String,
        clock: Clock,
        manual: Arc<ManualClock>,
    ) -> Server {
        let store = Store::open(&store_url, clock.clone()).await.unwrap();
        let deployment = portcullis_control::bootstrap(&store, Some(TOKEN.to_owned()), None)
            .await
            .unwrap()
            .deployment;
        let verifier = verifier(&store, &clock);
        let stop_tailer = CancellationToken::new();
        let sinks = vec![Arc::clone(&verifier) as Arc<dyn ChangeSink>];
        let following = TailerParts {
            store: store.clone(),
            sinks,
            clock: clock.clone(),
            freshness: None,
        };
        let tailer = tailer::start(following, stop_tailer.clone());
        let stop = CancellationToken::new();
        let limiter = Arc::new(LocalLimiter::new(LimiterSettings {
            counters_max: options.counters_max,
        }));
        let default_rules = Arc::new(RuleSet::compile(None, &default_rules()));
        let parts = ControlParts {
            store: store.clone(),
            tailer,
            verifier: Arc::clone(&verifier),
            limiter: Arc::clone(&limiter),
            default_rules: Arc::clone(&default_rules),
            settings: settings::Control {
                listen: SocketAddr::from(([127, 0, 0, 1], 0)),
                store: settings::StoreUrl(String::new()),
                body_bytes_max: options.body_bytes_max,
                request_timeout: options.request_timeout,
                change_log_rows_max: options.change_log_rows_max,
                change_log_keep: Duration::from_secs(7 * 24 * 60 * 60),
            },
            clock: clock.clone(),
            local_gateway: options.local_gateway,
        };
        let address = listen(parts, options.bounds, &stop).await;
        let client = Client::builder(TokioExecutor::new()).build_http();
        Server {
            address,
            store,
            deployment,
            clock: manual,
            limiter,
            time: clock,
            default_rules,
            store_url,
            stop_tailer,
            stop,
            client,
            runtime: None,
            folder,
        }
    }

    /// A request without a token.
    pub(crate) fn bare(&self, method: &str, path: &str) -> Call<'_> {
        let method: Method = method.parse().unwrap();
        let request = Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.address));
        Call {
            server: self,
            request,
            body: None,
        }
    }

    /// A request with the first tenant's token.
    pub(crate) fn call(&self, method: &str, path: &str) -> Call<'_> {
        self.bare(method, path).token(TOKEN)
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call("GET", path).send().await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.call("POST", path).json(&body).send().await
    }

    pub(crate) async fn patch(&self, path: &str, body: Value) -> Answer {
        self.call("PATCH", path).json(&body).send().await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.call("DELETE", path).send().await
    }

    /// Creates an app with this slug.
    pub(crate) async fn app(&self, slug: &str) -> Value {
        let body = serde_json::json!({"app_slug": slug, "name": slug, "key_prefix": "sk_test"});
        self.post("/api-auth/apps", body).await.expect(201)
    }

    /// Creates a key under this app.
    pub(crate) async fn key(&self, app_slug: &str) -> Value {
        self.post(
            &format!("/api-auth/apps/{app_slug}/keys"),
            serde_json::json!({"name": "a key"}),
        )
        .await
        .expect(201)
    }

    /// What a gateway would decide about the secret in `key`: `null` for let through, else the reason.
    pub(crate) async fn reason(&self, key: &Value) -> Value {
        let answer = self
            .post("/api-auth/verify", serde_json::json!({"key": key["secret"]}))
            .await
            .expect(200);
        answer["reason"].clone()
    }

    /// Charges a request with the secret in `key`, as the gateway of this process would. Answers the rule that refuses it
    /// and for how many microseconds, if one does.
    pub(crate) async fn charge(&self, key: &Value, address: &str, path: &str) -> Option<(String, u64)> {
        let secret = key["secret"].as_str().unwrap();
        let hash = PresentedKey::parse(secret.as_bytes()).unwrap().hash();
        let fetched = self.store.fetch(&hash).await.unwrap();
        let key = StoredKey::compile(fetched.record.unwrap(), fetched.as_of, &self.default_rules);
        let request = ChargeRequest {
            path,
            address: Some(address.parse().unwrap()),
            now: self.time.now(),
        };
        match self.limiter.charge(&key, &request).outcome {
            ChargeOutcome::Admitted => None,
            ChargeOutcome::Refused {
                blocked_rule,
                retry_after_us,
            } => Some((key.rules.rules[blocked_rule].name.to_string(), retry_after_us)),
        }
    }

    /// Another tenant and its management token.
    pub(crate) async fn tenant(&self, name: &str) -> (Deployment, String) {
        let deployment = self.store.create_deployment(name).await.unwrap().value;
        let token = format!("the-token-of-{name}-and-no-one-else");
        self.store
            .create_token(deployment.id, TokenKind::Management, "test", &[], token::hash(&token))
            .await
            .unwrap();
        (deployment, token)
    }
}

async fn listen(parts: ControlParts, bounds: GatewayBounds, stop: &CancellationToken) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind(parts.settings.listen).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve_within(
        bounds,
        listener,
        parts,
        stop.clone(),
        Duration::from_secs(5),
    ));
    address
}

/// Five an hour for each app, and three for each key at each address.
fn default_rules() -> Vec<Rule> {
    let rule = |mode, max_requests| Rule {
        unit: Unit::Hour,
        duration: 1,
        max_requests,
        mode: Some(mode),
        endpoints: None,
        priority: None,
    };
    vec![rule(Mode::PerApp, 5), rule(Mode::PerKeyAndIp, 3)]
}

fn verifier(store: &Store, clock: &Clock) -> Arc<Verifier> {
    let cache = CacheSettings {
        keys_max: 1_000,
        unknown_keys_max: 1_000,
        unknown_ttl: Duration::from_secs(10),
        fills_max: 16,
        fill_timeout: Duration::from_secs(2),
    };
    Arc::new(Verifier::new(VerifierParts {
        clock: clock.clone(),
        source: Arc::new(store.clone()),
        limiter: Arc::new(OneIsTooMany),
        default_rules: Arc::new(RuleSet::compile(None, &[])),
        cache,
        failures: FailureSettings {
            burst: 50,
            per_minute: 60,
            addresses_max: 100,
        },
    }))
}

/// Counts nothing: a rule of one request per window is always used up, every other one is untouched.
struct OneIsTooMany;

impl Limiter for OneIsTooMany {
    fn charge(&self, _: &StoredKey, _: &ChargeRequest<'_>) -> Charge {
        panic!("the control API must charge nothing")
    }

    fn peek(&self, key: &StoredKey, _: &ChargeRequest<'_>) -> Charge {
        assert_ne!(&*key.name, PANICS, "this name is for testing what a panic does");
        let rules = || key.rules.rules.iter().enumerate();
        let outcome = match rules().find(|(_, rule)| rule.limit == 1) {
            Some((blocked_rule, _)) => ChargeOutcome::Refused {
                blocked_rule,
                retry_after_us: 4_200_001,
            },
            None => ChargeOutcome::Admitted,
        };
        let state = |(index, rule): (usize, &portcullis_verify::CompiledRule)| RuleState {
            rule: index,
            limit: rule.limit,
            remaining: if rule.limit == 1 { 0 } else { rule.limit },
            grows_in_us: 0,
        };
        Charge {
            outcome,
            states: rules().map(state).collect(),
        }
    }
}
