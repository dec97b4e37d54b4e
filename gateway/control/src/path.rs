//! What a request's path and query name: a slug, an id, a switch, whose limits are asked about.
//!
//! A path that cannot name anything is 404, as if nothing had that name; a query that cannot be read is 400.

use crate::envelope::Patience;
use crate::error::ApiError;
use crate::error_code::ErrorCode;
use crate::field::positive_id;
use crate::router::Api;
use axum::extract::{FromRequestParts, Path, Query};
use http::request::Parts;
use portcullis_verify::KeyId;
use std::net::IpAddr;

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

/// The id of a token in a path.
#[derive(Debug)]
pub(crate) struct TokenInPath(pub(crate) i64);

impl FromRequestParts<Api> for TokenInPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Self::Rejection> {
        let id = Path::<String>::from_request_parts(parts, api).await;
        let Path(id) = id.map_err(|_| ApiError::no_such_route())?;
        positive_id(&id).map(TokenInPath).ok_or_else(ApiError::no_such_token)
    }
}

/// Whether a change is answered only once every gateway decides by it: `?wait=fleet`.
#[derive(Debug)]
pub(crate) struct Wait {
    pub(crate) for_fleet: bool,
    /// To be told when the wait begins.
    pub(crate) patience: Patience,
}

impl FromRequestParts<Api> for Wait {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Self::Rejection> {
        let refused = || ApiError::refused(ErrorCode::InvalidQuery, "`wait` must be given once, as `fleet`.");
        let pairs = Query::<Vec<(String, String)>>::from_request_parts(parts, api).await;
        let Query(pairs) = pairs.map_err(|_| refused())?;
        let mut values = pairs
            .iter()
            .filter(|(name, _)| name == "wait")
            .map(|(_, value)| value.as_str());
        let for_fleet = match (values.next(), values.next()) {
            (None, _) => false,
            (Some("fleet"), None) => true,
            _ => return Err(refused()),
        };
        let patience = parts.extensions.get().cloned().unwrap_or_default();
        Ok(Wait { for_fleet, patience })
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

/// Whose limits a query asks about: `key_id`, `app_slug` or `address`, exactly one of them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum WhoseLimits {
    Key(KeyId),
    App(String),
    /// IPv4-mapped IPv6 is IPv4.
    Address(IpAddr),
}

impl FromRequestParts<Api> for WhoseLimits {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Self::Rejection> {
        let refused = |message| ApiError::refused(ErrorCode::InvalidQuery, message);
        let pairs = Query::<Vec<(String, String)>>::from_request_parts(parts, api).await;
        let Query(pairs) = pairs.map_err(|_| refused("The query cannot be read."))?;
        let mut named = pairs
            .into_iter()
            .filter(|(name, _)| matches!(name.as_str(), "key_id" | "app_slug" | "address"));
        let (Some((name, value)), None) = (named.next(), named.next()) else {
            return Err(refused(
                "Exactly one of `key_id`, `app_slug` and `address` must be given, once.",
            ));
        };
        match name.as_str() {
            "key_id" => positive_id(&value)
                .map(|id| WhoseLimits::Key(KeyId(id)))
                .ok_or_else(|| refused("`key_id` must be a positive 64-bit integer.")),
            "app_slug" => Ok(WhoseLimits::App(value)),
            _ => address(&value)
                .map(WhoseLimits::Address)
                .ok_or_else(|| refused("`address` must be an IPv4 or IPv6 address, or the /64 of an IPv6 address.")),
        }
    }
}

/// Reads an address, or the /64 that IPv6 addresses are counted by, which stands for any address in it.
fn address(text: &str) -> Option<IpAddr> {
    if let Some(network) = text.strip_suffix("/64") {
        return network.parse().ok().map(IpAddr::V6);
    }
    text.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}
