//! The store as those see it who look keys up: hashes go in, records and the version they were read at come out.
//!
//! One statement reads both, so that both come from one snapshot. Decides nothing: dead keys are records like any other. The
//! verifier asks for one key, the control API for those that a gateway does not know.

use crate::key_record::{self, record_columns, record_joins};
use crate::placeholders::{PIECE_MAX, numbered, padded};
use crate::sql::sql;
use crate::{Store, StoreError, change_log, column};
use portcullis_verify::{DeploymentId, Fetched, KeyHash, KeyRecord, KeySource, SourceError, Version};
use sqlx::AssertSqlSafe;
use std::collections::HashMap;

/// One row always: the version, and beside it the key if there is one.
const RECORD_AND_VERSION: &str = concat!(
    "SELECT head.epoch, head.revision, ",
    record_columns!(),
    " FROM log_head AS head LEFT JOIN keys AS k ON k.hash = $1 ",
    record_joins!()
);

/// The same for so many hashes. Whose the keys are is looked at afterwards, so that nothing but the hashes can find them.
fn records_and_version(hashes: usize) -> String {
    format!(
        "SELECT head.epoch, head.revision, k.hash, {} FROM log_head AS head LEFT JOIN keys AS k ON k.hash IN ({}) {}",
        record_columns!(),
        numbered(1, "?", hashes),
        record_joins!()
    )
}

impl Store {
    /// What is known of each of these hashes, in their order, and the version of the one snapshot that was read.
    ///
    /// `None`: the deployment has no key with this hash, or its app is not one of `apps` (slugs; empty: all).
    ///
    /// # Errors
    /// [`StoreError::Invalid`] for more than 256 hashes, [`StoreError::Unavailable`].
    pub async fn fetch_many(
        &self,
        deployment_id: DeploymentId,
        apps: &[String],
        hashes: &[KeyHash],
    ) -> Result<(Version, Vec<Option<KeyRecord>>), StoreError> {
        if hashes.len() > PIECE_MAX {
            return Err(StoreError::invalid(format!("hashes: at most {PIECE_MAX} at once")));
        }
        let asked = padded(hashes.len());
        let mut statement = sql(AssertSqlSafe(records_and_version(asked)));
        // An empty question still asks for the version; no key has the hash of nothing but zeros.
        let filler = hashes.last().copied().unwrap_or(KeyHash([0; 32]));
        for hash in hashes.iter().chain(std::iter::repeat(&filler)).take(asked) {
            statement = statement.bind(&hash.0[..]);
        }
        let rows = statement.fetch_all(&mut self.reader().await?).await?;
        let first = rows
            .first()
            .ok_or_else(|| StoreError::unavailable("the change log has no head"))?;
        let as_of = change_log::version(first.try_get("epoch")?, first.try_get("revision")?)?;
        let mut known = HashMap::with_capacity(rows.len());
        for row in &rows {
            if let Some(record) = key_record::read(row)?
                && record.deployment_id == deployment_id
                && (apps.is_empty() || apps.contains(&record.app.slug))
            {
                known.insert(column::key_hash(row.try_get("hash")?)?, record);
            }
        }
        // A hash that is asked for twice is answered twice.
        Ok((as_of, hashes.iter().map(|hash| known.get(hash).cloned()).collect()))
    }
}

#[async_trait::async_trait]
impl KeySource for Store {
    async fn fetch(&self, hash: &KeyHash) -> Result<Fetched, SourceError> {
        fetch(self, hash).await.map_err(|error| SourceError {
            cause: with_sources(&error),
        })
    }
}

async fn fetch(store: &Store, hash: &KeyHash) -> Result<Fetched, StoreError> {
    let row = sql(RECORD_AND_VERSION)
        .bind(&hash.0[..])
        .fetch_one(&mut store.reader().await?)
        .await?;
    let as_of = change_log::version(row.try_get("epoch")?, row.try_get("revision")?)?;
    Ok(Fetched {
        as_of,
        record: key_record::read(&row)?,
    })
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
        async fn check(store: &Store, statement: &str, hashes: usize) {
            let mut explain = sql(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}")));
            for _ in 0..hashes {
                explain = explain.bind(&[0_u8; 32][..]);
            }
            let plan = explain.fetch_all(&mut store.reader().await.unwrap()).await.unwrap();
            let steps: Vec<String> = plan.iter().map(|row| row.try_get("detail").unwrap()).collect();
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
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/store.db", folder.path().display());
        let store = Store::open(&url, Clock::system()).await.unwrap();
        check(&store, RECORD_AND_VERSION, 1).await;
        for hashes in [1, 16, PIECE_MAX] {
            check(&store, &records_and_version(hashes), hashes).await;
        }
    }
}
