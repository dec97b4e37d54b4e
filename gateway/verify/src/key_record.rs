//! What a [`crate::KeySource`] tells of a key: plain data, as the store reads it and as it travels to a gateway.
//!
//! Nothing here is compiled for speed; [`crate::StoredKey::compile`] does that once, when a record enters the cache.
//! Never holds a secret; the hash is the look-up key and is not repeated here.

use crate::{AppId, DeploymentId, KeyId, Rule, SchemeId};
use serde::{Deserialize, Serialize};

/// All that a decision about one key needs, read in one snapshot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeyRecord {
    /// This key.
    pub key_id: KeyId,
    /// The first key of the chain of rotations that this key belongs to (itself, if never rotated).
    /// Per-key counters follow it.
    pub lineage_id: KeyId,
    /// The tenant.
    pub deployment_id: DeploymentId,
    /// The app the key was issued under, also when that app is inactive or deleted.
    pub app: AppRecord,
    /// The human name.
    pub name: String,
    /// The key's own permissions, before they are cut down to the app's.
    pub permissions: Vec<String>,
    /// The free JSON object stored with the key.
    pub metadata: serde_json::Map<String, serde_json::Value>,
    /// The user that owns the key: the key's `owner_user_id`, else the app's `user_id`.
    pub owner_user_id: Option<i64>,
    /// The organization the key is scoped to, from its app.
    pub organization_id: Option<i64>,
    /// The workspace the key is scoped to, from its app.
    pub workspace_id: Option<i64>,
    /// Microseconds since the Unix epoch after which the key no longer opens anything.
    pub expires_at_us: Option<i64>,
    /// Microseconds since the Unix epoch from which the key is revoked: the end of a rotation's grace period, or 0 for a
    /// revocation that holds whatever the wall clock says.
    pub revoked_at_us: Option<i64>,
    /// The rate-limit scheme that holds: the key's own, else its app's. `None`: the gateway's default rules hold.
    pub scheme: Option<SchemeRecord>,
}

/// The app a key belongs to, as far as decisions need it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppRecord {
    /// This app.
    pub id: AppId,
    /// Its slug, which routes name.
    pub slug: String,
    /// False when the app was switched off or deleted: no key beneath it opens anything.
    pub is_active: bool,
    /// When not empty, a key holds only those of its permissions that are also here.
    pub permissions: Vec<String>,
    /// When not empty, one of these patterns must match the request path without its leading slash.
    pub resources: Vec<String>,
}

/// A rate-limit scheme, as far as decisions need it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SchemeRecord {
    /// This scheme.
    pub id: SchemeId,
    /// The key has it by itself, and its app has another or none.
    #[serde(default)]
    pub is_keys_own: bool,
    /// Its rules, in the order they are stored.
    pub rules: Vec<Rule>,
}
