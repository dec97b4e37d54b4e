//! Who calls: the management token of every request below `/api-auth`, the gateway token of every one below `/gateway`, and what
//! guessing one costs.
//!
//! Knows tokens and addresses, no routes. A token is found by its hash, so that nothing about it can be timed, and is looked up
//! anew for every request, so that a revoked one dies at once. The router runs [`require_token`] before any handler.

use crate::connection::ConnectionHandle;
use crate::error::ApiError;
use crate::router::Api;
use crate::token;
use axum::extract::{FromRequestParts, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderMap, header};
use portcullis_store::entity::{Deployment, Token, TokenKind};
use portcullis_verify::{Clock, DeploymentId, FailureSettings, FailureThrottle};
use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Wrong tokens that an address may send in a row, per minute after that, and how many addresses are told apart.
const FAILURES: FailureSettings = FailureSettings {
    burst: 20,
    per_minute: 20,
    addresses_max: 10_000,
};
/// Forgotten failures are dropped once in so many new ones.
const FAILURES_PER_SWEEP: u32 = 256;
/// Most tokens that are remembered as good.
const GOOD_TOKENS_MAX: usize = 1_024;

/// The deployment that a request's token belongs to. Every handler acts on this one and no other.
#[derive(Debug, Clone)]
pub(crate) struct Tenant(Arc<Deployment>);

impl Tenant {
    /// The deployment's id.
    pub(crate) fn id(&self) -> DeploymentId {
        self.0.id
    }
}

impl FromRequestParts<Api> for Tenant {
    type Rejection = ApiError;

    /// Fails where a route was mounted outside [`require_token`]: such a route opens to nobody.
    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Self, Self::Rejection> {
        parts
            .extensions
            .get()
            .cloned()
            .ok_or(ApiError::Unauthenticated { presented: false })
    }
}

/// The gateway that calls, as far as its token tells. Handlers act for its deployment, and the apps of its token, and no other.
#[derive(Clone)]
pub(crate) struct GatewayCaller {
    token: Arc<Token>,
    deployment: Arc<Deployment>,
    token_hash: [u8; 32],
}

impl GatewayCaller {
    /// Its token.
    pub(crate) fn token(&self) -> &Token {
        &self.token
    }

    /// Its deployment.
    pub(crate) fn deployment(&self) -> &Deployment {
        &self.deployment
    }

    /// For looking the token up again.
    pub(crate) fn token_hash(&self) -> [u8; 32] {
        self.token_hash
    }
}

impl FromRequestParts<Api> for GatewayCaller {
    type Rejection = ApiError;

    /// See [`Tenant`].
    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Self, Self::Rejection> {
        parts
            .extensions
            .get()
            .cloned()
            .ok_or(ApiError::Unauthenticated { presented: false })
    }
}

/// What the control API remembers of attempts.
pub(crate) struct Attempts {
    throttle: FailureThrottle,
    failures: AtomicU32,
    /// Hashes of tokens that were good once. They are looked up all the same; but a person who holds one is not kept out by a
    /// stranger who guesses from the same address.
    good: parking_lot::Mutex<HashSet<[u8; 32]>>,
}

impl Attempts {
    /// None yet.
    pub(crate) fn new(clock: Clock) -> Attempts {
        Attempts {
            throttle: FailureThrottle::new(FAILURES, clock),
            failures: AtomicU32::new(0),
            good: parking_lot::Mutex::new(HashSet::new()),
        }
    }

    /// Whether a token with this hash may be looked up for this address.
    fn may_try(&self, hash: &[u8; 32], address: IpAddr) -> Result<(), ApiError> {
        if self.good.lock().contains(hash) {
            return Ok(());
        }
        self.throttle
            .check(Some(address))
            .map_err(|wait_us| ApiError::TooManyFailures {
                retry_after_s: wait_us.div_ceil(1_000_000),
            })
    }

    fn succeeded(&self, hash: [u8; 32]) {
        let mut good = self.good.lock();
        if good.len() >= GOOD_TOKENS_MAX && !good.contains(&hash) {
            good.clear();
        }
        good.insert(hash);
    }

    fn failed(&self, hash: &[u8; 32], address: IpAddr) {
        self.good.lock().remove(hash);
        self.throttle.record_failure(Some(address));
        if self.failures.fetch_add(1, Ordering::Relaxed) % FAILURES_PER_SWEEP == FAILURES_PER_SWEEP - 1 {
            self.throttle.sweep();
        }
    }
}

/// Lets a request below `/api-auth` or `/gateway` pass only with a good token of the right kind, and notes whose it is; other
/// paths pass as they are.
pub(crate) async fn require_token(State(api): State<Api>, mut request: Request, next: Next) -> Response {
    let Some(kind) = needed(request.uri().path()) else {
        return next.run(request).await;
    };
    let connection = request.extensions().get::<ConnectionHandle>().cloned();
    let address = connection
        .as_ref()
        .map_or(ConnectionHandle::UNKNOWN, ConnectionHandle::peer);
    let authenticated = match bearer(request.headers()).map(token::hash) {
        Ok(hash) => authenticate(&api, kind, hash, address).await,
        Err(error) => Err(error),
    };
    let caller = match authenticated {
        Ok(caller) => caller,
        Err(error) => return error.into_response(),
    };
    tracing::Span::current().record("deployment", tracing::field::display(caller.deployment.id));
    match kind {
        TokenKind::Management => {
            request.extensions_mut().insert(Tenant(caller.deployment));
        }
        TokenKind::Gateway => {
            if connection.is_some_and(|connection| !connection.count_as_gateways(api.gateway_connections())) {
                return ApiError::TooManyGateways.into_response();
            }
            request.extensions_mut().insert(caller);
        }
    }
    next.run(request).await
}

/// The kind of token that a path needs.
fn needed(path: &str) -> Option<TokenKind> {
    let is_below = |root: &str| {
        path.strip_prefix(root)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    if is_below("/api-auth") {
        Some(TokenKind::Management)
    } else if is_below("/gateway") {
        Some(TokenKind::Gateway)
    } else {
        None
    }
}

/// Whose token has this hash.
async fn authenticate(
    api: &Api,
    kind: TokenKind,
    token_hash: [u8; 32],
    address: IpAddr,
) -> Result<GatewayCaller, ApiError> {
    api.attempts().may_try(&token_hash, address)?;
    if let Some((token, deployment)) = api.store().find_token(kind, token_hash).await? {
        api.attempts().succeeded(token_hash);
        return Ok(GatewayCaller {
            token: Arc::new(token),
            deployment: Arc::new(deployment),
            token_hash,
        });
    }
    let other = match kind {
        TokenKind::Management => TokenKind::Gateway,
        TokenKind::Gateway => TokenKind::Management,
    };
    if api.store().find_token(other, token_hash).await?.is_some() {
        return Err(ApiError::WrongTokenKind { needed: kind });
    }
    api.attempts().failed(&token_hash, address);
    Err(ApiError::Unauthenticated { presented: true })
}

/// The one bearer token of a request.
fn bearer(headers: &HeaderMap) -> Result<&str, ApiError> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(ApiError::Unauthenticated { presented: false });
    };
    let token = value.to_str().ok().and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("Bearer").then_some(token.trim())
    });
    token
        .filter(|token| !token.is_empty())
        .ok_or(ApiError::Unauthenticated { presented: false })
}
