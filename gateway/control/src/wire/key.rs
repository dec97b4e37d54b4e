//! API keys as answers show them.

use crate::wire::{self, Enforced, RateLimit};
use jiff::Timestamp;
use portcullis_store::entity::{JsonObject, Key};
use portcullis_verify::Rule;
use serde::Serialize;
use utoipa::ToSchema;

/// An API key, without its secret.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct ApiKey {
    /// Its id, a 64-bit integer.
    pub(crate) id: String,
    /// The id of its app.
    app_id: String,
    /// The deployment it belongs to.
    deployment_id: String,
    /// The slug of its app.
    app_slug: String,
    /// Its name for people.
    name: String,
    /// What its secret starts with.
    key_prefix: String,
    /// The last 8 characters of its secret.
    key_suffix: String,
    /// What it may do, as far as its app allows it too.
    permissions: Vec<String>,
    /// Free JSON object.
    #[schema(value_type = Object)]
    metadata: JsonObject,
    /// The rules of its own scheme, else of its app's.
    #[schema(value_type = Vec<RateLimit>)]
    rate_limits: Vec<Rule>,
    /// Its own scheme, else its app's.
    rate_limit_scheme_slug: Option<String>,
    /// Owning service or team.
    owner: Option<String>,
    /// Owning user.
    owner_user_id: Option<String>,
    /// Environment tag.
    environment: Option<String>,
    /// Organization scope, from its app.
    organization_id: Option<String>,
    /// Workspace scope, from its app.
    workspace_id: Option<String>,
    /// Always null: memberships are not part of this API.
    organization_membership_id: Option<String>,
    /// Always null: memberships are not part of this API.
    workspace_membership_id: Option<String>,
    /// Always empty: memberships are not part of this API.
    org_role_permissions: Vec<String>,
    /// Always empty: memberships are not part of this API.
    workspace_role_permissions: Vec<String>,
    /// When it stops.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    /// When it last opened anything, as far as gateways reported it.
    #[schema(value_type = Option<String>, format = DateTime)]
    last_used_at: Option<Timestamp>,
    /// Neither revoked nor expired, by now. Says nothing of its app.
    is_active: bool,
    /// When it was created.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When it was last changed.
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
    /// From when it is revoked; in the future during a rotation's grace period.
    #[schema(value_type = Option<String>, format = DateTime)]
    revoked_at: Option<Timestamp>,
    /// Why it was revoked.
    revoked_reason: Option<String>,
}

impl ApiKey {
    /// The key as it stands at `now`.
    pub(crate) fn at(now: Timestamp, key: Key) -> ApiKey {
        let reached = |time: Option<Timestamp>| time.is_some_and(|time| time <= now);
        let is_active = !reached(key.revoked_at) && !reached(key.expires_at);
        let (rate_limit_scheme_slug, rate_limits) = match key.scheme {
            Some(scheme) => (Some(scheme.slug), scheme.rules),
            None => (None, Vec::new()),
        };
        ApiKey {
            id: wire::id(key.id),
            app_id: wire::id(key.app_id),
            deployment_id: wire::id(key.deployment_id),
            app_slug: key.app_slug,
            name: key.name,
            key_prefix: key.key_prefix,
            key_suffix: key.key_suffix,
            permissions: key.permissions,
            metadata: key.metadata,
            rate_limits,
            rate_limit_scheme_slug,
            owner: key.owner,
            owner_user_id: key.owner_user_id.map(wire::id),
            environment: key.environment,
            organization_id: key.organization_id.map(wire::id),
            workspace_id: key.workspace_id.map(wire::id),
            organization_membership_id: None,
            workspace_membership_id: None,
            org_role_permissions: Vec::new(),
            workspace_role_permissions: Vec::new(),
            expires_at: key.expires_at,
            last_used_at: key.last_used_at,
            is_active,
            created_at: key.created_at,
            updated_at: key.updated_at,
            revoked_at: key.revoked_at,
            revoked_reason: key.revoked_reason,
        }
    }
}

/// The keys of an app.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ApiKeyList {
    /// All of them.
    pub(crate) keys: Vec<ApiKey>,
}

/// A key and its secret, which is shown this once, and how far the change has come. The key's fields are there twice, for clients of two generations.
#[derive(Serialize, ToSchema)]
pub(crate) struct ApiKeyWithSecret {
    /// The key's fields, at the top level.
    #[serde(flatten)]
    flat: ApiKey,
    /// The same key.
    key: ApiKey,
    /// The secret. Only its hash is stored. Its form is described at the top of this document.
    secret: String,
    #[serde(flatten)]
    enforced: Enforced,
}

impl ApiKeyWithSecret {
    /// The one answer that holds `secret`.
    pub(crate) fn new(key: ApiKey, secret: &str, enforced: Enforced) -> ApiKeyWithSecret {
        ApiKeyWithSecret {
            flat: key.clone(),
            key,
            secret: secret.to_owned(),
            enforced,
        }
    }
}

/// A revoked key, and how far its revocation has come. A gateway of this process admits it no more when this is answered.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RevokedApiKey {
    /// Its id.
    id: String,
    /// Always false.
    is_active: bool,
    /// When it was revoked.
    #[schema(value_type = Option<String>, format = DateTime)]
    revoked_at: Option<Timestamp>,
    /// Why.
    revoked_reason: Option<String>,
    #[serde(flatten)]
    enforced: Enforced,
    /// The key.
    key: ApiKey,
}

impl RevokedApiKey {
    /// The answer to a revocation that was committed.
    pub(crate) fn at(now: Timestamp, key: Key, enforced: Enforced) -> RevokedApiKey {
        let key = ApiKey::at(now, key);
        RevokedApiKey {
            id: key.id.clone(),
            is_active: key.is_active,
            revoked_at: key.revoked_at,
            revoked_reason: key.revoked_reason.clone(),
            enforced,
            key,
        }
    }
}
