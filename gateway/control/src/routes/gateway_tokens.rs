//! `/api-auth/gateway-tokens`: the tokens with which gateways watch, look keys up and report.
//!
//! They open nothing below `/api-auth`, so that a machine at the edge that is taken over can read what it must know, and change
//! nothing. The one place beside the first start where such a token exists in the clear.

use crate::auth::Tenant;
use crate::body::RequestBody;
use crate::change;
use crate::error::ApiError;
use crate::path::TokenInPath;
use crate::router::Api;
use crate::token;
use crate::wire::{CreateGatewayTokenRequest, ErrorBody, GatewayToken, GatewayTokenList, GatewayTokenWithSecret};
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use portcullis_store::entity::TokenKind;

/// Creates a gateway token. It is in this answer and never shown again.
#[utoipa::path(
    post,
    path = "/api-auth/gateway-tokens",
    tag = "gateways",
    request_body = CreateGatewayTokenRequest,
    responses((status = 201, body = GatewayTokenWithSecret, description = "Created."))
)]
pub(crate) async fn create_gateway_token(
    State(api): State<Api>,
    tenant: Tenant,
    body: RequestBody,
) -> Result<Response, ApiError> {
    let (name, apps) = body.required::<CreateGatewayTokenRequest>()?.validate()?;
    let secret =
        token::generate(TokenKind::Gateway).map_err(|_| ApiError::Internal("no random numbers for a token"))?;
    let token_hash = token::hash(secret.expose());
    let store = api.store().clone();
    let created = change::make(&api, async move {
        store
            .create_token(tenant.id(), TokenKind::Gateway, &name, &apps, token_hash)
            .await
    });
    let answer = GatewayTokenWithSecret::new(created.await?.value, secret.expose());
    Ok((StatusCode::CREATED, Json(answer)).into_response())
}

/// Lists the gateway tokens of the deployment, oldest first, revoked ones too, without the tokens themselves.
#[utoipa::path(
    get,
    path = "/api-auth/gateway-tokens",
    tag = "gateways",
    responses((status = 200, body = GatewayTokenList, description = "All of them."))
)]
pub(crate) async fn list_gateway_tokens(
    State(api): State<Api>,
    tenant: Tenant,
) -> Result<Json<GatewayTokenList>, ApiError> {
    let tokens = api.store().list_tokens(tenant.id()).await?;
    let tokens = tokens.into_iter().filter(|token| token.kind == TokenKind::Gateway);
    Ok(Json(GatewayTokenList {
        tokens: tokens.map(GatewayToken::from).collect(),
    }))
}

/// Revokes a gateway token for good. What watches with it is cut off at once, and trusts what it holds for its `stale_max` at most.
#[utoipa::path(
    post,
    path = "/api-auth/gateway-tokens/{token_id}/revoke",
    tag = "gateways",
    params(("token_id" = String, Path, description = "The token's id.")),
    responses(
        (status = 200, body = GatewayToken, description = "Revoked."),
        (status = 404, body = ErrorBody, description = "The deployment has no such gateway token, or it is revoked already."),
    )
)]
pub(crate) async fn revoke_gateway_token(
    State(api): State<Api>,
    tenant: Tenant,
    TokenInPath(id): TokenInPath,
) -> Result<Json<GatewayToken>, ApiError> {
    let tokens = api.store().list_tokens(tenant.id()).await?;
    let is_gateways = |token: &portcullis_store::entity::Token| token.id == id && token.kind == TokenKind::Gateway;
    if !tokens.iter().any(is_gateways) {
        // A management token of this id is none of this call's business.
        return Err(ApiError::no_such_token());
    }
    let store = api.store().clone();
    let revoked = change::make(&api, async move { store.revoke_token(tenant.id(), id).await }).await?;
    Ok(Json(revoked.value.into()))
}
