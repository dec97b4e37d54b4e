//! A key record in SQL: the columns it is read from, and how a row becomes one.
//!
//! Decides nothing: dead keys are records like any other. The calls that look keys up and the one that pages through them share it,
//! so that whichever way a record travels it says the same.

use crate::sql::Row;
use crate::{StoreError, column};
use portcullis_verify::{AppId, AppRecord, DeploymentId, KeyId, KeyRecord, SchemeId, SchemeRecord};

/// What a record is read from, of the keys `k`, the apps `a` and the schemes `s`.
///
/// A revocation that has begun is told as one that always held: a gateway whose wall clock is set back must not admit the
/// key again. Only the end of a grace period is told as a time.
macro_rules! record_columns {
    () => {
        "k.id, k.lineage_id, k.deployment_id, k.name, k.permissions, k.metadata,
         COALESCE(k.owner_user_id, a.user_id) AS owner_user_id, k.expires_at_us,
         CASE WHEN k.revoked_at_us <= k.updated_at_us THEN 0 ELSE k.revoked_at_us END AS revoked_at_us,
         a.id AS app_id, a.slug AS app_slug, a.organization_id, a.workspace_id,
         a.is_active AND a.deleted_at_us IS NULL AS app_is_active, a.permissions AS app_permissions,
         a.resources AS app_resources, s.id AS scheme_id, s.rules AS scheme_rules,
         COALESCE(k.scheme_id <> COALESCE(a.scheme_id, 0), FALSE) AS scheme_is_keys_own"
    };
}

/// What makes those columns out of `k`.
macro_rules! record_joins {
    () => {
        "LEFT JOIN apps AS a ON a.id = k.app_id
         LEFT JOIN schemes AS s ON s.id = COALESCE(k.scheme_id, a.scheme_id)"
    };
}

pub(crate) use {record_columns, record_joins};

/// The record of a row, or `None` where there is no key beside what else the row is there to carry.
pub(crate) fn read(row: &Row) -> Result<Option<KeyRecord>, StoreError> {
    let Some(id) = row.try_get("id")? else { return Ok(None) };
    let scheme = match row.try_get("scheme_id")? {
        None => None,
        Some(id) => Some(SchemeRecord {
            id: SchemeId(id),
            is_keys_own: row.try_get("scheme_is_keys_own")?,
            rules: column::from_json(row.try_get("scheme_rules")?)?,
        }),
    };
    Ok(Some(KeyRecord {
        key_id: KeyId(id),
        lineage_id: KeyId(row.try_get("lineage_id")?),
        deployment_id: DeploymentId(row.try_get("deployment_id")?),
        app: AppRecord {
            id: AppId(row.try_get("app_id")?),
            slug: row.try_get("app_slug")?,
            is_active: row.try_get("app_is_active")?,
            permissions: column::from_json(row.try_get("app_permissions")?)?,
            resources: column::from_json(row.try_get("app_resources")?)?,
        },
        name: row.try_get("name")?,
        permissions: column::from_json(row.try_get("permissions")?)?,
        metadata: column::from_json(row.try_get("metadata")?)?,
        owner_user_id: row.try_get("owner_user_id")?,
        organization_id: row.try_get("organization_id")?,
        workspace_id: row.try_get("workspace_id")?,
        expires_at_us: row.try_get("expires_at_us")?,
        revoked_at_us: row.try_get("revoked_at_us")?,
        scheme,
    }))
}
