//! What keys were used for: counts by key, minute and outcome, each batch added up exactly once.
//!
//! Knows nothing of gateways or of what an outcome means. Counts are no part of the change log: no decision rests on them.
//! The control API records, shows and compacts.

mod piece;

use crate::sql::{Row, sql};
use crate::{Store, StoreError, column};
use jiff::{SignedDuration, Timestamp};
use piece::Piece;
use portcullis_record::usage::{USAGE_ROWS_MAX, UsageOutcome, UsageRow};
use portcullis_verify::{DeploymentId, KeyId};
use std::ops::RangeInclusive;

/// How long the id of a batch is remembered: nobody sends one again after so long.
const BATCH_LIFE: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Rows of a batch that one transaction adds: a revocation waits for no more than that.
const PIECE_ROWS: usize = 500;
/// Rows that one transaction of a compaction deletes.
const COMPACTED_MAX: i64 = 5_000;

/// Requests of a key in one minute that ended the same way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyUsage {
    /// The minute, in whole minutes since the Unix epoch.
    pub minute: i64,
    /// How they ended.
    pub outcome: UsageOutcome,
    /// How many, of all gateways.
    pub count: u64,
}

/// Whose batch, which, and which piece of it.
struct PieceName {
    sender: DeploymentId,
    batch_id: [u8; 16],
    number: i64,
}

impl Store {
    /// Adds the counts of a batch and raises the keys' `last_used_at`, unless a batch of this deployment with this id was
    /// recorded in the last 7 days; answers whether any of it was added.
    ///
    /// A large batch is added in pieces of so many rows, each remembered with the batch's id, so that others write in between. After
    /// an error, what is missing is added when the same batch is sent again.
    ///
    /// Rows of keys of other deployments are ignored. A time in the future, from a gateway whose clock is ahead, counts as now.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] for more than [`USAGE_ROWS_MAX`] rows or values that no gateway sends;
    /// [`StoreError::Unavailable`]: then the same batch can be sent again.
    pub async fn record_usage(
        &self,
        deployment_id: DeploymentId,
        batch_id: [u8; 16],
        rows: &[UsageRow],
    ) -> Result<bool, StoreError> {
        self.add_up(deployment_id, batch_id, rows, Some(deployment_id)).await
    }

    /// The same for a process that decides for every deployment: rows of all keys are added.
    ///
    /// # Errors
    /// As [`Store::record_usage`].
    pub async fn record_usage_of_all(&self, batch_id: [u8; 16], rows: &[UsageRow]) -> Result<bool, StoreError> {
        let first = self.ensure_first_deployment().await?;
        self.add_up(first.id, batch_id, rows, None).await
    }

    /// Adds up a batch under `sender`'s name; rows of keys that are not `of`'s are ignored.
    async fn add_up(
        &self,
        sender: DeploymentId,
        batch_id: [u8; 16],
        rows: &[UsageRow],
        of: Option<DeploymentId>,
    ) -> Result<bool, StoreError> {
        if rows.len() > USAGE_ROWS_MAX {
            return Err(StoreError::invalid(format!(
                "rows: a batch has at most {USAGE_ROWS_MAX} rows"
            )));
        }
        let now = self.now()?;
        let mut pieces = rows
            .chunks(PIECE_ROWS)
            .map(|piece| Piece::of(piece, now))
            .collect::<Result<Vec<_>, _>>()?;
        if pieces.is_empty() {
            pieces.push(Piece::default());
        }
        let mut is_new = false;
        for (number, piece) in (0_i64..).zip(pieces) {
            let name = PieceName {
                sender,
                batch_id,
                number,
            };
            is_new |= self.add_piece(&name, piece, of, now).await?;
        }
        Ok(is_new)
    }

    async fn add_piece(
        &self,
        name: &PieceName,
        piece: Piece,
        of: Option<DeploymentId>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut transaction = self.begin_aside().await?;
        let inserted = sql(
            "INSERT INTO usage_batches (deployment_id, batch_id, piece, recorded_at_us) VALUES ($1, $2, $3, $4)
             ON CONFLICT DO NOTHING",
        )
        .bind(name.sender.0)
        .bind(&name.batch_id[..])
        .bind(name.number)
        .bind(now.as_microsecond())
        .execute(&mut transaction)
        .await?;
        if inserted == 0 {
            return Ok(false);
        }
        piece.add(&mut transaction, of).await?;
        transaction.commit_aside().await?;
        Ok(true)
    }

    /// The counts of a key in these minutes since the Unix epoch, by minute and outcome. None for a key that is not the
    /// deployment's.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn usage_of_key(
        &self,
        deployment_id: DeploymentId,
        key_id: KeyId,
        minutes: RangeInclusive<i64>,
    ) -> Result<Vec<KeyUsage>, StoreError> {
        let rows = sql("SELECT u.minute, u.outcome, u.count
             FROM keys AS k JOIN key_usage AS u ON u.key_id = k.id
             WHERE k.id = $1 AND k.deployment_id = $2 AND u.minute >= $3 AND u.minute <= $4
             ORDER BY u.minute, u.outcome")
        .bind(key_id.0)
        .bind(deployment_id.0)
        .bind(*minutes.start())
        .bind(*minutes.end())
        .fetch_all(&mut self.reader().await?)
        .await?;
        rows.iter().map(key_usage).collect()
    }

    /// Deletes the counts of the minutes before `before_minute` (since the Unix epoch) and the ids of batches that are more than
    /// 7 days old; answers how many rows went. It lets others write in between.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]; what was deleted before stays deleted.
    pub async fn compact_usage(&self, before_minute: i64) -> Result<u64, StoreError> {
        let expired = self.now()?.checked_sub(BATCH_LIFE).map_err(StoreError::unavailable)?;
        let counts = self
            .delete_in_pieces(
                "DELETE FROM key_usage WHERE (key_id, minute, outcome) IN (
                     SELECT key_id, minute, outcome FROM key_usage WHERE minute < $1 ORDER BY minute LIMIT $2)",
                before_minute,
            )
            .await?;
        let batches = self
            .delete_in_pieces(
                "DELETE FROM usage_batches WHERE (deployment_id, batch_id, piece) IN (
                     SELECT deployment_id, batch_id, piece FROM usage_batches
                     WHERE recorded_at_us < $1 ORDER BY recorded_at_us LIMIT $2)",
                expired.as_microsecond(),
            )
            .await?;
        Ok(counts + batches)
    }

    async fn delete_in_pieces(&self, statement: &'static str, before: i64) -> Result<u64, StoreError> {
        let mut deleted = 0;
        loop {
            let mut transaction = self.begin_aside().await?;
            let piece = sql(statement)
                .bind(before)
                .bind(COMPACTED_MAX)
                .execute(&mut transaction)
                .await?;
            transaction.commit_aside().await?;
            if piece == 0 {
                return Ok(deleted);
            }
            deleted += piece;
        }
    }
}

fn key_usage(row: &Row) -> Result<KeyUsage, StoreError> {
    Ok(KeyUsage {
        minute: row.try_get("minute")?,
        outcome: piece::outcome(row.try_get("outcome")?)?,
        count: column::count(row.try_get("count")?)?,
    })
}
