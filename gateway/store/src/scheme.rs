//! Rate-limit schemes: rules by slug, for apps and keys to share.
//!
//! Does not know what rules mean; the control API validates them. A scheme in use cannot be deleted.

use crate::change_log::Event;
use crate::database::Connection;
use crate::entity::{NewScheme, Scheme, SchemePatch, SchemeRef};
use crate::error::duplicate;
use crate::sql::{Row, sql};
use crate::{Committed, Store, StoreError, column, deployment, new_id};
use portcullis_verify::{DeploymentId, SchemeId};

const MISSING: StoreError = StoreError::NotFound {
    what: "rate-limit scheme",
};
/// How many users of a scheme a refusal names.
const USERS_NAMED_MAX: i64 = 3;

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, deployment_id, slug, name, description, rules, created_at_us, updated_at_us FROM schemes ",
            $rest
        )
    };
}

impl Store {
    /// Creates a scheme.
    ///
    /// # Errors
    /// [`StoreError::Duplicate`], [`StoreError::NotFound`] without such a deployment, [`StoreError::Unavailable`].
    pub async fn create_scheme(
        &self,
        deployment_id: DeploymentId,
        new: NewScheme,
    ) -> Result<Committed<Scheme>, StoreError> {
        let mut write = self.begin().await?;
        deployment::require(write.connection(), deployment_id).await?;
        let now = self.now()?;
        let id = new_id::take(write.connection(), now).await?;
        sql(
            "INSERT INTO schemes (id, deployment_id, slug, name, description, rules, created_at_us, updated_at_us)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $7)",
        )
        .bind(id)
        .bind(deployment_id.0)
        .bind(&new.slug)
        .bind(&new.name)
        .bind(&new.description)
        .bind(column::to_json(&new.rules)?)
        .bind(now.as_microsecond())
        .execute(write.connection())
        .await
        .map_err(|error| duplicate(error, || format!("the rate-limit scheme `{}`", new.slug)))?;
        let scheme = require(write.connection(), deployment_id, &new.slug).await?;
        write
            .commit(deployment_id, &[Event::SchemeCreated(scheme.id)], scheme)
            .await
    }

    /// The scheme with this slug.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Unavailable`].
    pub async fn get_scheme(&self, deployment_id: DeploymentId, slug: &str) -> Result<Scheme, StoreError> {
        require(&mut self.reader().await?, deployment_id, slug).await
    }

    /// All schemes of a deployment, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn list_schemes(&self, deployment_id: DeploymentId) -> Result<Vec<Scheme>, StoreError> {
        let rows = sql(select!("WHERE deployment_id = $1 ORDER BY id"))
            .bind(deployment_id.0)
            .fetch_all(&mut self.reader().await?)
            .await?;
        rows.iter().map(scheme).collect()
    }

    /// Changes a scheme; every key it limits follows.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Unavailable`].
    pub async fn update_scheme(
        &self,
        deployment_id: DeploymentId,
        slug: &str,
        patch: SchemePatch,
    ) -> Result<Committed<Scheme>, StoreError> {
        let mut write = self.begin().await?;
        let was = require(write.connection(), deployment_id, slug).await?;
        let rules = patch.rules.unwrap_or(was.rules);
        sql("UPDATE schemes SET name = $1, description = $2, rules = $3, updated_at_us = $4 WHERE id = $5")
            .bind(patch.name.unwrap_or(was.name))
            .bind(patch.description.unwrap_or(was.description))
            .bind(column::to_json(&rules)?)
            .bind(self.now()?.as_microsecond())
            .bind(was.id.0)
            .execute(write.connection())
            .await?;
        let scheme = require(write.connection(), deployment_id, slug).await?;
        write
            .commit(deployment_id, &[Event::SchemeChanged(scheme.id)], scheme)
            .await
    }

    /// Deletes a scheme that no app in existence and no unrevoked key of one uses. Deleted apps and revoked keys lose
    /// it.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::InUse`], [`StoreError::Unavailable`].
    pub async fn delete_scheme(&self, deployment_id: DeploymentId, slug: &str) -> Result<Committed<()>, StoreError> {
        let mut write = self.begin().await?;
        let id = require(write.connection(), deployment_id, slug).await?.id;
        if let Some(users) = users(write.connection(), id, self.now()?.as_microsecond()).await? {
            return Err(StoreError::InUse {
                what: format!("the rate-limit scheme `{slug}`"),
                users,
            });
        }
        for statement in [
            "UPDATE apps SET scheme_id = NULL WHERE scheme_id = $1",
            "UPDATE keys SET scheme_id = NULL WHERE scheme_id = $1",
            "DELETE FROM schemes WHERE id = $1",
        ] {
            sql(statement).bind(id.0).execute(write.connection()).await?;
        }
        write.commit(deployment_id, &[Event::SchemeChanged(id)], ()).await
    }
}

/// The id of the scheme that a request names in `rate_limit_scheme_slug`.
pub(crate) async fn named_in_request(
    connection: &mut Connection,
    deployment_id: DeploymentId,
    slug: &str,
) -> Result<SchemeId, StoreError> {
    match require(connection, deployment_id, slug).await {
        Ok(scheme) => Ok(scheme.id),
        Err(StoreError::NotFound { .. }) => Err(StoreError::invalid(format!(
            "`rate_limit_scheme_slug`: there is no rate-limit scheme `{slug}`"
        ))),
        Err(error) => Err(error),
    }
}

/// The scheme in the columns `scheme_id`, `scheme_slug` and `scheme_rules` of a joined row.
pub(crate) fn joined(row: &Row) -> Result<Option<SchemeRef>, StoreError> {
    let Some(id) = row.try_get("scheme_id")? else {
        return Ok(None);
    };
    Ok(Some(SchemeRef {
        id: SchemeId(id),
        slug: row.try_get("scheme_slug")?,
        rules: column::from_json(row.try_get("scheme_rules")?)?,
    }))
}

async fn require(connection: &mut Connection, deployment_id: DeploymentId, slug: &str) -> Result<Scheme, StoreError> {
    let row = sql(select!("WHERE deployment_id = $1 AND slug = $2"))
        .bind(deployment_id.0)
        .bind(slug)
        .fetch_optional(connection)
        .await?;
    scheme(&row.ok_or(MISSING)?)
}

/// Names the first few apps and keys that a scheme limits, or answers `None`.
async fn users(connection: &mut Connection, id: SchemeId, now_us: i64) -> Result<Option<String>, StoreError> {
    let apps = sql("SELECT slug, COUNT(*) OVER () AS total FROM apps
         WHERE scheme_id = $1 AND deleted_at_us IS NULL ORDER BY id LIMIT $2")
    .bind(id.0)
    .bind(USERS_NAMED_MAX)
    .fetch_all(connection)
    .await?;
    let keys = sql("SELECT k.id, a.slug, COUNT(*) OVER () AS total
         FROM keys AS k JOIN apps AS a ON a.id = k.app_id
         WHERE k.scheme_id = $1 AND (k.revoked_at_us IS NULL OR k.revoked_at_us > $2) AND a.deleted_at_us IS NULL
         ORDER BY k.id LIMIT $3")
    .bind(id.0)
    .bind(now_us)
    .bind(USERS_NAMED_MAX)
    .fetch_all(connection)
    .await?;
    let mut named = vec![];
    for app in &apps {
        named.push(format!("the app `{}`", app.try_get::<&str>("slug")?));
    }
    for key in &keys {
        let (id, app): (i64, &str) = (key.try_get("id")?, key.try_get("slug")?);
        named.push(format!("the key {id} of the app `{app}`"));
    }
    if named.is_empty() {
        return Ok(None);
    }
    let mut total = 0_i64;
    for row in apps.first().into_iter().chain(keys.first()) {
        total += row.try_get::<i64>("total")?;
    }
    let unnamed = total - i64::try_from(named.len()).unwrap_or(total);
    let more = if unnamed > 0 {
        format!(" and {unnamed} more")
    } else {
        String::new()
    };
    Ok(Some(named.join(", ") + &more))
}

fn scheme(row: &Row) -> Result<Scheme, StoreError> {
    Ok(Scheme {
        id: SchemeId(row.try_get("id")?),
        deployment_id: DeploymentId(row.try_get("deployment_id")?),
        slug: row.try_get("slug")?,
        name: row.try_get("name")?,
        description: row.try_get("description")?,
        rules: column::from_json(row.try_get("rules")?)?,
        created_at: column::timestamp(row.try_get("created_at_us")?)?,
        updated_at: column::timestamp(row.try_get("updated_at_us")?)?,
    })
}
