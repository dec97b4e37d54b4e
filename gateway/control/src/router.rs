//! The control API put together: its parts, its routes, and the layers around them.
//!
//! Decides order only: exchange (id, time limit, panics), then token, then route. What a route does is in [`crate::routes`].

use crate::auth::{Attempts, require_token};
use crate::envelope::{around, note_route};
use crate::error::ApiError;
use crate::error_code::ErrorCode;
use crate::gateways::{self, Fleet, GatewayBounds};
use crate::openapi::document;
use crate::routes::{apps, gateway_tokens, keys, limits, schemes, verify};
use crate::tailer::TailerHandle;
use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use jiff::Timestamp;
use portcullis_config::settings;
use portcullis_limits::LocalLimiter;
use portcullis_store::Store;
use portcullis_sync::message;
use portcullis_verify::{Clock, RuleSet, Verifier};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// What the control API stands on.
#[derive(Clone)]
pub struct ControlParts {
    /// Where everything is kept.
    pub store: Store,
    /// Tells when a change is applied in this process.
    pub tailer: TailerHandle,
    /// Answers `POST /api-auth/verify`.
    pub verifier: Arc<Verifier>,
    /// Answers `GET /api-auth/limits`.
    pub limiter: Arc<LocalLimiter>,
    /// The rules of apps and keys without a scheme.
    pub default_rules: Arc<RuleSet>,
    /// Body size and time limit.
    pub settings: settings::Control,
    /// What time it is.
    pub clock: Clock,
    /// This process is a gateway too, in which the tailer applies every change.
    pub local_gateway: bool,
}

/// The parts as handlers reach them.
#[derive(Clone)]
pub(crate) struct Api(Arc<Shared>);

struct Shared {
    parts: ControlParts,
    bounds: GatewayBounds,
    attempts: Attempts,
    fleet: Arc<Fleet>,
    drain: CancellationToken,
    watch_places: Arc<Semaphore>,
    gateway_connections: Arc<Semaphore>,
    replay_places: Semaphore,
    fill_places: Semaphore,
    page_places: Semaphore,
    usage_places: Semaphore,
}

/// Connections of gateways for each watch: one beside it, for all else.
const CONNECTIONS_PER_WATCH: usize = 2;
/// Calls of gateways of each kind that ask the store at once.
const REPLAYS_MAX: usize = 2;
const FILLS_MAX: usize = 4;
const PAGES_MAX: usize = 2;
const USAGES_MAX: usize = 2;

impl Api {
    pub(crate) fn store(&self) -> &Store {
        &self.0.parts.store
    }

    pub(crate) fn tailer(&self) -> &TailerHandle {
        &self.0.parts.tailer
    }

    pub(crate) fn verifier(&self) -> &Verifier {
        &self.0.parts.verifier
    }

    pub(crate) fn limiter(&self) -> &Arc<LocalLimiter> {
        &self.0.parts.limiter
    }

    pub(crate) fn default_rules(&self) -> &Arc<RuleSet> {
        &self.0.parts.default_rules
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.0.parts.clock
    }

    pub(crate) fn attempts(&self) -> &Attempts {
        &self.0.attempts
    }

    pub(crate) fn body_bytes_max(&self) -> usize {
        self.0.parts.settings.body_bytes_max
    }

    pub(crate) fn request_timeout(&self) -> Duration {
        self.0.parts.settings.request_timeout
    }

    /// The settings of the control API.
    pub(crate) fn settings(&self) -> &settings::Control {
        &self.0.parts.settings
    }

    /// The gateways that this process has welcomed.
    pub(crate) fn fleet(&self) -> &Arc<Fleet> {
        &self.0.fleet
    }

    /// Whether this process is a gateway itself.
    pub(crate) fn is_gateway(&self) -> bool {
        self.0.parts.local_gateway
    }

    /// The bounds on gateways.
    pub(crate) fn bounds(&self) -> &GatewayBounds {
        &self.0.bounds
    }

    /// Is cancelled when the process begins to shut down.
    pub(crate) fn drain(&self) -> &CancellationToken {
        &self.0.drain
    }

    /// One place for each watch.
    pub(crate) fn watch_places(&self) -> &Arc<Semaphore> {
        &self.0.watch_places
    }

    /// One place for each connection of a gateway.
    pub(crate) fn gateway_connections(&self) -> &Arc<Semaphore> {
        &self.0.gateway_connections
    }

    /// One place for each watch that reads the log itself.
    pub(crate) fn replay_places(&self) -> &Semaphore {
        &self.0.replay_places
    }

    /// One place for each look-up of a gateway.
    pub(crate) fn fill_places(&self) -> &Semaphore {
        &self.0.fill_places
    }

    /// One place for each page of keys.
    pub(crate) fn page_places(&self) -> &Semaphore {
        &self.0.page_places
    }

    /// One place for each batch of usage.
    pub(crate) fn usage_places(&self) -> &Semaphore {
        &self.0.usage_places
    }

    /// The time by the wall clock, as precisely as it is stored.
    pub(crate) fn now(&self) -> Result<Timestamp, ApiError> {
        let wall_us = self.clock().now().wall_us;
        Timestamp::from_microsecond(wall_us).map_err(|_| ApiError::Internal("the clock is out of range"))
    }
}

/// The whole control API. Watches end at `drain`.
pub(crate) fn assemble(parts: ControlParts, bounds: GatewayBounds, drain: CancellationToken) -> (Router, Api) {
    let watchers_max = bounds.watchers_max.min(Semaphore::MAX_PERMITS / CONNECTIONS_PER_WATCH);
    let fleet = Fleet::new(control_id(), parts.clock.clone(), watchers_max, bounds.lease);
    let api = Api(Arc::new(Shared {
        attempts: Attempts::new(parts.clock.clone()),
        fleet: Arc::new(fleet),
        drain,
        watch_places: Arc::new(Semaphore::new(watchers_max)),
        gateway_connections: Arc::new(Semaphore::new(watchers_max * CONNECTIONS_PER_WATCH)),
        replay_places: Semaphore::new(REPLAYS_MAX),
        fill_places: Semaphore::new(FILLS_MAX),
        page_places: Semaphore::new(PAGES_MAX),
        usage_places: Semaphore::new(USAGES_MAX),
        bounds,
        parts,
    }));
    (router(&api), api)
}

fn router(api: &Api) -> Router {
    let (routes, _) = api_routes().split_for_parts();
    // Written once: it does not change while the process runs.
    let document = document().to_json().map(bytes::Bytes::from).unwrap_or_default();
    routes
        .route(
            "/openapi.json",
            get(async move || ([(http::header::CONTENT_TYPE, "application/json")], document)),
        )
        .route(message::WATCH, post(gateways::watch))
        .route(message::LOOK_UP, post(gateways::look_up))
        .route(message::KEYS, get(gateways::key_page))
        .route(message::USAGE, post(gateways::record_usage))
        .route_layer(from_fn(note_route))
        .method_not_allowed_fallback(async || {
            ApiError::refused(
                ErrorCode::MethodNotAllowed,
                "This path does not take this method; see the Allow header.",
            )
        })
        .fallback(async || ApiError::no_such_route().into_response())
        .layer(from_fn_with_state(api.clone(), require_token))
        .layer(from_fn_with_state(api.clone(), around))
        .with_state(api.clone())
}

/// A name for this process in the registry of gateways, where no other has the same.
fn control_id() -> String {
    let mut random = [0_u8; 16];
    if getrandom::fill(&mut random).is_err() {
        // Then no token and no secret could be made either; the process number tells at least neighbours apart.
        random[..4].copy_from_slice(&std::process::id().to_be_bytes());
    }
    format!("{:032x}", u128::from_be_bytes(random))
}

/// The OpenAPI 3.1 document of [`router`], generated from the same handlers.
#[must_use]
pub fn openapi() -> OpenApi {
    document()
}

/// Every route, with what the document says of it.
pub(crate) fn api_routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(apps::create_app, apps::list_apps))
        .routes(routes!(apps::get_app, apps::update_app, apps::delete_app))
        .routes(routes!(keys::create_key, keys::list_keys))
        .routes(routes!(keys::revoke_key))
        .routes(routes!(keys::rotate_key))
        .routes(routes!(keys::revoke_key_by_id))
        .routes(routes!(keys::rotate_key_by_id))
        .routes(routes!(schemes::create_scheme, schemes::list_schemes))
        .routes(routes!(
            schemes::get_scheme,
            schemes::update_scheme,
            schemes::delete_scheme
        ))
        .routes(routes!(verify::verify_key))
        .routes(routes!(limits::show_limits))
        .routes(routes!(crate::routes::gateways::list_gateways))
        .routes(routes!(
            gateway_tokens::create_gateway_token,
            gateway_tokens::list_gateway_tokens
        ))
        .routes(routes!(gateway_tokens::revoke_gateway_token))
}
