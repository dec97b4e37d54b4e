//! What a creating call answered, kept for 24 hours in the transaction of the creation itself, so that a repetition is
//! told the same and nothing is created twice.
//!
//! Knows neither HTTP nor request bodies: the control API names the endpoint, fingerprints the request and writes the
//! answer. A key's answer holds its secret and is therefore never stored, only the key's id.

use crate::database::Connection;
use crate::error::is_unique_violation;
use crate::sql::sql;
use crate::{Store, StoreError, column};
use jiff::{SignedDuration, Timestamp};
use portcullis_verify::{DeploymentId, KeyId};

/// How long an answer is kept.
const LIFE: SignedDuration = SignedDuration::from_hours(24);
/// Expired records that one creation clears away: more than it adds, few enough to go unnoticed.
const PURGED_MAX: i64 = 64;

/// Marks a creating call that must happen once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Once {
    /// Which call it is: two endpoints share no idempotency keys.
    pub endpoint: String,
    /// What the caller sent as `Idempotency-Key`.
    pub idempotency_key: String,
    /// A hash of the request, so that another request under the same key can be told from a repetition.
    pub fingerprint: [u8; 32],
}

/// An answer to give again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAnswer {
    /// The HTTP status.
    pub status: u16,
    /// The body, word for word.
    pub body: String,
}

/// What the first call under an idempotency key led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FirstAnswer {
    /// It was answered with this.
    Answer {
        /// Of the first request.
        fingerprint: [u8; 32],
        /// What it was told.
        answer: StoredAnswer,
    },
    /// It created this key, whose secret cannot be told again.
    Key {
        /// Of the first request.
        fingerprint: [u8; 32],
        /// The key.
        key_id: KeyId,
    },
}

impl Store {
    /// What the first call under this idempotency key led to, if there was one in the last 24 hours.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn first_answer(
        &self,
        deployment_id: DeploymentId,
        endpoint: &str,
        idempotency_key: &str,
    ) -> Result<Option<FirstAnswer>, StoreError> {
        let row = sql("SELECT fingerprint, status, body, key_id FROM idempotency
             WHERE deployment_id = $1 AND endpoint = $2 AND idempotency_key = $3 AND created_at_us > $4")
        .bind(deployment_id.0)
        .bind(endpoint)
        .bind(idempotency_key)
        .bind(expired_us(self.now()?)?)
        .fetch_optional(&mut self.reader().await?)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let fingerprint = column::hash(row.try_get("fingerprint")?)?;
        Ok(Some(match row.try_get("key_id")? {
            Some(key_id) => FirstAnswer::Key {
                fingerprint,
                key_id: KeyId(key_id),
            },
            None => FirstAnswer::Answer {
                fingerprint,
                answer: StoredAnswer {
                    status: column::status(row.try_get("status")?)?,
                    body: row.try_get("body")?,
                },
            },
        }))
    }
}

/// Refuses a call whose idempotency key is in use, before anything else can be wrong with it, and clears away expired
/// records.
pub(crate) async fn refuse_repetition(
    connection: &mut Connection,
    deployment_id: DeploymentId,
    once: &Once,
    now: Timestamp,
) -> Result<(), StoreError> {
    let expired_us = expired_us(now)?;
    sql("DELETE FROM idempotency
         WHERE deployment_id = $1 AND endpoint = $2 AND idempotency_key = $3 AND created_at_us <= $4")
    .bind(deployment_id.0)
    .bind(&once.endpoint)
    .bind(&once.idempotency_key)
    .bind(expired_us)
    .execute(connection)
    .await?;
    let row = sql("SELECT EXISTS (SELECT 1 FROM idempotency
                        WHERE deployment_id = $1 AND endpoint = $2 AND idempotency_key = $3) AS is_used")
    .bind(deployment_id.0)
    .bind(&once.endpoint)
    .bind(&once.idempotency_key)
    .fetch_one(connection)
    .await?;
    if row.try_get("is_used")? {
        return Err(StoreError::IdempotentReplay);
    }
    sql(
        "DELETE FROM idempotency WHERE (deployment_id, endpoint, idempotency_key) IN (
             SELECT deployment_id, endpoint, idempotency_key FROM idempotency
             WHERE created_at_us <= $1 ORDER BY created_at_us LIMIT $2
         )",
    )
    .bind(expired_us)
    .bind(PURGED_MAX)
    .execute(connection)
    .await?;
    Ok(())
}

/// Keeps the answer of a creation.
pub(crate) async fn remember_answer(
    connection: &mut Connection,
    deployment_id: DeploymentId,
    once: &Once,
    answer: &StoredAnswer,
    now: Timestamp,
) -> Result<(), StoreError> {
    insert(connection, deployment_id, once, Some(answer), None, now).await
}

/// Keeps the id of a created key.
pub(crate) async fn remember_key(
    connection: &mut Connection,
    deployment_id: DeploymentId,
    once: &Once,
    key_id: KeyId,
    now: Timestamp,
) -> Result<(), StoreError> {
    insert(connection, deployment_id, once, None, Some(key_id), now).await
}

async fn insert(
    connection: &mut Connection,
    deployment_id: DeploymentId,
    once: &Once,
    answer: Option<&StoredAnswer>,
    key_id: Option<KeyId>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let inserted = sql(
        "INSERT INTO idempotency (deployment_id, endpoint, idempotency_key, fingerprint, status, body, key_id,
                                  created_at_us)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(deployment_id.0)
    .bind(&once.endpoint)
    .bind(&once.idempotency_key)
    .bind(&once.fingerprint[..])
    .bind(answer.map(|answer| answer.status))
    .bind(answer.map(|answer| &answer.body))
    .bind(key_id.map(|id| id.0))
    .bind(now.as_microsecond())
    .execute(connection)
    .await;
    match inserted {
        Err(error) if is_unique_violation(&error) => Err(StoreError::IdempotentReplay),
        inserted => inserted.map(drop).map_err(StoreError::from),
    }
}

/// Records made at this time or before are forgotten.
fn expired_us(now: Timestamp) -> Result<i64, StoreError> {
    now.checked_sub(LIFE)
        .map(Timestamp::as_microsecond)
        .map_err(StoreError::unavailable)
}
