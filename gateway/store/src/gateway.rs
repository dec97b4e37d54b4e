//! The registry of gateways: who was welcomed, how far each is, and until when it must be waited for.
//!
//! Keeps what control processes note of their own connections, so that the others, and the next one after a kill, know whom to
//! wait for. Decides nothing of who is alive, and is no part of the change log. The control API notes, lists and forgets.

use crate::database::Connection;
use crate::placeholders::{PIECE_MAX, numbered, pieces};
use crate::sql::{Row, sql};
use crate::{Store, StoreError, change_log, column};
use jiff::{SignedDuration, Timestamp};
use portcullis_verify::{DeploymentId, Version};
use sqlx::AssertSqlSafe;
use std::collections::HashSet;

/// How long a row that another control process has superseded is kept once it counts no more: longer than the clocks of two
/// control processes are apart.
const SUPERSEDED_FOR: SignedDuration = SignedDuration::from_hours(1);

/// A gateway, as a control process last noted it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayRow {
    /// What its process drew when it started; unique in the deployment.
    pub gateway_id: String,
    /// The deployment it was welcomed to.
    pub deployment_id: DeploymentId,
    /// The token it came with.
    pub token_id: i64,
    /// What its operator calls it.
    pub name: String,
    /// Its version of Portcullis.
    pub version: String,
    /// Where it came from.
    pub address: String,
    /// The control process that noted this.
    pub control_id: String,
    /// It has applied every change up to here; all zero: nothing yet.
    pub applied: Version,
    /// How long before `seen_at` it last knew that it was up to date, in milliseconds.
    pub staleness_ms: u64,
    /// After how many milliseconds without news it stops trusting what it holds.
    pub stale_max_ms: u64,
    /// It goes on serving even then.
    pub serves_stale: bool,
    /// It was connected to `control_id` when this was noted. A process that was killed takes nothing back: whoever shows this
    /// compares `counts_until` with the time.
    pub is_connected: bool,
    /// When this connection began, by the clock of `control_id`.
    pub welcomed_at: Timestamp,
    /// When it was last heard.
    pub seen_at: Timestamp,
    /// Until when it may serve by what it has applied: `stale_max_ms` after its last pong, or later.
    pub counts_until: Timestamp,
}

impl Store {
    /// Notes gateways, in their order; durable when it returns. It takes no revision and wakes nobody. Many are noted in several
    /// transactions, so that a revocation waits for few of them.
    ///
    /// Every control process has a row of its own for each gateway, so that none can shorten what another one promised. While
    /// `is_connected`, `counts_until` only moves on: a renewal that comes late takes nothing back. The end of a connection says
    /// when its last pong was sent, and so may move it back, but only for the very connection that the row is of, told by
    /// `welcomed_at`; the end of an earlier one is ignored.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] for numbers past 2⁶³, before any is noted; [`StoreError::Unavailable`]: then some may be noted, and
    /// all can be again.
    pub async fn note_gateways(&self, rows: &[GatewayRow]) -> Result<(), StoreError> {
        for row in rows {
            for number in [
                row.applied.epoch,
                row.applied.revision,
                row.staleness_ms,
                row.stale_max_ms,
            ] {
                signed(number)?;
            }
        }
        for run in runs_without_repeats(rows) {
            for some in run.chunks(PIECE_MAX) {
                let mut transaction = self.begin_aside().await?;
                for piece in pieces(some) {
                    upsert(&mut transaction, piece).await?;
                }
                transaction.commit_aside().await?;
            }
        }
        Ok(())
    }

    /// The gateways of a deployment that were seen, or count, at `seen_after` or later, by id. With the present time: all that
    /// must be waited for.
    ///
    /// What several control processes noted of one gateway is one row: the latest, with the last `counts_until` of all, and as
    /// applied what it applied last in that history.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn list_gateways(
        &self,
        deployment_id: DeploymentId,
        seen_after: Timestamp,
    ) -> Result<Vec<GatewayRow>, StoreError> {
        // Whoever was seen counted at least until then.
        let rows = sql(
            "SELECT deployment_id, gateway_id, control_id, token_id, name, version, address, applied_epoch,
                    applied_revision, staleness_ms, stale_max_ms, serves_stale, is_connected, welcomed_at_us,
                    seen_at_us, counts_until_us
             FROM gateways WHERE deployment_id = $1 AND counts_until_us >= $2
             ORDER BY gateway_id, seen_at_us DESC, control_id",
        )
        .bind(deployment_id.0)
        .bind(seen_after.as_microsecond())
        .fetch_all(&mut self.reader().await?)
        .await?;
        let mut merged: Vec<GatewayRow> = vec![];
        for row in &rows {
            let row = gateway(row)?;
            match merged.last_mut() {
                Some(latest) if latest.gateway_id == row.gateway_id => merge(latest, &row),
                _ => merged.push(row),
            }
        }
        Ok(merged)
    }

    /// Forgets the gateways that were last seen before this time and no longer count, and rows that a later connection to
    /// another control process has superseded; answers how many rows.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn forget_gateways(&self, seen_before: Timestamp) -> Result<u64, StoreError> {
        let superseded_before = self
            .now()?
            .checked_sub(SUPERSEDED_FOR)
            .map_err(StoreError::unavailable)?;
        let mut transaction = self.begin_aside().await?;
        let forgotten = sql("DELETE FROM gateways
             WHERE counts_until_us < $1
                OR (counts_until_us < $2
                    AND EXISTS (SELECT 1 FROM gateways AS later
                                WHERE later.deployment_id = gateways.deployment_id
                                  AND later.gateway_id = gateways.gateway_id
                                  AND later.seen_at_us > gateways.seen_at_us))")
        .bind(seen_before.min(superseded_before).as_microsecond())
        .bind(superseded_before.as_microsecond())
        .execute(&mut transaction)
        .await?;
        transaction.commit_aside().await?;
        Ok(forgotten)
    }
}

/// Cuts a list so that no piece has two rows for one place: a statement writes each place once.
fn runs_without_repeats(mut rows: &[GatewayRow]) -> impl Iterator<Item = &[GatewayRow]> {
    std::iter::from_fn(move || {
        let mut places = HashSet::new();
        let end = rows
            .iter()
            .position(|row| !places.insert((row.deployment_id, &row.gateway_id, &row.control_id)))
            .unwrap_or(rows.len());
        let (run, rest) = rows.split_at(end);
        rows = rest;
        (!run.is_empty()).then_some(run)
    })
}

async fn upsert(connection: &mut Connection, rows: &[GatewayRow]) -> Result<(), StoreError> {
    let values = numbered(1, "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows.len());
    let mut statement = sql(AssertSqlSafe(format!(
        "INSERT INTO gateways (deployment_id, gateway_id, control_id, token_id, name, version, address,
                               applied_epoch, applied_revision, staleness_ms, stale_max_ms, serves_stale,
                               is_connected, welcomed_at_us, seen_at_us, counts_until_us)
         VALUES {values}
         ON CONFLICT (deployment_id, gateway_id, control_id) DO UPDATE SET
             token_id = excluded.token_id, name = excluded.name, version = excluded.version,
             address = excluded.address, applied_epoch = excluded.applied_epoch,
             applied_revision = excluded.applied_revision, staleness_ms = excluded.staleness_ms,
             stale_max_ms = excluded.stale_max_ms, serves_stale = excluded.serves_stale,
             is_connected = excluded.is_connected, welcomed_at_us = excluded.welcomed_at_us,
             seen_at_us = excluded.seen_at_us,
             counts_until_us = CASE
                 WHEN excluded.is_connected AND gateways.counts_until_us > excluded.counts_until_us
                 THEN gateways.counts_until_us ELSE excluded.counts_until_us END
         WHERE excluded.is_connected OR gateways.welcomed_at_us = excluded.welcomed_at_us"
    )));
    for row in rows {
        statement = statement
            .bind(row.deployment_id.0)
            .bind(text(&row.gateway_id))
            .bind(text(&row.control_id))
            .bind(row.token_id)
            .bind(text(&row.name))
            .bind(text(&row.version))
            .bind(text(&row.address))
            .bind(signed(row.applied.epoch)?)
            .bind(signed(row.applied.revision)?)
            .bind(signed(row.staleness_ms)?)
            .bind(signed(row.stale_max_ms)?)
            .bind(row.serves_stale)
            .bind(row.is_connected)
            .bind(row.welcomed_at.as_microsecond())
            .bind(row.seen_at.as_microsecond())
            .bind(row.counts_until.as_microsecond());
    }
    statement.execute(connection).await?;
    Ok(())
}

/// Adds what an earlier row of the same gateway says.
fn merge(latest: &mut GatewayRow, earlier: &GatewayRow) {
    latest.counts_until = latest.counts_until.max(earlier.counts_until);
    if earlier.applied.covers(latest.applied) {
        latest.applied = earlier.applied;
    }
}

/// A text as every database takes it: a gateway's name must not keep others' rows from being written.
fn text(reported: &str) -> String {
    reported.replace('\0', "")
}

fn signed(number: u64) -> Result<i64, StoreError> {
    i64::try_from(number).map_err(|_| StoreError::invalid("a gateway reports a number past 2^63"))
}

fn gateway(row: &Row) -> Result<GatewayRow, StoreError> {
    Ok(GatewayRow {
        gateway_id: row.try_get("gateway_id")?,
        deployment_id: DeploymentId(row.try_get("deployment_id")?),
        token_id: row.try_get("token_id")?,
        name: row.try_get("name")?,
        version: row.try_get("version")?,
        address: row.try_get("address")?,
        control_id: row.try_get("control_id")?,
        applied: change_log::version(row.try_get("applied_epoch")?, row.try_get("applied_revision")?)?,
        staleness_ms: column::count(row.try_get("staleness_ms")?)?,
        stale_max_ms: column::count(row.try_get("stale_max_ms")?)?,
        serves_stale: row.try_get("serves_stale")?,
        is_connected: row.try_get("is_connected")?,
        welcomed_at: column::timestamp(row.try_get("welcomed_at_us")?)?,
        seen_at: column::timestamp(row.try_get("seen_at_us")?)?,
        counts_until: column::timestamp(row.try_get("counts_until_us")?)?,
    })
}
