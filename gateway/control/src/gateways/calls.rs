//! What gateways ask besides their watch: which keys have these hashes, all keys page by page, and what keys were used for.
//!
//! Every answer is of the token's deployment and apps. A few of each kind are answered at once, so that gateways that start together
//! leave the store's connections to others, too.

use crate::auth::GatewayCaller;
use crate::error::ApiError;
use crate::error_code::ErrorCode;
use crate::router::Api;
use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use portcullis_sync::message::{
    HashText, KeyPage, LOOK_UP_MAX, LookUp, LookedUp, PAGE_MAX, PagedKey, Recorded, USAGE_ROWS_MAX, UsageBatch,
};
use portcullis_verify::{AppId, KeyHash, KeyId};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Largest body of a gateway's request: a full batch of usage, and room.
const BODY_BYTES_MAX: usize = 2 * 1_024 * 1_024;

/// `POST /gateway/v1/keys/look-up`
pub(crate) async fn look_up(
    State(api): State<Api>,
    caller: GatewayCaller,
    body: Body,
) -> Result<Json<LookedUp>, ApiError> {
    let LookUp { hashes } = read(body).await?;
    if hashes.len() > LOOK_UP_MAX {
        return Err(invalid(format!("`hashes` must be at most {LOOK_UP_MAX}.")));
    }
    let hashes: Vec<KeyHash> = hashes.into_iter().map(|HashText(hash)| hash).collect();
    // Never closed.
    let _place = api.fill_places().acquire().await;
    let token = caller.token();
    let (as_of, records) = api
        .store()
        .fetch_many(token.deployment_id, &token.apps, &hashes)
        .await?;
    Ok(Json(LookedUp { as_of, records }))
}

/// The query of [`key_page`].
#[derive(Debug, Deserialize)]
pub(crate) struct PageQuery {
    after: Option<KeyId>,
    limit: Option<u32>,
    app_id: Option<AppId>,
}

/// `GET /gateway/v1/keys`
pub(crate) async fn key_page(
    State(api): State<Api>,
    caller: GatewayCaller,
    query: Result<Query<PageQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<KeyPage>, ApiError> {
    let Ok(Query(PageQuery { after, limit, app_id })) = query else {
        return Err(ApiError::refused(
            ErrorCode::InvalidQuery,
            "`after`, `limit` and `app_id` must be whole numbers.",
        ));
    };
    let limit = limit.unwrap_or(PAGE_MAX).clamp(1, PAGE_MAX);
    let _place = api.page_places().acquire().await;
    let token = caller.token();
    let page = api
        .store()
        .key_page(token.deployment_id, &token.apps, app_id, after, limit);
    let page = page.await?;
    let keys = page.keys.into_iter();
    Ok(Json(KeyPage {
        as_of: page.as_of,
        keys: keys
            .map(|(hash, record)| PagedKey {
                hash: HashText(hash),
                record,
            })
            .collect(),
        next: page.next,
    }))
}

/// `POST /gateway/v1/usage`
pub(crate) async fn record_usage(
    State(api): State<Api>,
    caller: GatewayCaller,
    body: Body,
) -> Result<Json<Recorded>, ApiError> {
    let UsageBatch { batch_id, rows } = read(body).await?;
    if rows.len() > USAGE_ROWS_MAX {
        return Err(invalid(format!("`rows` must be at most {USAGE_ROWS_MAX}.")));
    }
    let Some(batch_id) = id(&batch_id) else {
        return Err(invalid("`batch_id` must be 32 hexadecimal digits."));
    };
    let _place = api.usage_places().acquire().await;
    let deployment_id = caller.token().deployment_id;
    let store = api.store().clone();
    // Runs to its end even if the gateway hangs up: it sends the batch again, and is told that it was there.
    let recorded = tokio::spawn(async move { store.record_usage(deployment_id, batch_id, &rows).await }).await;
    let is_new = recorded.map_err(|_| ApiError::Internal("the recording of usage panicked"))??;
    Ok(Json(Recorded { is_new }))
}

async fn read<T: DeserializeOwned>(body: Body) -> Result<T, ApiError> {
    let bytes: Bytes = axum::body::to_bytes(body, BODY_BYTES_MAX).await.map_err(|_| {
        ApiError::refused(
            ErrorCode::UnreadableBody,
            format!("The body could not be read to its end, or is larger than {BODY_BYTES_MAX} bytes."),
        )
    })?;
    serde_json::from_slice(&bytes).map_err(|error| {
        ApiError::refused(
            ErrorCode::MalformedJson,
            format!(
                "The body is not what this call takes, at line {} column {}.",
                error.line(),
                error.column()
            ),
        )
    })
}

fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::refused(ErrorCode::InvalidField, message)
}

/// Sixteen bytes out of 32 hexadecimal digits.
fn id(text: &str) -> Option<[u8; 16]> {
    if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    u128::from_str_radix(text, 16).ok().map(u128::to_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::id;

    #[test]
    fn an_id_is_32_digits_and_nothing_else() {
        assert_eq!(
            id("000102030405060708090a0b0c0d0e0f"),
            Some(std::array::from_fn(|i| u8::try_from(i).unwrap()))
        );
        for text in [
            "",
            "00",
            &"g".repeat(32),
            &"0".repeat(31),
            &"0".repeat(33),
            &format!("+{}", "0".repeat(31)),
        ] {
            assert_eq!(id(text), None, "{text}");
        }
    }
}
