//! What the cache holds of a key: one allocation with all that a decision needs, compiled when it is filled.
//!
//! What it says of the key is immutable, so that a hit shares it without a lock; a change replaces it whole. Counters live outside it (an
//! invalidation must not reset a limit) and other crates' compiled views hang on it through [`Derived`].

use crate::{AppRecord, DeploymentId, Derived, KeyId, KeyRecord, RuleSet, Version};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// A key as the cache holds it.
#[derive(Debug)]
pub struct StoredKey {
    /// This key.
    pub key_id: KeyId,
    /// The chain of rotations it belongs to; per-key counters follow it.
    pub lineage_id: KeyId,
    /// The tenant.
    pub deployment_id: DeploymentId,
    /// The app. Keys of one app share it.
    pub app: Arc<AppRecord>,
    /// The human name.
    pub name: Box<str>,
    /// What the key may do: its permissions ∩ the app's (all of its own when the app names none), sorted, without repeats.
    pub permissions: Box<[Box<str>]>,
    /// The free JSON object stored with the key.
    pub metadata: serde_json::Map<String, serde_json::Value>,
    /// The owning user.
    pub owner_user_id: Option<i64>,
    /// The organization scope.
    pub organization_id: Option<i64>,
    /// The workspace scope.
    pub workspace_id: Option<i64>,
    /// Microseconds since the Unix epoch from which the key is expired.
    pub expires_at_us: Option<i64>,
    /// Microseconds since the Unix epoch from which the key is revoked.
    pub revoked_at_us: Option<i64>,
    /// The rules that hold.
    pub rules: Arc<RuleSet>,
    /// The version of the snapshot this was read in.
    pub as_of: Version,
    /// What this record was used for and nobody has gathered yet, kept by whoever counts it.
    pub usage_view: Derived,
    /// How many of the changes that concern more than one key this has been held against; kept by [`crate::lookup`].
    pub(crate) trusted_at: AtomicU64,
}

impl StoredKey {
    /// Compiles a record. `default_rules` hold when the record has no scheme.
    #[must_use]
    pub fn compile(record: KeyRecord, as_of: Version, default_rules: &Arc<RuleSet>) -> StoredKey {
        let rules = match &record.scheme {
            Some(scheme) => Arc::new(RuleSet::of_record(scheme)),
            None => Arc::clone(default_rules),
        };
        StoredKey::with_rules(record, as_of, rules)
    }

    /// Compiles a record under rules that were compiled already, as all records of a scheme share them.
    #[must_use]
    pub fn with_rules(record: KeyRecord, as_of: Version, rules: Arc<RuleSet>) -> StoredKey {
        let app = Arc::new(record.app.clone());
        StoredKey::sharing(record, as_of, app, rules)
    }

    /// Compiles a record that shares its app, which must equal the record's own, and its rules with others.
    #[must_use]
    pub fn sharing(record: KeyRecord, as_of: Version, app: Arc<AppRecord>, rules: Arc<RuleSet>) -> StoredKey {
        let mut permissions: Vec<Box<str>> = record
            .permissions
            .into_iter()
            .filter(|permission| app.permissions.is_empty() || app.permissions.contains(permission))
            .map(String::into_boxed_str)
            .collect();
        permissions.sort_unstable();
        permissions.dedup();
        StoredKey {
            key_id: record.key_id,
            lineage_id: record.lineage_id,
            deployment_id: record.deployment_id,
            app,
            name: record.name.into_boxed_str(),
            permissions: permissions.into_boxed_slice(),
            metadata: record.metadata,
            owner_user_id: record.owner_user_id,
            organization_id: record.organization_id,
            workspace_id: record.workspace_id,
            expires_at_us: record.expires_at_us,
            revoked_at_us: record.revoked_at_us,
            rules,
            as_of,
            usage_view: Derived::default(),
            trusted_at: AtomicU64::new(0),
        }
    }
}
