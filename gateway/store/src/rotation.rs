//! Rotation: a key gets a new secret under a new id, and the old one dies at once or after a grace period.
//!
//! One transaction with two entries in the change log, the old hash's and the new one's: a cache that knew the old key
//! must forget it, and one that was asked for the new hash before must forget that it did not exist.

use crate::change_log::Event;
use crate::entity::{Key, NewSecret};
use crate::sql::sql;
use crate::{Committed, Store, StoreError, key, new_id};
use jiff::Timestamp;
use portcullis_verify::{DeploymentId, KeyId};
use std::time::Duration;

/// Why the old key is revoked.
const REASON: &str = "Rotated";

impl Store {
    /// Replaces a key by one with the same name, permissions, metadata, owner, environment, own scheme and expiry, and
    /// revokes the old one from `now + grace` on. Answers the new key. With `app_slug` it must be a key of that app.
    ///
    /// Permissions that the app has dropped since stay with the key; they are cut off when a request is decided.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if there is no such key, or it is revoked, or its app is deleted;
    /// [`StoreError::Invalid`] if it is expired, or was rotated and is in its grace period (its successor can be
    /// rotated), or `grace` ends past the end of time; [`StoreError::PrefixChanged`]; [`StoreError::Unavailable`].
    pub async fn rotate_key(
        &self,
        deployment_id: DeploymentId,
        app_slug: Option<&str>,
        id: KeyId,
        new: NewSecret,
        grace: Duration,
        now: Timestamp,
    ) -> Result<Committed<Key>, StoreError> {
        let now_us = now.as_microsecond();
        let revoked_at = now
            .checked_add(grace)
            .map_err(|_| StoreError::invalid("grace_period_seconds: too long"))?;

        let mut write = self.begin().await?;
        let old = key::unrevoked(write.connection(), deployment_id, app_slug, id, now).await?;
        if old.app_is_deleted {
            return Err(key::MISSING);
        }
        if old.expires_at_us.is_some_and(|expires_at_us| expires_at_us <= now_us) {
            return Err(StoreError::invalid("the key is expired"));
        }
        if let Some(successor) = old.rotated_to {
            return Err(StoreError::invalid(format!(
                "the key is rotated already; its successor is {successor}"
            )));
        }
        key::require_prefix(&old.app_key_prefix, &new.key_prefix)?;

        let new_id = KeyId(new_id::take(write.connection(), self.now()?).await?);
        sql(
            "INSERT INTO keys (id, hash, lineage_id, rotated_from, deployment_id, app_id, name, key_prefix, key_suffix,
                               permissions, metadata, owner, owner_user_id, environment, scheme_id, expires_at_us,
                               created_at_us, updated_at_us)
             SELECT $1, $2, lineage_id, id, deployment_id, app_id, name, $3, $4,
                    permissions, metadata, owner, owner_user_id, environment, scheme_id, expires_at_us, $5, $5
             FROM keys WHERE id = $6",
        )
        .bind(new_id.0)
        .bind(&new.hash.0[..])
        .bind(&new.key_prefix)
        .bind(&new.key_suffix)
        .bind(now_us)
        .bind(id.0)
        .execute(write.connection())
        .await?;
        sql(
            "UPDATE keys SET rotated_to = $1, revoked_at_us = $2, revoked_reason = $3, updated_at_us = $4
             WHERE id = $5",
        )
        .bind(new_id.0)
        .bind(revoked_at.as_microsecond())
        .bind(REASON)
        .bind(now_us)
        .bind(id.0)
        .execute(write.connection())
        .await?;
        let key = key::require(write.connection(), deployment_id, new_id).await?;
        write
            .commit(
                deployment_id,
                &[Event::KeyChanged(old.hash), Event::KeyCreated(new.hash)],
                key,
            )
            .await
    }
}
