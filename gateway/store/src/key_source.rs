//! The store as the verifier sees it: a hash goes in, a record and the version it was read at come out.
//!
//! One statement reads both, so that both come from one snapshot. Decides nothing: dead keys are records like any
//! other.

use crate::sqlite::Row;
use crate::{Store, StoreError, change_log, column};
use portcullis_verify::{
    AppId, AppRecord, DeploymentId, Fetched, KeyHash, KeyId, KeyRecord, KeySource, SchemeId, SchemeRecord, SourceError,
};
use sqlx::Row as _;

/// One row always: the version, and beside it the key if there is one.
///
/// A revocation that has begun is told as one that always held: a gateway whose wall clock is set back must not admit the
/// key again. Only the end of a grace period is told as a time.
const RECORD_AND_VERSION: &str =
    "SELECT head.epoch, head.revision, k.id, k.lineage_id, k.deployment_id, k.name, k.permissions, k.metadata,
            COALESCE(k.owner_user_id, a.user_id) AS owner_user_id, k.expires_at_us,
            CASE WHEN k.revoked_at_us <= k.updated_at_us THEN 0 ELSE k.revoked_at_us END AS revoked_at_us,
            a.id AS app_id, a.slug AS app_slug, a.organization_id, a.workspace_id,
            a.is_active AND a.deleted_at_us IS NULL AS app_is_active, a.permissions AS app_permissions,
            a.resources AS app_resources, s.id AS scheme_id, s.rules AS scheme_rules
     FROM log_head AS head
     LEFT JOIN keys AS k ON k.hash = $1
     LEFT JOIN apps AS a ON a.id = k.app_id
     LEFT JOIN schemes AS s ON s.id = COALESCE(k.scheme_id, a.scheme_id)";

#[async_trait::async_trait]
impl KeySource for Store {
    async fn fetch(&self, hash: &KeyHash) -> Result<Fetched, SourceError> {
        fetch(self, hash).await.map_err(|error| SourceError {
            cause: with_sources(&error),
        })
    }
}

async fn fetch(store: &Store, hash: &KeyHash) -> Result<Fetched, StoreError> {
    let row = sqlx::query(RECORD_AND_VERSION)
        .bind(&hash.0[..])
        .fetch_one(&mut *store.reader().await?)
        .await?;
    let as_of = change_log::version(row.try_get("epoch")?, row.try_get("revision")?)?;
    Ok(Fetched {
        as_of,
        record: record(&row)?,
    })
}

fn record(row: &Row) -> Result<Option<KeyRecord>, StoreError> {
    let Some(id) = row.try_get("id")? else { return Ok(None) };
    let scheme = match row.try_get("scheme_id")? {
        None => None,
        Some(id) => Some(SchemeRecord {
            id: SchemeId(id),
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

/// The error with its private causes, for logs.
fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_verify::Clock;

    /// With a million keys a scan would take a second.
    #[tokio::test]
    async fn a_look_up_scans_no_table() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/store.db", folder.path().display());
        let store = Store::open(&url, Clock::system()).await.unwrap();
        let plan = sqlx::query(sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {RECORD_AND_VERSION}")))
            .bind(&[0_u8; 32][..])
            .fetch_all(&mut *store.reader().await.unwrap())
            .await
            .unwrap();
        let steps: Vec<String> = plan.iter().map(|row| row.get("detail")).collect();
        assert_eq!(steps.len(), 4, "{steps:?}");
        assert_eq!(steps[0], "SCAN head");
        assert!(
            steps[1].starts_with("SEARCH k USING INDEX") && steps[1].contains("(hash=?)"),
            "{steps:?}"
        );
        assert!(
            steps[2..].iter().all(|step| step.contains("USING INTEGER PRIMARY KEY")),
            "{steps:?}"
        );
    }
}
