//! `/api-auth/apps`: the apps of a deployment.

use crate::auth::Tenant;
use crate::body::RequestBody;
use crate::change;
use crate::error::ApiError;
use crate::idempotency::{IdempotencyKey, replay};
use crate::path::{IncludeInactive, SlugInPath, Wait};
use crate::router::Api;
use crate::wire::{ApiAuthApp, ApiAuthAppList, ChangedApiAuthApp, CreateApiAuthAppRequest, UpdateApiAuthAppRequest};
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use portcullis_store::entity::App;
use portcullis_store::{StoreError, StoredAnswer};

/// Creates an app.
///
/// Needs the deployment's plan to be `growth`.
#[utoipa::path(
    post,
    path = "/api-auth/apps",
    tag = "apps",
    params(("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255, pattern = "^[!-~]+$", description = "Repeated within 24 h with the same body, the first answer is given again, with `Idempotency-Replayed: true`.")),
    request_body = CreateApiAuthAppRequest,
    responses(
        (status = 201, body = ApiAuthApp, description = "Created."),
        (status = 403, body = crate::wire::ErrorBody, description = "The deployment's plan does not allow apps."),
        (status = 409, body = crate::wire::ErrorBody, description = "The slug is taken, or the Idempotency-Key was used with a different request."),
    )
)]
pub(crate) async fn create_app(
    State(api): State<Api>,
    tenant: Tenant,
    idempotency_key: IdempotencyKey,
    body: RequestBody,
) -> Result<Response, ApiError> {
    let once = idempotency_key.mark("POST /api-auth/apps", "", &body);
    if let Some(once) = &once
        && let Some(first) = replay(&api, tenant.id(), once).await?
    {
        return Ok(first);
    }
    let new = body.required::<CreateApiAuthAppRequest>()?.validate()?;
    let store = api.store().clone();
    let deployment_id = tenant.id();
    let marked = once.clone();
    let created = change::make(&api, async move {
        match marked {
            None => store.create_app(deployment_id, new).await,
            Some(once) => store.create_app_once(deployment_id, new, once, answer_to_keep).await,
        }
    });
    match (created.await, once) {
        (Ok(created), _) => Ok((StatusCode::CREATED, Json(ApiAuthApp::from(created.value))).into_response()),
        // A simultaneous request with the same Idempotency-Key was quicker.
        (Err(ApiError::Store(StoreError::IdempotentReplay)), Some(once)) => replay(&api, deployment_id, &once)
            .await?
            .ok_or(StoreError::IdempotentReplay.into()),
        (Err(error), _) => Err(error),
    }
}

/// The answer to a creation, for its repetitions.
fn answer_to_keep(app: &App) -> StoredAnswer {
    let body = serde_json::to_string(&ApiAuthApp::from(app.clone())).unwrap_or_default();
    StoredAnswer {
        status: StatusCode::CREATED.as_u16(),
        body,
    }
}

/// Lists the apps of the deployment, oldest first.
#[utoipa::path(
    get,
    path = "/api-auth/apps",
    tag = "apps",
    params(("include_inactive" = Option<bool>, Query, description = "Also those switched off or deleted; false by default.")),
    responses((status = 200, body = ApiAuthAppList, description = "All of them."))
)]
pub(crate) async fn list_apps(
    State(api): State<Api>,
    tenant: Tenant,
    IncludeInactive(include_inactive): IncludeInactive,
) -> Result<Json<ApiAuthAppList>, ApiError> {
    let apps = api.store().list_apps(tenant.id(), include_inactive).await?;
    let apps: Vec<ApiAuthApp> = apps.into_iter().map(ApiAuthApp::from).collect();
    Ok(Json(ApiAuthAppList {
        total: apps.len(),
        apps,
    }))
}

/// Reads one app, active or not.
#[utoipa::path(
    get,
    path = "/api-auth/apps/{app_slug}",
    tag = "apps",
    params(("app_slug" = String, Path, description = "The app's slug.")),
    responses((status = 200, body = ApiAuthApp, description = "The app."))
)]
pub(crate) async fn get_app(
    State(api): State<Api>,
    tenant: Tenant,
    SlugInPath(slug): SlugInPath,
) -> Result<Json<ApiAuthApp>, ApiError> {
    Ok(Json(api.store().get_app(tenant.id(), &slug).await?.into()))
}

/// Changes an app. When this is answered, every key beneath it is decided on by the new values.
#[utoipa::path(
    patch,
    path = "/api-auth/apps/{app_slug}",
    tag = "apps",
    params(
        ("app_slug" = String, Path, description = "The app's slug."),
        ("wait" = Option<String>, Query, description = "`fleet`: answered once every gateway decides by it, or refuses for want of news.", pattern = "^fleet$"),
    ),
    request_body = UpdateApiAuthAppRequest,
    responses((status = 200, body = ChangedApiAuthApp, description = "The app as it is now."))
)]
pub(crate) async fn update_app(
    State(api): State<Api>,
    tenant: Tenant,
    SlugInPath(slug): SlugInPath,
    wait: Wait,
    body: RequestBody,
) -> Result<Json<ChangedApiAuthApp>, ApiError> {
    let request: UpdateApiAuthAppRequest = body.required()?;
    // An app keeps its user for life, so that what is read here still holds when the patch is written.
    let app = api.store().get_app(tenant.id(), &slug).await?;
    let patch = request.validate(app.user_id.is_some())?;
    let store = api.store().clone();
    let deployment_id = tenant.id();
    let updated = change::make(&api, async move { store.update_app(deployment_id, &slug, patch).await }).await?;
    let enforced = change::enforcement(&api, deployment_id, updated.version, &wait).await?;
    Ok(Json(ChangedApiAuthApp {
        app: updated.value.into(),
        enforced,
    }))
}

/// Deletes an app for good. When this is answered, no key beneath it opens anything; its slug may be used again.
#[utoipa::path(
    delete,
    path = "/api-auth/apps/{app_slug}",
    tag = "apps",
    params(
        ("app_slug" = String, Path, description = "The app's slug."),
        ("wait" = Option<String>, Query, description = "`fleet`: answered once every gateway decides by it, or refuses for want of news.", pattern = "^fleet$"),
    ),
    responses((
        status = 204,
        description = "Deleted.",
        headers(
            ("Portcullis-Revision" = u64, description = "The change's number in the change log."),
            ("Portcullis-Enforced" = u64, description = "How many gateways decide by it, or refuse every key until they do."),
            ("Portcullis-Gateways" = u64, description = "How many gateways count."),
            ("Portcullis-Unenforced" = u64, description = "How many have not confirmed it and go on serving without news."),
        )
    ))
)]
pub(crate) async fn delete_app(
    State(api): State<Api>,
    tenant: Tenant,
    SlugInPath(slug): SlugInPath,
    wait: Wait,
) -> Result<Response, ApiError> {
    let store = api.store().clone();
    let doomed = slug.clone();
    let deployment_id = tenant.id();
    let deleted = change::make(&api, async move { store.delete_app(deployment_id, &doomed).await }).await?;
    change::deleted("app", &slug);
    let enforced = change::enforcement(&api, deployment_id, deleted.version, &wait).await?;
    Ok((StatusCode::NO_CONTENT, enforced.headers()).into_response())
}
