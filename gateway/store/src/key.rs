//! Keys: created, listed, revoked. Rotation has its own file.
//!
//! Sees hashes, never secrets. What must hold between a key and its app (it exists, its permissions, its prefix) is
//! checked in the transaction that writes the key, since the app may change at any time before.

use crate::change_log::Event;
use crate::database::Connection;
use crate::entity::{App, Key, NewKey};
use crate::idempotency::{self, Once};
use crate::sql::{Row, sql};
use crate::{Committed, Store, StoreError, app, column, new_id, scheme};
use jiff::Timestamp;
use portcullis_verify::{AppId, DeploymentId, KeyHash, KeyId};

pub(crate) const MISSING: StoreError = StoreError::NotFound { what: "key" };

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT k.id, k.lineage_id, k.rotated_from, k.rotated_to, k.deployment_id, k.app_id, k.name, k.key_prefix,
                    k.key_suffix, k.permissions, k.metadata, k.owner, k.owner_user_id, k.environment, k.expires_at_us,
                    k.last_used_at_us, k.created_at_us, k.updated_at_us, k.revoked_at_us, k.revoked_reason,
                    k.scheme_id IS NOT NULL AS scheme_is_own, a.slug AS app_slug, a.organization_id, a.workspace_id,
                    s.id AS scheme_id, s.slug AS scheme_slug, s.rules AS scheme_rules
             FROM keys AS k
             JOIN apps AS a ON a.id = k.app_id
             LEFT JOIN schemes AS s ON s.id = COALESCE(k.scheme_id, a.scheme_id) ",
            $rest
        )
    };
}

impl Store {
    /// Stores a new key under an app, which may be switched off but not deleted.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] without such an app, [`StoreError::Invalid`] for an unknown scheme or a permission
    /// that the app does not name, [`StoreError::PrefixChanged`], [`StoreError::Unavailable`].
    pub async fn create_key(
        &self,
        deployment_id: DeploymentId,
        app_slug: &str,
        new: NewKey,
    ) -> Result<Committed<Key>, StoreError> {
        self.write_key(deployment_id, app_slug, new, None).await
    }

    /// Stores a new key once. Repetitions learn its id; its secret is nowhere to be had again.
    ///
    /// # Errors
    /// As [`Store::create_key`], and [`StoreError::IdempotentReplay`] if the idempotency key was used in the last 24 h:
    /// then [`Store::first_answer`] has what to say.
    pub async fn create_key_once(
        &self,
        deployment_id: DeploymentId,
        app_slug: &str,
        new: NewKey,
        once: Once,
    ) -> Result<Committed<Key>, StoreError> {
        self.write_key(deployment_id, app_slug, new, Some(once)).await
    }

    async fn write_key(
        &self,
        deployment_id: DeploymentId,
        app_slug: &str,
        new: NewKey,
        once: Option<Once>,
    ) -> Result<Committed<Key>, StoreError> {
        let now = self.now()?;
        let mut write = self.begin().await?;
        if let Some(once) = &once {
            idempotency::refuse_repetition(write.connection(), deployment_id, once, now).await?;
        }
        let app = app::require_live(write.connection(), deployment_id, app_slug).await?;
        require_prefix(&app.key_prefix, &new.key_prefix)?;
        require_permissions(&app, &new.permissions)?;
        let scheme_id = match &new.scheme_slug {
            Some(slug) => Some(
                scheme::named_in_request(write.connection(), deployment_id, slug)
                    .await?
                    .0,
            ),
            None => None,
        };
        let id = KeyId(new_id::take(write.connection(), now).await?);
        sql(
            "INSERT INTO keys (id, hash, lineage_id, deployment_id, app_id, name, key_prefix, key_suffix, permissions,
                               metadata, owner, owner_user_id, environment, scheme_id, expires_at_us, created_at_us,
                               updated_at_us)
             VALUES ($1, $2, $1, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $15)",
        )
        .bind(id.0)
        .bind(&new.hash.0[..])
        .bind(deployment_id.0)
        .bind(app.id.0)
        .bind(&new.name)
        .bind(&new.key_prefix)
        .bind(&new.key_suffix)
        .bind(column::to_json(&new.permissions)?)
        .bind(column::to_json(&new.metadata)?)
        .bind(&new.owner)
        .bind(new.owner_user_id)
        .bind(&new.environment)
        .bind(scheme_id)
        .bind(new.expires_at.map(Timestamp::as_microsecond))
        .bind(now.as_microsecond())
        .execute(write.connection())
        .await?;
        if let Some(once) = &once {
            idempotency::remember_key(write.connection(), deployment_id, once, id, now).await?;
        }
        let key = require(write.connection(), deployment_id, id).await?;
        write.commit(deployment_id, &[Event::KeyCreated(new.hash)], key).await
    }

    /// The keys of an app, oldest first. Without `include_inactive` those revoked or expired at `now` are left out.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] without such an app, [`StoreError::Unavailable`].
    pub async fn list_keys(
        &self,
        deployment_id: DeploymentId,
        app_slug: &str,
        include_inactive: bool,
        now: Timestamp,
    ) -> Result<Vec<Key>, StoreError> {
        let mut reader = self.reader().await?;
        let app = app::require_live(&mut reader, deployment_id, app_slug).await?;
        let rows = sql(select!(
            "WHERE k.app_id = $1
               AND ($2 OR ((k.revoked_at_us IS NULL OR k.revoked_at_us > $3)
                       AND (k.expires_at_us IS NULL OR k.expires_at_us > $3)))
             ORDER BY k.id"
        ))
        .bind(app.id.0)
        .bind(include_inactive)
        .bind(now.as_microsecond())
        .fetch_all(&mut reader)
        .await?;
        rows.iter().map(key).collect()
    }

    /// The key with this id, in whatever state it and its app are.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Unavailable`].
    pub async fn get_key(&self, deployment_id: DeploymentId, id: KeyId) -> Result<Key, StoreError> {
        require(&mut self.reader().await?, deployment_id, id).await
    }

    /// Revokes a key from `now` on, also one in the grace period of its rotation. With `app_slug` it must be a key of
    /// that app. Without `reason` an earlier one stays.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if there is none or it is revoked already, [`StoreError::Unavailable`].
    pub async fn revoke_key(
        &self,
        deployment_id: DeploymentId,
        app_slug: Option<&str>,
        id: KeyId,
        reason: Option<&str>,
        now: Timestamp,
    ) -> Result<Committed<Key>, StoreError> {
        let mut write = self.begin().await?;
        let hash = unrevoked(write.connection(), deployment_id, app_slug, id, now)
            .await?
            .hash;
        sql(
            "UPDATE keys SET revoked_at_us = $1, updated_at_us = $1, revoked_reason = COALESCE($2, revoked_reason)
             WHERE id = $3",
        )
        .bind(now.as_microsecond())
        .bind(reason)
        .bind(id.0)
        .execute(write.connection())
        .await?;
        let key = require(write.connection(), deployment_id, id).await?;
        write.commit(deployment_id, &[Event::KeyChanged(hash)], key).await
    }
}

/// What a mutation must know of a key that it changes.
pub(crate) struct Unrevoked {
    pub(crate) hash: KeyHash,
    pub(crate) app_is_deleted: bool,
    pub(crate) app_key_prefix: String,
    pub(crate) rotated_to: Option<KeyId>,
    pub(crate) expires_at_us: Option<i64>,
}

/// The key with this id, which must not be revoked at `now` and, with `app_slug`, belong to that app.
pub(crate) async fn unrevoked(
    connection: &mut Connection,
    deployment_id: DeploymentId,
    app_slug: Option<&str>,
    id: KeyId,
    now: Timestamp,
) -> Result<Unrevoked, StoreError> {
    let row = sql(
        "SELECT k.hash, k.rotated_to, k.expires_at_us, a.deleted_at_us IS NOT NULL AS app_is_deleted,
                a.key_prefix AS app_key_prefix
         FROM keys AS k JOIN apps AS a ON a.id = k.app_id
         WHERE k.id = $1 AND k.deployment_id = $2
           AND (k.revoked_at_us IS NULL OR k.revoked_at_us > $3)
           AND ($4 IS NULL OR (a.slug = $4 AND a.deleted_at_us IS NULL))",
    )
    .bind(id.0)
    .bind(deployment_id.0)
    .bind(now.as_microsecond())
    .bind(app_slug)
    .fetch_optional(connection)
    .await?
    .ok_or(MISSING)?;
    Ok(Unrevoked {
        hash: column::key_hash(row.try_get("hash")?)?,
        app_is_deleted: row.try_get("app_is_deleted")?,
        app_key_prefix: row.try_get("app_key_prefix")?,
        rotated_to: row.try_get::<Option<i64>>("rotated_to")?.map(KeyId),
        expires_at_us: row.try_get("expires_at_us")?,
    })
}

/// The key with this id, which must exist.
pub(crate) async fn require(
    connection: &mut Connection,
    deployment_id: DeploymentId,
    id: KeyId,
) -> Result<Key, StoreError> {
    let row = sql(select!("WHERE k.id = $1 AND k.deployment_id = $2"))
        .bind(id.0)
        .bind(deployment_id.0)
        .fetch_optional(connection)
        .await?;
    key(&row.ok_or(MISSING)?)
}

/// A secret made with an outdated prefix must not be stored under the app.
pub(crate) fn require_prefix(current: &str, of_secret: &str) -> Result<(), StoreError> {
    if current == of_secret {
        Ok(())
    } else {
        Err(StoreError::PrefixChanged {
            current: current.to_owned(),
        })
    }
}

fn require_permissions(app: &App, permissions: &[String]) -> Result<(), StoreError> {
    if app.permissions.is_empty() {
        return Ok(());
    }
    match permissions
        .iter()
        .find(|permission| !app.permissions.contains(permission))
    {
        None => Ok(()),
        Some(foreign) => Err(StoreError::invalid(format!(
            "permissions: `{foreign}` is not among the permissions of the app `{}`",
            app.slug
        ))),
    }
}

fn key(row: &Row) -> Result<Key, StoreError> {
    Ok(Key {
        id: KeyId(row.try_get("id")?),
        lineage_id: KeyId(row.try_get("lineage_id")?),
        rotated_from: row.try_get::<Option<i64>>("rotated_from")?.map(KeyId),
        rotated_to: row.try_get::<Option<i64>>("rotated_to")?.map(KeyId),
        deployment_id: DeploymentId(row.try_get("deployment_id")?),
        app_id: AppId(row.try_get("app_id")?),
        app_slug: row.try_get("app_slug")?,
        organization_id: row.try_get("organization_id")?,
        workspace_id: row.try_get("workspace_id")?,
        name: row.try_get("name")?,
        key_prefix: row.try_get("key_prefix")?,
        key_suffix: row.try_get("key_suffix")?,
        permissions: column::from_json(row.try_get("permissions")?)?,
        metadata: column::from_json(row.try_get("metadata")?)?,
        owner: row.try_get("owner")?,
        owner_user_id: row.try_get("owner_user_id")?,
        environment: row.try_get("environment")?,
        scheme: scheme::joined(row)?,
        scheme_is_own: row.try_get("scheme_is_own")?,
        expires_at: column::optional_timestamp(row.try_get("expires_at_us")?)?,
        last_used_at: column::optional_timestamp(row.try_get("last_used_at_us")?)?,
        created_at: column::timestamp(row.try_get("created_at_us")?)?,
        updated_at: column::timestamp(row.try_get("updated_at_us")?)?,
        revoked_at: column::optional_timestamp(row.try_get("revoked_at_us")?)?,
        revoked_reason: row.try_get("revoked_reason")?,
    })
}
