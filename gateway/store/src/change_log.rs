//! The change log: every mutation, in commit order, numbered without gaps.
//!
//! It says what may be stale, never the new value. One tailer per process reads it with [`Store::changes_after`] and
//! applies it to the caches; entries are written only by the write path, in the mutation's own transaction.

use crate::database::Connection;
use crate::sql::{Row, sql};
use crate::{Store, StoreError, column};
use jiff::Timestamp;
use portcullis_verify::{AppId, Change, ChangeKind, DeploymentId, KeyHash, SchemeId, Version};

/// What the log holds after a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changes {
    /// The next changes, oldest first and without gaps; fewer than asked for only when there are no more.
    Replay {
        /// The changes; empty when the revision is the head.
        changes: Vec<Change>,
        /// The head of the log in the same snapshot.
        head: Version,
    },
    /// The changes after this revision cannot be told: some of them are no longer in the log, or the log never came so
    /// far (it is another history). Whoever holds data must distrust all of it and go on from `head`.
    Reset {
        /// The head of the log.
        head: Version,
    },
}

/// What a mutation did, with its subject. Finer than [`ChangeKind`], which tells only what a key cache must hear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    KeyCreated(KeyHash),
    /// Revoked, rotated away, or edited.
    KeyChanged(KeyHash),
    AppCreated(AppId),
    /// Edited, switched off, given another scheme, or deleted.
    AppChanged(AppId),
    SchemeCreated(SchemeId),
    /// Edited or deleted.
    SchemeChanged(SchemeId),
    DeploymentCreated(DeploymentId),
    PlanChanged(DeploymentId),
    TokenCreated(i64),
    TokenRevoked(i64),
}

impl Event {
    /// The columns `kind`, `key_hash` and `subject_id`.
    fn columns(&self) -> (&'static str, Option<&[u8]>, Option<i64>) {
        match self {
            Event::KeyCreated(hash) => ("key_created", Some(&hash.0), None),
            Event::KeyChanged(hash) => ("key_changed", Some(&hash.0), None),
            Event::AppCreated(id) => ("app_created", None, Some(id.0)),
            Event::AppChanged(id) => ("app_changed", None, Some(id.0)),
            Event::SchemeCreated(id) => ("scheme_created", None, Some(id.0)),
            Event::SchemeChanged(id) => ("scheme_changed", None, Some(id.0)),
            Event::DeploymentCreated(id) => ("deployment_created", None, Some(id.0)),
            Event::PlanChanged(id) => ("plan_changed", None, Some(id.0)),
            Event::TokenCreated(id) => ("token_created", None, Some(*id)),
            Event::TokenRevoked(id) => ("token_revoked", None, Some(*id)),
        }
    }
}

impl Store {
    /// The head of the change log.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn current_version(&self) -> Result<Version, StoreError> {
        head(&mut self.reader().await?).await
    }

    /// The changes after `revision`, at most `limit` of them, and the head, in one snapshot.
    ///
    /// The caller compares the head's epoch with the one its revision belongs to: another epoch is another history. Where
    /// [`Store::settle_history`] was called, a revision past the head has it look again whether another database has taken
    /// this one's place.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn changes_after(&self, revision: u64, limit: u32) -> Result<Changes, StoreError> {
        let rows = sql(
            "SELECT head.epoch AS head_epoch, head.revision AS head_revision, head.floor,
                    log.epoch, log.revision, log.deployment_id, log.kind, log.key_hash, log.subject_id
             FROM log_head AS head
             LEFT JOIN (SELECT revision, epoch, deployment_id, kind, key_hash, subject_id FROM change_log WHERE revision > $1 ORDER BY revision LIMIT $2) AS log ON TRUE
             ORDER BY log.revision",
        )
        .bind(i64::try_from(revision).unwrap_or(i64::MAX))
        .bind(limit)
        .fetch_all(&mut self.reader().await?)
        .await?;
        let first = rows
            .first()
            .ok_or_else(|| StoreError::unavailable("the change log has no head"))?;
        let head = version(first.try_get("head_epoch")?, first.try_get("head_revision")?)?;
        let floor = column::count(first.try_get("floor")?)?;
        self.note(head);
        if revision > head.revision && self.is_settled() {
            // Whoever asks has seen more than there is: another database may have taken this one's place.
            let head = self.settle_history().await?.unwrap_or(head);
            return Ok(Changes::Reset { head });
        }
        if revision < floor || revision > head.revision {
            return Ok(Changes::Reset { head });
        }
        let changes = rows
            .iter()
            .map(change)
            .filter_map(Result::transpose)
            .collect::<Result<_, StoreError>>()?;
        Ok(Changes::Replay { changes, head })
    }
}

/// The head of the log.
pub(crate) async fn head(connection: &mut Connection) -> Result<Version, StoreError> {
    let row = sql("SELECT epoch, revision FROM log_head")
        .fetch_one(connection)
        .await?;
    version(row.try_get("epoch")?, row.try_get("revision")?)
}

/// A version out of its two columns.
pub(crate) fn version(epoch: i64, revision: i64) -> Result<Version, StoreError> {
    Ok(Version {
        epoch: column::count(epoch)?,
        revision: column::count(revision)?,
    })
}

/// Takes the next revisions and writes one entry for each event. Nothing may follow it but the commit.
pub(crate) async fn append(
    connection: &mut Connection,
    deployment_id: DeploymentId,
    events: &[Event],
    at: Timestamp,
) -> Result<Version, StoreError> {
    let count = i64::try_from(events.len()).map_err(StoreError::unavailable)?;
    let head = sql("UPDATE log_head SET revision = revision + $1 RETURNING epoch, revision")
        .bind(count)
        .fetch_one(connection)
        .await?;
    let (epoch, last): (i64, i64) = (head.try_get("epoch")?, head.try_get("revision")?);
    for (revision, event) in (last - count + 1..).zip(events) {
        let (kind, key_hash, subject_id) = event.columns();
        sql(
            "INSERT INTO change_log (revision, epoch, deployment_id, kind, key_hash, subject_id, at_us)
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(revision)
        .bind(epoch)
        .bind(deployment_id.0)
        .bind(kind)
        .bind(key_hash)
        .bind(subject_id)
        .bind(at.as_microsecond())
        .execute(connection)
        .await?;
    }
    version(epoch, last)
}

/// The change of a row, or `None` in the one row that is there to carry the head alone.
fn change(row: &Row) -> Result<Option<Change>, StoreError> {
    let Some(revision) = row.try_get("revision")? else {
        return Ok(None);
    };
    let kind: String = row.try_get("kind")?;
    let key_hash = || column::key_hash(row.try_get("key_hash")?);
    let subject_id = || row.try_get("subject_id");
    let kind = match kind.as_str() {
        "key_created" => ChangeKind::KeyCreated(key_hash()?),
        "key_changed" => ChangeKind::KeyChanged(key_hash()?),
        "app_changed" => ChangeKind::AppChanged(AppId(subject_id()?)),
        "scheme_changed" => ChangeKind::SchemeChanged(SchemeId(subject_id()?)),
        "app_created" | "scheme_created" | "deployment_created" | "plan_changed" | "token_created" => ChangeKind::NoKey,
        "token_revoked" => ChangeKind::TokenRevoked(subject_id()?),
        // Skipping what is not understood could leave a dead key alive in a cache.
        unknown => {
            return Err(StoreError::unavailable(format!(
                "change {revision} is of the unknown kind `{unknown}`"
            )));
        }
    };
    Ok(Some(Change {
        version: version(row.try_get("epoch")?, revision)?,
        deployment_id: DeploymentId(row.try_get("deployment_id")?),
        kind,
    }))
}
