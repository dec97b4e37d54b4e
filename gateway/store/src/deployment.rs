//! Deployments: the tenants, and what their plans allow.
//!
//! Names are slugs and never all digits, so that a deployment can be named by either name or id. The command line and
//! the server's start call this; everything else is handed an id.

use crate::change_log::Event;
use crate::database::Connection;
use crate::entity::{Deployment, Plan};
use crate::error::duplicate;
use crate::sql::{Row, sql};
use crate::{Committed, Store, StoreError, column, new_id};
use portcullis_verify::DeploymentId;

/// The name of the deployment that a new store starts with.
const FIRST_NAME: &str = "default";
const NAME_BYTES_MAX: usize = 64;
const MISSING: StoreError = StoreError::NotFound { what: "deployment" };

macro_rules! select {
    ($rest:literal) => {
        concat!("SELECT id, name, plan, created_at_us FROM deployments ", $rest)
    };
}

impl Store {
    /// The oldest deployment; a store that has none gets one, named `default`, on the plan `growth`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn ensure_first_deployment(&self) -> Result<Deployment, StoreError> {
        if let Some(first) = first(&mut self.reader().await?).await? {
            return Ok(first);
        }
        let mut write = self.begin().await?;
        // Another process may have been quicker.
        if let Some(first) = first(write.connection()).await? {
            return Ok(first);
        }
        let id = insert(self, write.connection(), FIRST_NAME).await?;
        let deployment = require(write.connection(), id).await?;
        Ok(write
            .commit(id, &[Event::DeploymentCreated(id)], deployment)
            .await?
            .value)
    }

    /// Creates a deployment on the plan `growth`.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] if the name is no slug or all digits, [`StoreError::Duplicate`],
    /// [`StoreError::Unavailable`].
    pub async fn create_deployment(&self, name: &str) -> Result<Committed<Deployment>, StoreError> {
        validate_name(name)?;
        let mut write = self.begin().await?;
        let id = insert(self, write.connection(), name).await?;
        let deployment = require(write.connection(), id).await?;
        write.commit(id, &[Event::DeploymentCreated(id)], deployment).await
    }

    /// All deployments, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn list_deployments(&self) -> Result<Vec<Deployment>, StoreError> {
        let rows = sql(select!("ORDER BY id")).fetch_all(&mut self.reader().await?).await?;
        rows.iter().map(deployment).collect()
    }

    /// The deployment with this name, else with this id.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn deployment_by_name_or_id(&self, name_or_id: &str) -> Result<Option<Deployment>, StoreError> {
        let row = sql(select!("WHERE name = $1 OR id = $2"))
            .bind(name_or_id)
            .bind(name_or_id.parse::<i64>().ok())
            .fetch_optional(&mut self.reader().await?)
            .await?;
        row.as_ref().map(deployment).transpose()
    }

    /// Puts a deployment on another plan. Apps that exist are not touched.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Unavailable`].
    pub async fn set_plan(&self, id: DeploymentId, plan: Plan) -> Result<Committed<Deployment>, StoreError> {
        let mut write = self.begin().await?;
        sql("UPDATE deployments SET plan = $1 WHERE id = $2")
            .bind(plan_name(plan))
            .bind(id.0)
            .execute(write.connection())
            .await?;
        let deployment = require(write.connection(), id).await?;
        write.commit(id, &[Event::PlanChanged(id)], deployment).await
    }
}

/// The deployment with this id, which must exist.
pub(crate) async fn require(connection: &mut Connection, id: DeploymentId) -> Result<Deployment, StoreError> {
    let row = sql(select!("WHERE id = $1"))
        .bind(id.0)
        .fetch_optional(connection)
        .await?;
    deployment(&row.ok_or(MISSING)?)
}

async fn first(connection: &mut Connection) -> Result<Option<Deployment>, StoreError> {
    let row = sql(select!("ORDER BY id LIMIT 1")).fetch_optional(connection).await?;
    row.as_ref().map(deployment).transpose()
}

async fn insert(store: &Store, connection: &mut Connection, name: &str) -> Result<DeploymentId, StoreError> {
    let now = store.now()?;
    let id = new_id::take(connection, now).await?;
    sql("INSERT INTO deployments (id, name, plan, created_at_us) VALUES ($1, $2, $3, $4)")
        .bind(id)
        .bind(name)
        .bind(plan_name(Plan::Growth))
        .bind(now.as_microsecond())
        .execute(connection)
        .await
        .map_err(|error| duplicate(error, || format!("the deployment `{name}`")))?;
    Ok(DeploymentId(id))
}

fn validate_name(name: &str) -> Result<(), StoreError> {
    let is_slug = name.len() <= NAME_BYTES_MAX
        && name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_');
    if !is_slug {
        return Err(StoreError::invalid(
            "a deployment's name is 1 to 64 of a-z, 0-9, `-` and `_`, and starts with a letter or digit",
        ));
    }
    if name.bytes().all(|b| b.is_ascii_digit()) {
        return Err(StoreError::invalid(
            "a deployment's name is not all digits: that would be an id",
        ));
    }
    Ok(())
}

fn plan_name(plan: Plan) -> &'static str {
    match plan {
        Plan::Free => "free",
        Plan::Growth => "growth",
    }
}

fn deployment(row: &Row) -> Result<Deployment, StoreError> {
    Ok(Deployment {
        id: DeploymentId(row.try_get("id")?),
        name: row.try_get("name")?,
        plan: match row.try_get("plan")? {
            "free" => Plan::Free,
            "growth" => Plan::Growth,
            unknown => return Err(StoreError::unavailable(format!("the plan `{unknown}` is unknown"))),
        },
        created_at: column::timestamp(row.try_get("created_at_us")?)?,
    })
}
