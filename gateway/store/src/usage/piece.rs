//! One piece of a batch of counts: added up, and then added to what is stored, in few statements.
//!
//! Refuses what no gateway sends, before anything is written. Knows neither batches nor transactions; [`super`] does.

use crate::StoreError;
use crate::database::Connection;
use crate::placeholders::{numbered, pieces};
use crate::sql::sql;
use jiff::Timestamp;
use portcullis_record::usage::{UsageOutcome, UsageRow};
use portcullis_verify::DeploymentId;
use sqlx::AssertSqlSafe;
use std::collections::{BTreeMap, HashSet};

/// Most requests that one row may tell of: far above what a minute can hold, and far below where sums overflow.
const ROW_COUNT_MAX: u64 = 1 << 40;
/// The longest name of a rule or a reason.
const OUTCOME_BYTES_MAX: usize = 200;
const MINUTE_US: i64 = 60_000_000;

/// What a piece adds up to, in the order in which rows are locked.
#[derive(Default)]
pub(super) struct Piece {
    /// By key, minute and outcome.
    counts: BTreeMap<(i64, i64, String), i64>,
    /// By key.
    last_used_us: BTreeMap<i64, i64>,
}

impl Piece {
    /// Adds up what rows say twice, and refuses what cannot be. Times after `now` count as now.
    pub(super) fn of(rows: &[UsageRow], now: Timestamp) -> Result<Piece, StoreError> {
        let now_us = now.as_microsecond();
        let mut piece = Piece::default();
        for row in rows {
            let count = i64::try_from(row.count.min(ROW_COUNT_MAX + 1)).map_err(StoreError::unavailable)?;
            if row.count == 0 || row.count > ROW_COUNT_MAX {
                return Err(StoreError::invalid(format!(
                    "rows: no minute has {} requests",
                    row.count
                )));
            }
            let minute = row.minute.clamp(0, now_us / MINUTE_US);
            *piece
                .counts
                .entry((row.key_id.0, minute, outcome_text(&row.outcome)?))
                .or_default() += count;
            let last = piece.last_used_us.entry(row.key_id.0).or_insert(i64::MIN);
            *last = (*last).max(row.last_at_us.clamp(0, now_us));
        }
        Ok(piece)
    }

    /// Adds it to what is stored, without the rows of keys that are not `of`'s; of any, if it is `None`.
    pub(super) async fn add(
        mut self,
        transaction: &mut Connection,
        of: Option<DeploymentId>,
    ) -> Result<(), StoreError> {
        let own = own_keys(transaction, of, self.last_used_us.keys().copied()).await?;
        self.counts.retain(|(key_id, _, _), _| own.contains(key_id));
        self.last_used_us.retain(|key_id, _| own.contains(key_id));
        add_counts(transaction, &self.counts).await?;
        raise_last_used(transaction, &self.last_used_us).await
    }
}

/// Those of `ids` that are keys of the deployment, or of any.
async fn own_keys(
    connection: &mut Connection,
    of: Option<DeploymentId>,
    ids: impl Iterator<Item = i64>,
) -> Result<HashSet<i64>, StoreError> {
    let ids: Vec<i64> = ids.collect();
    let mut own = HashSet::with_capacity(ids.len());
    for piece in pieces(&ids) {
        let list = numbered(2, "?", piece.len());
        let text = format!("SELECT id FROM keys WHERE deployment_id = COALESCE($1, deployment_id) AND id IN ({list})");
        let mut statement = sql(AssertSqlSafe(text)).bind(of.map(|of| of.0));
        for id in piece {
            statement = statement.bind(*id);
        }
        for row in statement.fetch_all(connection).await? {
            own.insert(row.try_get("id")?);
        }
    }
    Ok(own)
}

async fn add_counts(connection: &mut Connection, counts: &BTreeMap<(i64, i64, String), i64>) -> Result<(), StoreError> {
    let rows: Vec<_> = counts.iter().collect();
    for piece in pieces(&rows) {
        let list = numbered(1, "(?, ?, ?, ?)", piece.len());
        let mut statement = sql(AssertSqlSafe(format!(
            "INSERT INTO key_usage (key_id, minute, outcome, count) VALUES {list}
             ON CONFLICT (key_id, minute, outcome) DO UPDATE SET count = key_usage.count + excluded.count"
        )));
        for ((key_id, minute, outcome), count) in piece {
            statement = statement.bind(*key_id).bind(*minute).bind(outcome).bind(**count);
        }
        statement.execute(connection).await?;
    }
    Ok(())
}

/// Sets when keys were last used, where that is later than what is known.
async fn raise_last_used(connection: &mut Connection, last_used_us: &BTreeMap<i64, i64>) -> Result<(), StoreError> {
    let rows: Vec<_> = last_used_us.iter().collect();
    for piece in pieces(&rows) {
        let list = numbered(1, "(?, ?)", piece.len());
        let mut statement = sql(AssertSqlSafe(format!(
            "WITH used (id, at_us) AS (VALUES {list})
             UPDATE keys SET last_used_at_us = used.at_us FROM used
             WHERE keys.id = used.id AND (keys.last_used_at_us IS NULL OR keys.last_used_at_us < used.at_us)"
        )));
        for (key_id, at_us) in piece {
            statement = statement.bind(**key_id).bind(**at_us);
        }
        statement.execute(connection).await?;
    }
    Ok(())
}

/// `allowed`, `rate_limited:` and the rule, `denied:` and the reason.
fn outcome_text(outcome: &UsageOutcome) -> Result<String, StoreError> {
    let text = match outcome {
        UsageOutcome::Allowed => "allowed".to_owned(),
        UsageOutcome::RateLimited(rule) => format!("rate_limited:{rule}"),
        UsageOutcome::Denied(reason) => format!("denied:{reason}"),
    };
    // PostgreSQL stores no NUL.
    if text.len() > OUTCOME_BYTES_MAX || text.contains('\0') {
        return Err(StoreError::invalid(format!(
            "rows: an outcome is at most {OUTCOME_BYTES_MAX} bytes of text"
        )));
    }
    Ok(text)
}

/// The outcome of a stored text.
pub(super) fn outcome(text: &str) -> Result<UsageOutcome, StoreError> {
    match text.split_once(':') {
        None if text == "allowed" => Ok(UsageOutcome::Allowed),
        Some(("rate_limited", rule)) => Ok(UsageOutcome::RateLimited(rule.to_owned())),
        Some(("denied", reason)) => Ok(UsageOutcome::Denied(reason.to_owned())),
        _ => Err(StoreError::unavailable(format!("the outcome `{text}` is unknown"))),
    }
}
