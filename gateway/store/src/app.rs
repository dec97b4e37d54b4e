//! Apps: what keys are issued under.
//!
//! A deleted app keeps its row, id and keys and gives its slug free; calls by slug see only apps that are not deleted.
//! Values are validated by the control API; here are the plan, uniqueness and the scheme's existence.

use crate::change_log::Event;
use crate::database::Connection;
use crate::entity::{App, AppPatch, NewApp, Plan};
use crate::error::duplicate;
use crate::idempotency::{self, Once, StoredAnswer};
use crate::sql::{Row, sql};
use crate::{Committed, Store, StoreError, column, deployment, new_id, scheme};
use portcullis_verify::{AppId, DeploymentId, SchemeId};

const MISSING: StoreError = StoreError::NotFound { what: "app" };

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT a.id, a.deployment_id, a.user_id, a.organization_id, a.workspace_id, a.slug, a.name, a.description,
                    a.is_active, a.key_prefix, a.permissions, a.resources, a.created_at_us, a.updated_at_us,
                    a.deleted_at_us, s.id AS scheme_id, s.slug AS scheme_slug, s.rules AS scheme_rules
             FROM apps AS a LEFT JOIN schemes AS s ON s.id = a.scheme_id ",
            $rest
        )
    };
}

impl Store {
    /// Creates an app.
    ///
    /// # Errors
    /// [`StoreError::PlanForbids`], [`StoreError::Duplicate`] slug, [`StoreError::Invalid`] for an unknown scheme,
    /// [`StoreError::NotFound`] without such a deployment, [`StoreError::Unavailable`].
    pub async fn create_app(&self, deployment_id: DeploymentId, new: NewApp) -> Result<Committed<App>, StoreError> {
        self.write_app(deployment_id, new, None::<(Once, fn(&App) -> StoredAnswer)>)
            .await
    }

    /// Creates an app once: `answer` says what its caller is told, which is stored with the app for repetitions.
    ///
    /// # Errors
    /// As [`Store::create_app`], and [`StoreError::IdempotentReplay`] if the idempotency key was used in the last 24 h:
    /// then [`Store::first_answer`] has what to say.
    pub async fn create_app_once(
        &self,
        deployment_id: DeploymentId,
        new: NewApp,
        once: Once,
        answer: impl FnOnce(&App) -> StoredAnswer + Send,
    ) -> Result<Committed<App>, StoreError> {
        self.write_app(deployment_id, new, Some((once, answer))).await
    }

    async fn write_app(
        &self,
        deployment_id: DeploymentId,
        new: NewApp,
        once: Option<(Once, impl FnOnce(&App) -> StoredAnswer + Send)>,
    ) -> Result<Committed<App>, StoreError> {
        let now = self.now()?;
        let mut write = self.begin().await?;
        if let Some((once, _)) = &once {
            idempotency::refuse_repetition(write.connection(), deployment_id, once, now).await?;
        }
        if deployment::require(write.connection(), deployment_id).await?.plan != Plan::Growth {
            return Err(StoreError::PlanForbids);
        }
        let scheme_id = match &new.scheme_slug {
            Some(slug) => Some(
                scheme::named_in_request(write.connection(), deployment_id, slug)
                    .await?
                    .0,
            ),
            None => None,
        };
        let id = AppId(new_id::take(write.connection(), now).await?);
        sql(
            "INSERT INTO apps (id, deployment_id, user_id, organization_id, workspace_id, slug, name, description,
                               is_active, key_prefix, permissions, resources, scheme_id, created_at_us, updated_at_us)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, TRUE, $9, $10, $11, $12, $13, $13)",
        )
        .bind(id.0)
        .bind(deployment_id.0)
        .bind(new.user_id)
        .bind(new.organization_id)
        .bind(new.workspace_id)
        .bind(&new.slug)
        .bind(&new.name)
        .bind(&new.description)
        .bind(&new.key_prefix)
        .bind(column::to_json(&new.permissions)?)
        .bind(column::to_json(&new.resources)?)
        .bind(scheme_id)
        .bind(now.as_microsecond())
        .execute(write.connection())
        .await
        .map_err(|error| duplicate(error, || format!("the app `{}`", new.slug)))?;
        let app = require_live(write.connection(), deployment_id, &new.slug).await?;
        if let Some((once, answer)) = once {
            idempotency::remember_answer(write.connection(), deployment_id, &once, &answer(&app), now).await?;
        }
        write.commit(deployment_id, &[Event::AppCreated(id)], app).await
    }

    /// The app with this slug, active or not.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Unavailable`].
    pub async fn get_app(&self, deployment_id: DeploymentId, slug: &str) -> Result<App, StoreError> {
        require_live(&mut self.reader().await?, deployment_id, slug).await
    }

    /// The apps of a deployment, oldest first; with `include_inactive` also those switched off or deleted.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn list_apps(&self, deployment_id: DeploymentId, include_inactive: bool) -> Result<Vec<App>, StoreError> {
        let rows = sql(select!(
            "WHERE a.deployment_id = $1 AND ($2 OR (a.is_active AND a.deleted_at_us IS NULL)) ORDER BY a.id"
        ))
        .bind(deployment_id.0)
        .bind(include_inactive)
        .fetch_all(&mut self.reader().await?)
        .await?;
        rows.iter().map(app).collect()
    }

    /// Changes an app; every key beneath it follows.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Invalid`] for an unknown scheme, [`StoreError::Unavailable`].
    pub async fn update_app(
        &self,
        deployment_id: DeploymentId,
        slug: &str,
        patch: AppPatch,
    ) -> Result<Committed<App>, StoreError> {
        let mut write = self.begin().await?;
        let was = require_live(write.connection(), deployment_id, slug).await?;
        let scheme_id: Option<SchemeId> = match patch.scheme_slug {
            None => was.scheme.map(|scheme| scheme.id),
            Some(None) => None,
            Some(Some(slug)) => Some(scheme::named_in_request(write.connection(), deployment_id, &slug).await?),
        };
        sql(
            "UPDATE apps SET name = $1, key_prefix = $2, description = $3, is_active = $4, organization_id = $5,
                             workspace_id = $6, scheme_id = $7, permissions = $8, resources = $9, updated_at_us = $10
             WHERE id = $11",
        )
        .bind(patch.name.unwrap_or(was.name))
        .bind(patch.key_prefix.unwrap_or(was.key_prefix))
        .bind(patch.description.unwrap_or(was.description))
        .bind(patch.is_active.unwrap_or(was.is_active))
        .bind(patch.organization_id.unwrap_or(was.organization_id))
        .bind(patch.workspace_id.unwrap_or(was.workspace_id))
        .bind(scheme_id.map(|id| id.0))
        .bind(column::to_json(&patch.permissions.unwrap_or(was.permissions))?)
        .bind(column::to_json(&patch.resources.unwrap_or(was.resources))?)
        .bind(self.now()?.as_microsecond())
        .bind(was.id.0)
        .execute(write.connection())
        .await?;
        let app = require_live(write.connection(), deployment_id, slug).await?;
        write.commit(deployment_id, &[Event::AppChanged(app.id)], app).await
    }

    /// Deletes an app for good: no key beneath it opens anything again, also when its slug is used by another app.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Unavailable`].
    pub async fn delete_app(&self, deployment_id: DeploymentId, slug: &str) -> Result<Committed<()>, StoreError> {
        let mut write = self.begin().await?;
        let row = sql("UPDATE apps SET deleted_at_us = $1, updated_at_us = $1
             WHERE deployment_id = $2 AND slug = $3 AND deleted_at_us IS NULL
             RETURNING id")
        .bind(self.now()?.as_microsecond())
        .bind(deployment_id.0)
        .bind(slug)
        .fetch_optional(write.connection())
        .await?;
        let id = AppId(row.ok_or(MISSING)?.try_get("id")?);
        write.commit(deployment_id, &[Event::AppChanged(id)], ()).await
    }
}

/// The app with this slug, which must exist and not be deleted.
pub(crate) async fn require_live(
    connection: &mut Connection,
    deployment_id: DeploymentId,
    slug: &str,
) -> Result<App, StoreError> {
    let row = sql(select!(
        "WHERE a.deployment_id = $1 AND a.slug = $2 AND a.deleted_at_us IS NULL"
    ))
    .bind(deployment_id.0)
    .bind(slug)
    .fetch_optional(connection)
    .await?;
    app(&row.ok_or(MISSING)?)
}

fn app(row: &Row) -> Result<App, StoreError> {
    Ok(App {
        id: AppId(row.try_get("id")?),
        deployment_id: DeploymentId(row.try_get("deployment_id")?),
        user_id: row.try_get("user_id")?,
        organization_id: row.try_get("organization_id")?,
        workspace_id: row.try_get("workspace_id")?,
        slug: row.try_get("slug")?,
        name: row.try_get("name")?,
        description: row.try_get("description")?,
        is_active: row.try_get("is_active")?,
        key_prefix: row.try_get("key_prefix")?,
        permissions: column::from_json(row.try_get("permissions")?)?,
        resources: column::from_json(row.try_get("resources")?)?,
        scheme: scheme::joined(row)?,
        created_at: column::timestamp(row.try_get("created_at_us")?)?,
        updated_at: column::timestamp(row.try_get("updated_at_us")?)?,
        deleted_at: column::optional_timestamp(row.try_get("deleted_at_us")?)?,
    })
}
