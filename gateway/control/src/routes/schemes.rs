//! `/api-auth/rate-limit-schemes`: rules that apps and keys share.

use crate::auth::Tenant;
use crate::body::RequestBody;
use crate::change;
use crate::error::ApiError;
use crate::path::SlugInPath;
use crate::router::Api;
use crate::wire::{
    CreateRateLimitSchemeRequest, ErrorBody, RateLimitScheme, RateLimitSchemeList, UpdateRateLimitSchemeRequest,
};
use axum::Json;
use axum::extract::State;
use http::StatusCode;

/// Creates a rate-limit scheme.
#[utoipa::path(
    post,
    path = "/api-auth/rate-limit-schemes",
    tag = "rate-limit schemes",
    request_body = CreateRateLimitSchemeRequest,
    responses(
        (status = 201, body = RateLimitScheme, description = "Created."),
        (status = 409, body = ErrorBody, description = "The slug is taken."),
    )
)]
pub(crate) async fn create_scheme(
    State(api): State<Api>,
    tenant: Tenant,
    body: RequestBody,
) -> Result<(StatusCode, Json<RateLimitScheme>), ApiError> {
    let new = body.required::<CreateRateLimitSchemeRequest>()?.validate()?;
    let store = api.store().clone();
    let created = change::make(&api, async move { store.create_scheme(tenant.id(), new).await }).await?;
    Ok((StatusCode::CREATED, Json(created.value.into())))
}

/// Lists the rate-limit schemes of the deployment, oldest first.
#[utoipa::path(
    get,
    path = "/api-auth/rate-limit-schemes",
    tag = "rate-limit schemes",
    responses((status = 200, body = RateLimitSchemeList, description = "All of them."))
)]
pub(crate) async fn list_schemes(
    State(api): State<Api>,
    tenant: Tenant,
) -> Result<Json<RateLimitSchemeList>, ApiError> {
    let schemes = api.store().list_schemes(tenant.id()).await?;
    let schemes: Vec<RateLimitScheme> = schemes.into_iter().map(RateLimitScheme::from).collect();
    Ok(Json(RateLimitSchemeList {
        total: schemes.len(),
        schemes,
    }))
}

/// Reads one rate-limit scheme.
#[utoipa::path(
    get,
    path = "/api-auth/rate-limit-schemes/{slug}",
    tag = "rate-limit schemes",
    params(("slug" = String, Path, description = "The scheme's slug.")),
    responses((status = 200, body = RateLimitScheme, description = "The scheme."))
)]
pub(crate) async fn get_scheme(
    State(api): State<Api>,
    tenant: Tenant,
    SlugInPath(slug): SlugInPath,
) -> Result<Json<RateLimitScheme>, ApiError> {
    Ok(Json(api.store().get_scheme(tenant.id(), &slug).await?.into()))
}

/// Changes a rate-limit scheme. When this is answered, requests of this process's gateway are counted by the new rules.
#[utoipa::path(
    patch,
    path = "/api-auth/rate-limit-schemes/{slug}",
    tag = "rate-limit schemes",
    params(("slug" = String, Path, description = "The scheme's slug.")),
    request_body = UpdateRateLimitSchemeRequest,
    responses((status = 200, body = RateLimitScheme, description = "The scheme as it is now."))
)]
pub(crate) async fn update_scheme(
    State(api): State<Api>,
    tenant: Tenant,
    SlugInPath(slug): SlugInPath,
    body: RequestBody,
) -> Result<Json<RateLimitScheme>, ApiError> {
    let patch = body.required::<UpdateRateLimitSchemeRequest>()?.validate()?;
    let store = api.store().clone();
    let updated = change::make(
        &api,
        async move { store.update_scheme(tenant.id(), &slug, patch).await },
    )
    .await?;
    Ok(Json(updated.value.into()))
}

/// Deletes a rate-limit scheme that nothing uses.
#[utoipa::path(
    delete,
    path = "/api-auth/rate-limit-schemes/{slug}",
    tag = "rate-limit schemes",
    params(("slug" = String, Path, description = "The scheme's slug.")),
    responses(
        (status = 204, description = "Deleted."),
        (status = 409, body = ErrorBody, description = "Apps or keys use it; the message names some."),
    )
)]
pub(crate) async fn delete_scheme(
    State(api): State<Api>,
    tenant: Tenant,
    SlugInPath(slug): SlugInPath,
) -> Result<StatusCode, ApiError> {
    let store = api.store().clone();
    let doomed = slug.clone();
    change::make(&api, async move { store.delete_scheme(tenant.id(), &doomed).await }).await?;
    change::deleted("scheme", &slug);
    Ok(StatusCode::NO_CONTENT)
}
