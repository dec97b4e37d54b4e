//! What a request's path and query name: a slug, an id, a switch.
//!
//! A path that cannot name anything is 404, as if nothing had that name; a query that cannot be read is 400.

use crate::error::ApiError;
use crate::error_code::ErrorCode;
use crate::field::positive_id;
use crate::router::Api;
use axum::extract::{FromRequestParts, Path, Query};
use http::request::Parts;
use portcullis_verify::KeyId;

/// The slug in a path: an app's or a scheme's.
#[derive(Debug)]
pub(crate) struct SlugInPath(pub(crate) String);

impl FromRequestParts<Api> for SlugInPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Self::Rejection> {
        let slug = Path::<String>::from_request_parts(parts, api).await;
        slug.map(|Path(slug)| SlugInPath(slug))
            .map_err(|_| ApiError::no_such_route())
    }
}

/// The app's slug and the key's id in a path.
#[derive(Debug)]
pub(crate) struct KeyInPath {
    pub(crate) app_slug: String,
    pub(crate) key_id: KeyId,
}

impl FromRequestParts<Api> for KeyInPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Self::Rejection> {
        let names = Path::<(String, String)>::from_request_parts(parts, api).await;
        let Path((app_slug, key_id)) = names.map_err(|_| ApiError::no_such_route())?;
        let key_id = positive_id(&key_id).map(KeyId).ok_or_else(ApiError::no_such_key)?;
        Ok(KeyInPath { app_slug, key_id })
    }
}

/// Whether a list holds what is switched off too: `?include_inactive=true`.
#[derive(Debug)]
pub(crate) struct IncludeInactive(pub(crate) bool);

impl FromRequestParts<Api> for IncludeInactive {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Self::Rejection> {
        let refused = |message| ApiError::refused(ErrorCode::InvalidQuery, message);
        let pairs = Query::<Vec<(String, String)>>::from_request_parts(parts, api).await;
        let Query(pairs) = pairs.map_err(|_| refused("The query cannot be read."))?;
        let mut values = pairs
            .iter()
            .filter(|(name, _)| name == "include_inactive")
            // Some languages write their truth with a capital.
            .map(|(_, value)| value.to_ascii_lowercase());
        let (value, another) = (values.next(), values.next());
        match (value.as_deref(), another) {
            (None, _) => Ok(IncludeInactive(false)),
            (Some("true" | "1"), None) => Ok(IncludeInactive(true)),
            (Some("false" | "0"), None) => Ok(IncludeInactive(false)),
            _ => Err(refused(
                "`include_inactive` must be given once, as true, false, 1 or 0.",
            )),
        }
    }
}
