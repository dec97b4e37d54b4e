//! The control API put together: its parts, its routes, and the layers around them.
//!
//! Decides order only: exchange (id, time limit, panics), then token, then route. What a route does is in [`crate::routes`].

use crate::auth::{Attempts, require_token};
use crate::envelope::{around, note_route};
use crate::error::ApiError;
use crate::error_code::ErrorCode;
use crate::openapi::document;
use crate::routes::{apps, keys, limits, schemes, verify};
use crate::tailer::TailerHandle;
use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::IntoResponse;
use axum::routing::get;
use jiff::Timestamp;
use portcullis_config::settings;
use portcullis_limits::LocalLimiter;
use portcullis_store::Store;
use portcullis_verify::{Clock, RuleSet, Verifier};
use std::sync::Arc;
use std::time::Duration;
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
}

/// The parts as handlers reach them.
#[derive(Clone)]
pub(crate) struct Api(Arc<Shared>);

struct Shared {
    parts: ControlParts,
    attempts: Attempts,
}

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

    /// The time by the wall clock, as precisely as it is stored.
    pub(crate) fn now(&self) -> Result<Timestamp, ApiError> {
        let wall_us = self.clock().now().wall_us;
        Timestamp::from_microsecond(wall_us).map_err(|_| ApiError::Internal("the clock is out of range"))
    }
}

/// The whole control API.
pub fn router(parts: ControlParts) -> Router {
    let attempts = Attempts::new(parts.clock.clone());
    let api = Api(Arc::new(Shared { parts, attempts }));
    let (routes, _) = api_routes().split_for_parts();
    // Written once: it does not change while the process runs.
    let document = document().to_json().map(bytes::Bytes::from).unwrap_or_default();
    routes
        .route(
            "/openapi.json",
            get(async move || ([(http::header::CONTENT_TYPE, "application/json")], document)),
        )
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
        .with_state(api)
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
}
