//! The JSON that callers send and get, one file per entity: request types with their bounds, answer types from entities.
//!
//! Field names here are the contract with published clients. Nothing in it reads the store or knows HTTP.

mod app;
mod error_body;
mod gateway;
mod key;
mod key_request;
mod limits;
mod scheme;
mod verdict;

pub(crate) use app::{ApiAuthApp, ApiAuthAppList, ChangedApiAuthApp, CreateApiAuthAppRequest, UpdateApiAuthAppRequest};
pub(crate) use error_body::{ErrorBody, ErrorEntry};
pub(crate) use gateway::{
    CreateGatewayTokenRequest, Enforced, Gateway, GatewayList, GatewayToken, GatewayTokenList, GatewayTokenWithSecret,
};
pub(crate) use key::{ApiKey, ApiKeyList, ApiKeyWithSecret, RevokedApiKey};
pub(crate) use key_request::{
    CreateApiKeyRequest, RevokeApiKeyByIdRequest, RevokeApiKeyRequest, RotateApiKeyByIdRequest, RotateApiKeyRequest,
    WantedKey,
};
pub(crate) use limits::{CountedNames, CounterStanding, LimitsAnswer, RuleStanding, address};
pub(crate) use scheme::{
    CreateRateLimitSchemeRequest, RateLimit, RateLimitMode, RateLimitScheme, RateLimitSchemeList, RateLimitUnit,
    UpdateRateLimitSchemeRequest,
};
pub(crate) use verdict::{AsOf, RateLimitState, VerifyAnswer, VerifyKeyRequest};

/// An id as answers carry it: a string, since JavaScript numbers cannot hold 64 bits.
pub(crate) fn id(id: impl std::fmt::Display) -> String {
    id.to_string()
}
