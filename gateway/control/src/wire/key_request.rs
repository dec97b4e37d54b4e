//! What callers send to create, revoke and rotate keys.

use crate::bounds;
use crate::fault::{Broken, Fault, Faults};
use crate::field::{Anything, Field, Id, IdOrEmpty};
use jiff::Timestamp;
use portcullis_store::entity::{JsonObject, NewKey, NewSecret};
use portcullis_verify::KeyId;
use serde::Deserialize;
use std::time::Duration;
use utoipa::ToSchema;

/// A new key. It belongs to the app in the path, whatever the body says.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub(crate) struct CreateApiKeyRequest {
    /// Its name for people.
    #[schema(value_type = String, required = true, min_length = 1, max_length = 255)]
    name: Field<String>,
    /// What it may do; must be among the app's permissions, when the app names any.
    #[schema(value_type = Option<Vec<String>>, max_items = 256)]
    permissions: Field<Vec<String>>,
    /// Free JSON object, at most 4 096 bytes as ASCII JSON.
    #[schema(value_type = Option<Object>)]
    metadata: Field<JsonObject>,
    /// When it stops; must be in the future. The end of time, 9999-12-30T22:00:00Z, stands for what is later.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Field<String>,
    /// Owning service or team.
    #[schema(value_type = Option<String>, max_length = 255)]
    owner: Field<String>,
    /// Owning user, as a string or a number.
    #[schema(value_type = Option<IdOrEmpty>)]
    owner_user_id: Field<Id>,
    /// Environment tag.
    #[schema(value_type = Option<String>, max_length = 255)]
    environment: Field<String>,
    /// The key's own rate-limit scheme; its app's holds without one.
    #[schema(value_type = Option<String>)]
    rate_limit_scheme_slug: Field<String>,
    /// Must be left out or null: memberships are not part of this API.
    #[schema(value_type = Option<String>)]
    organization_membership_id: Field<Anything>,
    /// Must be left out or null: memberships are not part of this API.
    #[schema(value_type = Option<String>)]
    workspace_membership_id: Field<Anything>,
}

/// A new key as asked for, before it has a secret.
#[derive(Debug)]
pub(crate) struct WantedKey {
    pub(crate) name: String,
    pub(crate) permissions: Vec<String>,
    pub(crate) metadata: JsonObject,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) owner: Option<String>,
    pub(crate) owner_user_id: Option<i64>,
    pub(crate) environment: Option<String>,
    pub(crate) scheme_slug: Option<String>,
}

impl WantedKey {
    /// The key with this secret.
    pub(crate) fn with(&self, secret: NewSecret) -> NewKey {
        NewKey {
            hash: secret.hash,
            key_prefix: secret.key_prefix,
            key_suffix: secret.key_suffix,
            name: self.name.clone(),
            permissions: self.permissions.clone(),
            metadata: self.metadata.clone(),
            owner: self.owner.clone(),
            owner_user_id: self.owner_user_id,
            environment: self.environment.clone(),
            scheme_slug: self.scheme_slug.clone(),
            expires_at: self.expires_at,
        }
    }
}

impl CreateApiKeyRequest {
    /// What is asked for, or all that is wrong. `app_permissions` are those that the app names.
    pub(crate) fn validate(self, app_permissions: &[String], now: Timestamp) -> Result<WantedKey, Vec<Fault>> {
        let mut faults = Faults::default();
        let memberships = [
            ("organization_membership_id", self.organization_membership_id),
            ("workspace_membership_id", self.workspace_membership_id),
        ];
        for (name, field) in memberships {
            let not_taken = |Anything| Err::<(), _>(Broken::whole("is not part of this endpoint; leave it out"));
            faults.optional(name, field, not_taken);
        }
        let name = faults.required("name", self.name, bounds::name);
        let permissions = faults.optional("permissions", self.permissions, |list| {
            let list = bounds::key_permissions(list)?;
            let beyond_app = |permission: &String| !app_permissions.is_empty() && !app_permissions.contains(permission);
            let broken: Vec<Broken> = list
                .iter()
                .filter(|permission| beyond_app(permission))
                .map(|permission| Broken {
                    at: String::new(),
                    what: format!("must be among the app's permissions, and `{permission}` is not").into(),
                })
                .collect();
            if broken.is_empty() { Ok(list) } else { Err(broken) }
        });
        let metadata = faults.optional("metadata", self.metadata, bounds::metadata);
        let expires_at = faults.optional("expires_at", self.expires_at, |text| bounds::future_time(&text, now));
        let owner = faults.optional("owner", self.owner, bounds::tag);
        let owner_user_id = faults.optional("owner_user_id", self.owner_user_id, |Id(id)| Ok(id));
        let environment = faults.optional("environment", self.environment, bounds::tag);
        let scheme_slug = faults.optional(
            "rate_limit_scheme_slug",
            self.rate_limit_scheme_slug,
            bounds::slug_or_none,
        );
        let key = name.map(|name| WantedKey {
            name,
            permissions: permissions.unwrap_or_default(),
            metadata: metadata.unwrap_or_default(),
            expires_at: expires_at.flatten(),
            owner: owner.flatten(),
            owner_user_id: owner_user_id.flatten(),
            environment: environment.flatten(),
            scheme_slug: scheme_slug.flatten(),
        });
        faults.or(key)
    }
}

/// Why a key is revoked. May be left out altogether.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub(crate) struct RevokeApiKeyRequest {
    /// The reason, for people.
    #[schema(value_type = Option<String>, max_length = 500)]
    reason: Field<String>,
}

impl RevokeApiKeyRequest {
    /// The reason, or what is wrong with it.
    pub(crate) fn validate(self) -> Result<Option<String>, Vec<Fault>> {
        let mut faults = Faults::default();
        let reason = faults.optional("reason", self.reason, bounds::reason);
        faults.or(Some(reason.flatten()))
    }
}

/// How a key is rotated. May be left out altogether.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub(crate) struct RotateApiKeyRequest {
    /// How long the old secret lives on, in seconds; 0 when left out.
    #[schema(value_type = Option<i32>, minimum = 0, maximum = 2592000)]
    grace_period_seconds: Field<i32>,
}

impl RotateApiKeyRequest {
    /// The grace period, or what is wrong with it.
    pub(crate) fn validate(self) -> Result<Duration, Vec<Fault>> {
        let mut faults = Faults::default();
        let grace = faults.optional("grace_period_seconds", self.grace_period_seconds, bounds::grace_period);
        faults.or(Some(grace.unwrap_or_default()))
    }
}

/// The older form of revoking, whose path does not name the key.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub(crate) struct RevokeApiKeyByIdRequest {
    /// The key's id, as a string or a number. Required, unless `api_key_id` is given.
    #[schema(value_type = Option<Id>)]
    key_id: Field<Id>,
    /// The older name of `key_id`.
    #[schema(value_type = Option<Id>)]
    api_key_id: Field<Id>,
    /// The reason, for people.
    #[schema(value_type = Option<String>, max_length = 500)]
    reason: Field<String>,
}

impl RevokeApiKeyByIdRequest {
    /// The key and the reason, or all that is wrong.
    pub(crate) fn validate(self) -> Result<(KeyId, Option<String>), Vec<Fault>> {
        let mut faults = Faults::default();
        let key_id = key_named(&mut faults, self.key_id, self.api_key_id);
        let reason = faults.optional("reason", self.reason, bounds::reason).flatten();
        faults.or(key_id.map(|key_id| (key_id, reason)))
    }
}

/// The older form of rotating, whose path does not name the key.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub(crate) struct RotateApiKeyByIdRequest {
    /// The key's id, as a string or a number. Required, unless `api_key_id` is given.
    #[schema(value_type = Option<Id>)]
    key_id: Field<Id>,
    /// The older name of `key_id`.
    #[schema(value_type = Option<Id>)]
    api_key_id: Field<Id>,
    /// How long the old secret lives on, in seconds; 0 when left out.
    #[schema(value_type = Option<i32>, minimum = 0, maximum = 2592000)]
    grace_period_seconds: Field<i32>,
}

impl RotateApiKeyByIdRequest {
    /// The key and the grace period, or all that is wrong.
    pub(crate) fn validate(self) -> Result<(KeyId, Duration), Vec<Fault>> {
        let mut faults = Faults::default();
        let key_id = key_named(&mut faults, self.key_id, self.api_key_id);
        let grace = faults.optional("grace_period_seconds", self.grace_period_seconds, bounds::grace_period);
        faults.or(key_id.map(|key_id| (key_id, grace.unwrap_or_default())))
    }
}

/// The key that a body names under one of two names.
fn key_named(faults: &mut Faults, key_id: Field<Id>, api_key_id: Field<Id>) -> Option<KeyId> {
    if let (Field::Given(one), Field::Given(other)) = (&key_id, &api_key_id)
        && one != other
    {
        faults.refuse("`key_id` and `api_key_id` are both given and differ.");
    }
    let filled = |Id(id): Id| id.ok_or_else(|| Broken::whole("must not be empty"));
    faults.required("key_id", key_id.or(api_key_id), filled).map(KeyId)
}
