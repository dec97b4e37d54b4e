//! Whether this is the history that was last written here, or a copy of it that came back from a backup.
//!
//! A copy has forgotten changes that gateways have applied, and would give their revisions to others; under a new epoch none of
//! them is taken for what it was. Where a database is at home, each database says itself. Roles that own the store call this at
//! their start; the write path and the change log ask again where a database may be exchanged under a running process.

use crate::database::{Connection, Database};
use crate::sql::sql;
use crate::{Store, StoreError, change_log};
use portcullis_verify::Version;

/// That a history began anew.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Renewal {
    /// Where it began.
    pub(crate) head: Version,
    why: &'static str,
}

impl Store {
    /// Gives the history a new epoch if the database turns out to be a copy, moved, or never settled before; answers the new
    /// head if it did. Revisions go on counting up; all that was learnt under the old epoch must be learnt again, which costs
    /// each gateway a look-up per key and is never wrong.
    ///
    /// Ordinary restarts keep the epoch, also after a kill. Not noticed is a backup of the whole machine or volume, with
    /// everything that says where the database is at home.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn settle_history(&self) -> Result<Option<Version>, StoreError> {
        self.settle(None).await
    }

    /// The same for a caller who knows of somebody that has applied every change up to `seen`: where that is more than this
    /// history has, changes are missing, although the database seems to be where it was, as after a machine was set back as a
    /// whole.
    ///
    /// Whoever is believed can make every gateway read everything again, as often as the caller asks.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn settle_history_seen(&self, seen: Version) -> Result<Option<Version>, StoreError> {
        self.settle(Some(seen)).await
    }

    async fn settle(&self, seen: Option<Version>) -> Result<Option<Version>, StoreError> {
        let mut write = self.begin_unsettled().await?;
        write.settle(seen).await?;
        let renewal = write.commit_unlogged().await?;
        self.mark_settled();
        Ok(renewal.map(|renewal| renewal.head))
    }
}

/// Renews the epoch within a write transaction if the database is not where it was, or less far than somebody has seen it.
pub(crate) async fn renew_if_moved(
    database: &Database,
    transaction: &mut Connection,
    seen: Option<Version>,
) -> Result<Option<Renewal>, StoreError> {
    let head = change_log::head(transaction).await?;
    let is_behind = seen.is_some_and(|seen| seen.epoch == head.epoch && seen.revision > head.revision);
    let why = match database.why_moved(transaction, head).await? {
        Some(why) => why,
        None if is_behind => "changes are missing that somebody has applied",
        None => {
            database.note(head);
            return Ok(None);
        }
    };
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(StoreError::unavailable)?;
    // Positive in 63 bits, and never 0.
    let epoch = (i64::from_le_bytes(random) & i64::MAX) | 1;
    // What the log tells of belongs to another history.
    sql("UPDATE log_head SET epoch = $1, floor = revision")
        .bind(epoch)
        .execute(transaction)
        .await?;
    let head = change_log::head(transaction).await?;
    database.settle(transaction, head).await?;
    Ok(Some(Renewal { head, why }))
}

/// Tells the operator of a renewal that was committed. A store that nobody can have followed yet is not worth a warning.
pub(crate) fn tell(renewal: Option<Renewal>) {
    let Some(Renewal { head, why }) = renewal else { return };
    let Version { epoch, revision } = head;
    if revision == 0 {
        tracing::debug!(epoch, "the change log begins");
    } else {
        tracing::warn!(
            epoch,
            revision,
            why,
            "the change log begins a new history; caches and gateways read again what they hold"
        );
    }
}
