//! `/api-auth/apps/{app_slug}/keys` and `/api-auth/keys`: keys, and both generations of revoke and rotate.
//!
//! The only place where a key's secret exists in the clear, between its generation and the one answer that shows it.

use crate::auth::Tenant;
use crate::body::RequestBody;
use crate::change;
use crate::error::ApiError;
use crate::idempotency::{IdempotencyKey, replay};
use crate::path::{IncludeInactive, KeyInPath, SlugInPath, Wait};
use crate::router::Api;
use crate::wire::{
    ApiKey, ApiKeyList, ApiKeyWithSecret, CreateApiKeyRequest, ErrorBody, RevokeApiKeyByIdRequest, RevokeApiKeyRequest,
    RevokedApiKey, RotateApiKeyByIdRequest, RotateApiKeyRequest, WantedKey,
};
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use portcullis_store::entity::{Key, NewSecret};
use portcullis_store::{Committed, StoreError};
use portcullis_verify::{DeploymentId, KeyId, Secret};
use std::time::Duration;

/// How often a secret is made anew because the app's key prefix changed at the same time.
const PREFIX_CHANGES_MAX: usize = 3;

/// Creates a key under the app in the path. Its secret is in this answer and never shown again.
#[utoipa::path(
    post,
    path = "/api-auth/apps/{app_slug}/keys",
    tag = "keys",
    params(
        ("app_slug" = String, Path, description = "The app's slug."),
        ("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255, pattern = "^[!-~]+$", description = "Repeated within 24 h, nothing is created: the answer is 409 with the id of the key that was, since its secret is not stored."),
        ("wait" = Option<String>, Query, description = "`fleet`: answered once every gateway decides by it, or refuses for want of news.", pattern = "^fleet$"),
    ),
    request_body = CreateApiKeyRequest,
    responses(
        (status = 201, body = ApiKeyWithSecret, description = "Created."),
        (status = 409, body = ErrorBody, description = "The Idempotency-Key was used before: `key_id` is the key it created (40903), or it came with a different request (40902)."),
    )
)]
pub(crate) async fn create_key(
    State(api): State<Api>,
    tenant: Tenant,
    SlugInPath(app_slug): SlugInPath,
    idempotency_key: IdempotencyKey,
    wait: Wait,
    body: RequestBody,
) -> Result<Response, ApiError> {
    let deployment_id = tenant.id();
    let once = idempotency_key.mark("POST /api-auth/apps/{app_slug}/keys", &app_slug, &body);
    if let Some(once) = &once
        && let Some(first) = replay(&api, deployment_id, once).await?
    {
        return Ok(first);
    }
    let request: CreateApiKeyRequest = body.required()?;
    let app = api.store().get_app(deployment_id, &app_slug).await?;
    let wanted: WantedKey = request.validate(&app.permissions, api.now()?)?;
    let created = with_secret(&api, deployment_id, app.key_prefix, &wait, |new| {
        let (store, app_slug, key, once) = (api.store().clone(), app_slug.clone(), wanted.with(new), once.clone());
        async move {
            match once {
                None => store.create_key(deployment_id, &app_slug, key).await,
                Some(once) => store.create_key_once(deployment_id, &app_slug, key, once).await,
            }
        }
    });
    match (created.await, once) {
        (Ok(answer), _) => Ok((StatusCode::CREATED, Json(answer)).into_response()),
        // A simultaneous request with the same Idempotency-Key was quicker.
        (Err(ApiError::Store(StoreError::IdempotentReplay)), Some(once)) => replay(&api, deployment_id, &once)
            .await?
            .ok_or(StoreError::IdempotentReplay.into()),
        (Err(error), _) => Err(error),
    }
}

/// Lists the keys of an app, oldest first, without their secrets.
#[utoipa::path(
    get,
    path = "/api-auth/apps/{app_slug}/keys",
    tag = "keys",
    params(
        ("app_slug" = String, Path, description = "The app's slug."),
        ("include_inactive" = Option<bool>, Query, description = "Also those revoked or expired; false by default."),
    ),
    responses((status = 200, body = ApiKeyList, description = "All of them."))
)]
pub(crate) async fn list_keys(
    State(api): State<Api>,
    tenant: Tenant,
    SlugInPath(app_slug): SlugInPath,
    IncludeInactive(include_inactive): IncludeInactive,
) -> Result<Json<ApiKeyList>, ApiError> {
    let now = api.now()?;
    let keys = api
        .store()
        .list_keys(tenant.id(), &app_slug, include_inactive, now)
        .await?;
    Ok(Json(ApiKeyList {
        keys: keys.into_iter().map(|key| ApiKey::at(now, key)).collect(),
    }))
}

/// Revokes a key for good. When this is answered, the gateway of this process admits it no more.
#[utoipa::path(
    post,
    path = "/api-auth/apps/{app_slug}/keys/{key_id}/revoke",
    tag = "keys",
    params(
        ("app_slug" = String, Path, description = "The app's slug."),
        ("key_id" = String, Path, description = "The key's id."),
        ("wait" = Option<String>, Query, description = "`fleet`: answered once every gateway decides by it, or refuses for want of news.", pattern = "^fleet$"),
    ),
    request_body(content = Option<RevokeApiKeyRequest>, description = "May be left out."),
    responses((status = 200, body = RevokedApiKey, description = "Revoked."))
)]
pub(crate) async fn revoke_key(
    State(api): State<Api>,
    tenant: Tenant,
    KeyInPath { app_slug, key_id }: KeyInPath,
    wait: Wait,
    body: RequestBody,
) -> Result<Json<RevokedApiKey>, ApiError> {
    let reason = body.optional::<RevokeApiKeyRequest>()?.validate()?;
    revoke(&api, tenant, Some(app_slug), key_id, reason, &wait).await
}

/// Revokes the key that the body names: the older form.
#[utoipa::path(
    post,
    path = "/api-auth/keys/revoke",
    tag = "keys",
    params(("wait" = Option<String>, Query, description = "`fleet`: answered once every gateway decides by it, or refuses for want of news.", pattern = "^fleet$")),
    request_body = RevokeApiKeyByIdRequest,
    responses((status = 200, body = RevokedApiKey, description = "Revoked."))
)]
pub(crate) async fn revoke_key_by_id(
    State(api): State<Api>,
    tenant: Tenant,
    wait: Wait,
    body: RequestBody,
) -> Result<Json<RevokedApiKey>, ApiError> {
    let (key_id, reason) = body.required::<RevokeApiKeyByIdRequest>()?.validate()?;
    revoke(&api, tenant, None, key_id, reason, &wait).await
}

/// Replaces a key by one with a new secret, which is in this answer and never shown again.
///
/// Name, permissions, metadata, scheme and expiry stay, and so do the counters of its rate limits. Without a grace period the old
/// secret opens nothing any more when this is answered.
#[utoipa::path(
    post,
    path = "/api-auth/apps/{app_slug}/keys/{key_id}/rotate",
    tag = "keys",
    params(
        ("app_slug" = String, Path, description = "The app's slug."),
        ("key_id" = String, Path, description = "The key's id."),
        ("wait" = Option<String>, Query, description = "`fleet`: answered once every gateway decides by it, or refuses for want of news.", pattern = "^fleet$"),
    ),
    request_body(content = Option<RotateApiKeyRequest>, description = "May be left out."),
    responses((status = 200, body = ApiKeyWithSecret, description = "The new key."))
)]
pub(crate) async fn rotate_key(
    State(api): State<Api>,
    tenant: Tenant,
    KeyInPath { app_slug, key_id }: KeyInPath,
    wait: Wait,
    body: RequestBody,
) -> Result<Json<ApiKeyWithSecret>, ApiError> {
    let grace = body.optional::<RotateApiKeyRequest>()?.validate()?;
    rotate(&api, tenant, Some(app_slug), key_id, grace, &wait).await
}

/// Rotates the key that the body names: the older form.
#[utoipa::path(
    post,
    path = "/api-auth/keys/rotate",
    tag = "keys",
    params(("wait" = Option<String>, Query, description = "`fleet`: answered once every gateway decides by it, or refuses for want of news.", pattern = "^fleet$")),
    request_body = RotateApiKeyByIdRequest,
    responses((status = 200, body = ApiKeyWithSecret, description = "The new key."))
)]
pub(crate) async fn rotate_key_by_id(
    State(api): State<Api>,
    tenant: Tenant,
    wait: Wait,
    body: RequestBody,
) -> Result<Json<ApiKeyWithSecret>, ApiError> {
    let (key_id, grace) = body.required::<RotateApiKeyByIdRequest>()?.validate()?;
    rotate(&api, tenant, None, key_id, grace, &wait).await
}

async fn revoke(
    api: &Api,
    tenant: Tenant,
    app_slug: Option<String>,
    key_id: KeyId,
    reason: Option<String>,
    wait: &Wait,
) -> Result<Json<RevokedApiKey>, ApiError> {
    let now = api.now()?;
    let store = api.store().clone();
    let deployment_id = tenant.id();
    let revoked = change::make(api, async move {
        store
            .revoke_key(deployment_id, app_slug.as_deref(), key_id, reason.as_deref(), now)
            .await
    });
    let revoked = revoked.await?;
    let enforced = change::enforcement(api, deployment_id, revoked.version, wait).await?;
    Ok(Json(RevokedApiKey::at(now, revoked.value, enforced)))
}

async fn rotate(
    api: &Api,
    tenant: Tenant,
    app_slug: Option<String>,
    key_id: KeyId,
    grace: Duration,
    wait: &Wait,
) -> Result<Json<ApiKeyWithSecret>, ApiError> {
    let now = api.now()?;
    let deployment_id = tenant.id();
    // A first guess: the store knows whether the app has another prefix by now.
    let key_prefix = api.store().get_key(deployment_id, key_id).await?.key_prefix;
    let rotated = with_secret(api, deployment_id, key_prefix, wait, |new| {
        let (store, app_slug) = (api.store().clone(), app_slug.clone());
        async move {
            store
                .rotate_key(deployment_id, app_slug.as_deref(), key_id, new, grace, now)
                .await
        }
    });
    rotated.await.map(Json)
}

/// Makes a secret that starts with `key_prefix`, has `write` store it, and answers the key with it.
///
/// When the app's prefix turns out to be another one, it does so again with that.
async fn with_secret<F>(
    api: &Api,
    deployment_id: DeploymentId,
    mut key_prefix: String,
    wait: &Wait,
    write: impl Fn(NewSecret) -> F,
) -> Result<ApiKeyWithSecret, ApiError>
where
    F: Future<Output = Result<Committed<Key>, StoreError>> + Send + 'static,
{
    let mut changes = 0;
    loop {
        let secret = Secret::generate(&key_prefix).map_err(|_| ApiError::Internal("no random numbers for a secret"))?;
        let new = NewSecret {
            hash: secret.hash(),
            key_prefix,
            key_suffix: secret.suffix().to_owned(),
        };
        match change::commit(api, write(new)).await {
            Ok(Committed { value: key, version }) => {
                let applied = async {
                    change::confirm(api, version).await?;
                    change::enforcement(api, deployment_id, version, wait).await
                };
                let enforced = applied.await.map_err(|error| error.about(key.id))?;
                return Ok(ApiKeyWithSecret::new(
                    ApiKey::at(api.now()?, key),
                    secret.expose(),
                    enforced,
                ));
            }
            Err(ApiError::Store(StoreError::PrefixChanged { current })) if changes < PREFIX_CHANGES_MAX => {
                changes += 1;
                key_prefix = current;
            }
            Err(error) => return Err(error),
        }
    }
}
