//! The keys of a deployment page by page, for a gateway that wants to know all of them before it is asked.
//!
//! A page is one statement and so one snapshot, with a version of its own; ids rise with commits, so that a key created meanwhile
//! is on a later page or told by the change log. Whoever asks says which apps; the control API asks.

use crate::key_record::{self, record_columns};
use crate::placeholders::numbered;
use crate::sql::sql;
use crate::{Store, StoreError, change_log, column};
use portcullis_verify::{AppId, DeploymentId, KeyHash, KeyId, KeyRecord, Version};
use sqlx::AssertSqlSafe;

/// Most keys in one page.
const PAGE_MAX: u32 = 1_000;
/// How many times as many keys as it may answer a call looks at when only some apps' are wanted.
const SCANNED_TIMES: u32 = 10;

/// Some of the keys, by rising id.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyPage {
    /// The version of the snapshot that was read.
    pub as_of: Version,
    /// The keys. There may be none although there are more: a call looks at a bounded number of keys, wanted or not.
    pub keys: Vec<(KeyHash, KeyRecord)>,
    /// What to ask for as `after` next. `None`: there are no more.
    pub next: Option<KeyId>,
}

impl Store {
    /// The next keys with an id above `after`, at most `limit` and 1 000: all of the deployment, those of the apps with the slugs
    /// `apps` if there are any, and of those only the ones of `app_id` if it is given.
    ///
    /// Left out is what opens nothing any more: keys that are expired or revoked (not those in a grace period) and those of
    /// deleted apps. An inactive app's keys are there, because it may be switched on again.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn key_page(
        &self,
        deployment_id: DeploymentId,
        apps: &[String],
        app_id: Option<AppId>,
        after: Option<KeyId>,
        limit: u32,
    ) -> Result<KeyPage, StoreError> {
        let limit = limit.clamp(1, PAGE_MAX);
        let scanned_max = if apps.is_empty() { limit } else { limit * SCANNED_TIMES };
        let mut statement = sql(AssertSqlSafe(page_text(apps.len(), app_id.is_some())))
            .bind(deployment_id.0)
            .bind(after.map_or(0, |id| id.0))
            .bind(scanned_max)
            .bind(self.now()?.as_microsecond())
            .bind(limit);
        if let Some(id) = app_id {
            statement = statement.bind(id.0);
        }
        for slug in apps {
            statement = statement.bind(slug);
        }
        let rows = statement.fetch_all(&mut self.reader().await?).await?;
        let first = rows
            .first()
            .ok_or_else(|| StoreError::unavailable("the change log has no head"))?;
        let as_of = change_log::version(first.try_get("epoch")?, first.try_get("revision")?)?;
        let scanned: i64 = first.try_get("scanned")?;
        let last_id: Option<i64> = first.try_get("last_id")?;
        let mut keys = Vec::with_capacity(rows.len());
        for row in &rows {
            if let Some(record) = key_record::read(row)? {
                keys.push((column::key_hash(row.try_get("hash")?)?, record));
            }
        }
        let is_cut = keys.len() >= usize::try_from(limit).unwrap_or(usize::MAX);
        let next = match keys.last() {
            Some((_, last)) if is_cut && Some(last.key_id.0) != last_id => Some(last.key_id),
            _ if scanned >= i64::from(scanned_max) => last_id.map(KeyId),
            _ => None,
        };
        Ok(KeyPage { as_of, keys, next })
    }
}

/// One row always: the version and how far the keys were looked at, and beside them the keys of the page.
///
/// `$1` deployment, `$2` after, `$3` keys to look at, `$4` now, `$5` limit, then the app and the slugs.
fn page_text(slugs: usize, is_of_one_app: bool) -> String {
    let (of, next) = if is_of_one_app {
        // An app of another deployment is none. Asked of the app, not of each key, so that the app's index is all there is to use.
        ("app_id = (SELECT id FROM apps WHERE id = $6 AND deployment_id = $1)", 7)
    } else {
        ("deployment_id = $1", 6)
    };
    let in_scope = if slugs == 0 {
        String::new()
    } else {
        format!("AND a.slug IN ({})", numbered(next, "?", slugs))
    };
    let columns = record_columns!();
    format!(
        "SELECT head.epoch, head.revision, looked_at.last_id, looked_at.scanned, page.*
         FROM log_head AS head
         CROSS JOIN (SELECT MAX(id) AS last_id, COUNT(*) AS scanned
                     FROM (SELECT id FROM keys WHERE {of} AND id > $2 ORDER BY id LIMIT $3) AS ids) AS looked_at
         LEFT JOIN (SELECT k.hash, {columns}
                    FROM (SELECT * FROM keys WHERE {of} AND id > $2 ORDER BY id LIMIT $3) AS k
                    JOIN apps AS a ON a.id = k.app_id
                    LEFT JOIN schemes AS s ON s.id = COALESCE(k.scheme_id, a.scheme_id)
                    WHERE a.deleted_at_us IS NULL {in_scope}
                      AND (k.revoked_at_us IS NULL OR k.revoked_at_us > $4)
                      AND (k.expires_at_us IS NULL OR k.expires_at_us > $4)
                    ORDER BY k.id LIMIT $5) AS page ON TRUE
         ORDER BY page.id"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_verify::Clock;

    /// However many keys there are, a page reads its own part of an index and nothing else.
    #[tokio::test]
    async fn a_page_scans_no_table() {
        async fn check(store: &Store, slugs: usize, is_of_one_app: bool, index: &str) {
            let text = page_text(slugs, is_of_one_app);
            let mut explain = sql(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {text}")));
            for _ in 0..5 + usize::from(is_of_one_app) {
                explain = explain.bind(1_i64);
            }
            for _ in 0..slugs {
                explain = explain.bind("slug");
            }
            let plan = explain.fetch_all(&mut store.reader().await.unwrap()).await.unwrap();
            let steps: Vec<String> = plan.iter().map(|row| row.try_get("detail").unwrap()).collect();
            let of_keys: Vec<&String> = steps.iter().filter(|step| step.starts_with("SEARCH keys ")).collect();
            assert_eq!(of_keys.len(), 2, "{steps:?}");
            assert!(
                of_keys
                    .iter()
                    .all(|step| step.contains(&format!("INDEX {index} ")) && step.contains("rowid>?")),
                "{steps:?}"
            );
            // What is scanned is the one row of the log's head and what came out of the searches.
            let scanned = ["SCAN ids", "SCAN k", "SCAN head", "SCAN looked_at", "SCAN page"];
            assert!(
                steps
                    .iter()
                    .filter(|step| step.starts_with("SCAN "))
                    .all(|step| scanned.contains(&step.trim_end_matches(" LEFT-JOIN"))),
                "{steps:?}"
            );
            assert!(
                steps.iter().any(|step| step.ends_with(" k") && step != "SCAN k"),
                "{steps:?}"
            );
        }
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/store.db", folder.path().display());
        let store = Store::open(&url, Clock::system()).await.unwrap();
        check(&store, 0, false, "keys_of_deployment").await;
        check(&store, 3, false, "keys_of_deployment").await;
        check(&store, 0, true, "keys_of_app").await;
        check(&store, 3, true, "keys_of_app").await;
    }
}
