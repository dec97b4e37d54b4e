//! What the look-up holds of a key: one allocation with all that a decision needs, compiled when it is filled.
//!
//! What it says of the key is immutable, so that a hit shares it without a lock; a change replaces it whole. Counters of limits live outside
//! it (an invalidation must not reset a limit); what it was used for is counted in it, by a crate that knows how.

use crate::{AppRecord, DeploymentId, Derived, KeyHash, KeyId, KeyRecord, RuleSet, Version};
use serde_json::{Map, Value};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, LazyLock, OnceLock};

/// A time that does not come.
const NEVER_US: i64 = i64::MAX;

/// A key as the look-up holds it.
///
/// The order is that of memory: two counts of `Arc` come first, and what every decision reads fills the first two lines of the cache
/// with them. The hash lies across their border, so that comparing it fetches both at once.
#[derive(Debug)]
#[repr(C)]
pub struct StoredKey {
    /// How many of the changes that concern more than one key this has been held against; kept by [`crate::lookup`].
    pub(crate) trusted_at: AtomicU64,
    /// The app. Keys of one app share it.
    pub app: Arc<AppRecord>,
    /// The rules that hold. Keys of one scheme share them.
    pub rules: Arc<RuleSet>,
    revoked_at_us: i64,
    /// Under which it is held. All zeroes in a record that is not made for a look-up.
    pub(crate) hash: KeyHash,
    expires_at_us: i64,
    /// The tenant.
    pub deployment_id: DeploymentId,
    /// The chain of rotations it belongs to; per-key counters follow it.
    pub lineage_id: KeyId,
    /// What this record was used for and nobody has gathered yet, in the form of whoever counts it. Zero at first.
    pub usage_word: AtomicU64,
    /// What the key may do: its permissions ∩ the app's (all of its own when the app names none), sorted, without repeats. Keys
    /// that may do the same share it.
    pub permissions: Arc<[Box<str>]>,
    /// This key.
    pub key_id: KeyId,
    /// The version of the snapshot this was read in.
    pub as_of: Version,
    /// The human name.
    pub name: Box<str>,
    /// What most keys have none of.
    more: Option<Box<More>>,
    /// The rarer part of what `usage_word` is for. Boxed, because it is seldom needed.
    usage_view: OnceLock<Box<Derived>>,
}

/// What no decision reads.
#[derive(Debug)]
struct More {
    metadata: Map<String, Value>,
    owner_user_id: Option<i64>,
    organization_id: Option<i64>,
    workspace_id: Option<i64>,
}

impl More {
    /// `None` if there is nothing.
    fn of(more: More) -> Option<Box<More>> {
        let ids = [more.owner_user_id, more.organization_id, more.workspace_id];
        let is_something = !more.metadata.is_empty() || ids.iter().any(Option::is_some);
        is_something.then(|| Box::new(more))
    }
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
        let permissions = Arc::from(StoredKey::permissions_of(&record));
        StoredKey::sharing(KeyHash([0; 32]), record, as_of, (app, rules, permissions))
    }

    /// What a key may do, by its record.
    pub(crate) fn permissions_of(record: &KeyRecord) -> Vec<Box<str>> {
        let of_app = &record.app.permissions;
        let mut permissions: Vec<Box<str>> = record
            .permissions
            .iter()
            .filter(|permission| of_app.is_empty() || of_app.contains(permission))
            .map(|permission| Box::from(permission.as_str()))
            .collect();
        permissions.sort_unstable();
        permissions.dedup();
        permissions
    }

    /// Compiles a record that shares with others what must equal its own: its app, its rules and what it may do.
    pub(crate) fn sharing(
        hash: KeyHash,
        record: KeyRecord,
        as_of: Version,
        (app, rules, permissions): (Arc<AppRecord>, Arc<RuleSet>, Arc<[Box<str>]>),
    ) -> StoredKey {
        StoredKey {
            trusted_at: AtomicU64::new(0),
            app,
            rules,
            revoked_at_us: record.revoked_at_us.unwrap_or(NEVER_US),
            hash,
            expires_at_us: record.expires_at_us.unwrap_or(NEVER_US),
            deployment_id: record.deployment_id,
            lineage_id: record.lineage_id,
            usage_word: AtomicU64::new(0),
            permissions,
            key_id: record.key_id,
            as_of,
            name: record.name.into_boxed_str(),
            more: More::of(More {
                metadata: record.metadata,
                owner_user_id: record.owner_user_id,
                organization_id: record.organization_id,
                workspace_id: record.workspace_id,
            }),
            usage_view: OnceLock::new(),
        }
    }

    /// The rarer part of what [`StoredKey::usage_word`] is for: room for whoever counts it.
    pub fn usage_view(&self) -> &Derived {
        self.usage_view.get_or_init(Box::default)
    }

    /// Microseconds since the Unix epoch from which the key is revoked.
    #[must_use]
    #[inline]
    pub fn revoked_at_us(&self) -> Option<i64> {
        (self.revoked_at_us != NEVER_US).then_some(self.revoked_at_us)
    }

    /// Microseconds since the Unix epoch from which the key is expired.
    #[must_use]
    #[inline]
    pub fn expires_at_us(&self) -> Option<i64> {
        (self.expires_at_us != NEVER_US).then_some(self.expires_at_us)
    }

    /// The free JSON object stored with the key.
    #[must_use]
    pub fn metadata(&self) -> &Map<String, Value> {
        static NONE: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);
        self.more.as_ref().map_or(&NONE, |more| &more.metadata)
    }

    /// The owning user.
    #[must_use]
    pub fn owner_user_id(&self) -> Option<i64> {
        self.more.as_ref()?.owner_user_id
    }

    /// The organization scope.
    #[must_use]
    pub fn organization_id(&self) -> Option<i64> {
        self.more.as_ref()?.organization_id
    }

    /// The workspace scope.
    #[must_use]
    pub fn workspace_id(&self) -> Option<i64> {
        self.more.as_ref()?.workspace_id
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::offset_of;

    #[test]
    fn a_decision_reads_two_lines_and_the_whole_is_three() {
        let counts = 2 * size_of::<usize>();
        assert_eq!(counts + size_of::<StoredKey>(), 3 * 64);
        assert!(counts + offset_of!(StoredKey, permissions) + size_of::<Arc<[Box<str>]>>() <= 2 * 64);
        let hash = counts + offset_of!(StoredKey, hash);
        assert!(hash < 64 && hash + size_of::<KeyHash>() > 64, "{hash}");
    }
}
