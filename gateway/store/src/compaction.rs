//! The end of the change log's growth: entries that are old or too many go, and the log remembers from where on it is whole.
//!
//! Decides only what may go, never what a reader does without it: one that is behind the floor is told to distrust all it holds.
//! The control API calls it now and then.

use crate::sql::sql;
use crate::{Store, StoreError};
use jiff::SignedDuration;
use std::time::Duration;

/// Entries that one transaction deletes: writers wait for no more than that.
const PIECE: i64 = 1_000;

impl Store {
    /// Deletes the entries that are older than `keep_for`, and those beyond the newest `keep_rows`; answers how many went. The
    /// newest entry stays, whatever its age.
    ///
    /// Entries go in the order of the log only: where the clock was set back, an old one behind a young one waits for it. The floor
    /// rises with each piece in the same transaction, so that a reader either finds all that it missed or is told that it
    /// cannot. Writers take turns with it.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]; what was deleted before stays deleted.
    pub async fn compact_change_log(&self, keep_rows: u64, keep_for: Duration) -> Result<u64, StoreError> {
        let keep_for = SignedDuration::try_from(keep_for).unwrap_or(SignedDuration::MAX);
        // Nothing is older than the beginning of time.
        let old_before_us = self
            .now()?
            .checked_sub(keep_for)
            .map_or(i64::MIN, |at| at.as_microsecond());
        let keep_rows = i64::try_from(keep_rows).unwrap_or(i64::MAX).max(1);
        let mut deleted = 0;
        loop {
            let piece = self.compact_piece(keep_rows, old_before_us).await?;
            if piece == 0 {
                return Ok(deleted);
            }
            deleted += piece;
        }
    }

    async fn compact_piece(&self, keep_rows: i64, old_before_us: i64) -> Result<u64, StoreError> {
        let mut write = self.begin().await?;
        let row = sql("SELECT revision, (SELECT MIN(revision) FROM change_log) AS oldest FROM log_head")
            .fetch_one(write.connection())
            .await?;
        let head: i64 = row.try_get("revision")?;
        let Some(oldest) = row.try_get::<Option<i64>>("oldest")? else {
            return Ok(0);
        };
        let piece_end = (oldest + PIECE - 1).min(head - 1);
        let row = sql("SELECT MIN(revision) AS young FROM change_log WHERE revision <= $1 AND at_us >= $2")
            .bind(piece_end)
            .bind(old_before_us)
            .fetch_one(write.connection())
            .await?;
        let old_end = row
            .try_get::<Option<i64>>("young")?
            .map_or(piece_end, |young| young - 1);
        let beyond_end = piece_end.min(head - keep_rows);
        let end = old_end.max(beyond_end);
        if end < oldest {
            return Ok(0);
        }
        let deleted = sql("DELETE FROM change_log WHERE revision <= $1")
            .bind(end)
            .execute(write.connection())
            .await?;
        // Below the floor of a history that began later there may be entries of an earlier one.
        sql("UPDATE log_head SET floor = $1 WHERE floor < $1")
            .bind(end)
            .execute(write.connection())
            .await?;
        write.commit_unlogged().await?;
        Ok(deleted)
    }
}
