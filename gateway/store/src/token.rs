//! Management and gateway tokens: hashes, and which deployment each opens.
//!
//! Never sees a token itself; the control API makes and hashes them. A look-up compares hashes of high-entropy secrets
//! in an index, so its timing tells nothing about a token.

use crate::change_log::Event;
use crate::entity::{Deployment, Token, TokenKind};
use crate::error::duplicate;
use crate::sql::{Row, sql};
use crate::{Committed, Store, StoreError, column, deployment, new_id};
use portcullis_verify::DeploymentId;

const MISSING: StoreError = StoreError::NotFound { what: "token" };

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, deployment_id, kind, name, apps, created_at_us, revoked_at_us FROM tokens ",
            $rest
        )
    };
}

impl Store {
    /// Stores a new token. A gateway token may be kept to the apps with the slugs `apps`, which need not exist yet; with none it
    /// opens all of the deployment.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] without such a deployment, [`StoreError::Invalid`] for apps of a management token or an empty
    /// slug, [`StoreError::Duplicate`] if the token was ever stored before (also a revoked one),
    /// [`StoreError::Unavailable`].
    pub async fn create_token(
        &self,
        deployment_id: DeploymentId,
        kind: TokenKind,
        name: &str,
        apps: &[String],
        token_hash: [u8; 32],
    ) -> Result<Committed<Token>, StoreError> {
        let apps = scope(kind, apps)?;
        let mut write = self.begin().await?;
        deployment::require(write.connection(), deployment_id).await?;
        let now = self.now()?;
        let id = new_id::take(write.connection(), now).await?;
        let row = sql(
            "INSERT INTO tokens (id, deployment_id, kind, name, apps, token_hash, created_at_us)
             VALUES ($1, $2, $3, $4, $5, $6, $7)
             RETURNING id, deployment_id, kind, name, apps, created_at_us, revoked_at_us",
        )
        .bind(id)
        .bind(deployment_id.0)
        .bind(kind_name(kind))
        .bind(name)
        .bind(column::to_json(&apps)?)
        .bind(&token_hash[..])
        .bind(now.as_microsecond())
        .fetch_one(write.connection())
        .await
        .map_err(|error| duplicate(error, || "this token".to_owned()))?;
        let token = token(&row)?;
        write
            .commit(deployment_id, &[Event::TokenCreated(token.id)], token)
            .await
    }

    /// All tokens of a deployment, revoked ones too, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn list_tokens(&self, deployment_id: DeploymentId) -> Result<Vec<Token>, StoreError> {
        let rows = sql(select!("WHERE deployment_id = $1 ORDER BY id"))
            .bind(deployment_id.0)
            .fetch_all(&mut self.reader().await?)
            .await?;
        rows.iter().map(token).collect()
    }

    /// Revokes a token of a deployment.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if there is none or it is revoked already, [`StoreError::Unavailable`].
    pub async fn revoke_token(&self, deployment_id: DeploymentId, id: i64) -> Result<Committed<Token>, StoreError> {
        let mut write = self.begin().await?;
        let row = sql(
            "UPDATE tokens SET revoked_at_us = $1 WHERE id = $2 AND deployment_id = $3 AND revoked_at_us IS NULL
             RETURNING id, deployment_id, kind, name, apps, created_at_us, revoked_at_us",
        )
        .bind(self.now()?.as_microsecond())
        .bind(id)
        .bind(deployment_id.0)
        .fetch_optional(write.connection())
        .await?;
        let token = token(&row.ok_or(MISSING)?)?;
        write.commit(deployment_id, &[Event::TokenRevoked(id)], token).await
    }

    /// The token of this kind with this hash, unless it is revoked, and its deployment.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn find_token(
        &self,
        kind: TokenKind,
        token_hash: [u8; 32],
    ) -> Result<Option<(Token, Deployment)>, StoreError> {
        let mut reader = self.reader().await?;
        let row = sql(select!("WHERE token_hash = $1 AND kind = $2 AND revoked_at_us IS NULL"))
            .bind(&token_hash[..])
            .bind(kind_name(kind))
            .fetch_optional(&mut reader)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let token = token(&row)?;
        let deployment = deployment::require(&mut reader, token.deployment_id).await?;
        Ok(Some((token, deployment)))
    }

    /// How many tokens of this kind were ever stored, in all deployments and including revoked ones: 0 means that this
    /// is the first start. Revoking the last one is no first start, or a restart would bring back a leaked bootstrap
    /// token.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn count_tokens(&self, kind: TokenKind) -> Result<i64, StoreError> {
        let row = sql("SELECT COUNT(*) AS tokens FROM tokens WHERE kind = $1")
            .bind(kind_name(kind))
            .fetch_one(&mut self.reader().await?)
            .await?;
        Ok(row.try_get("tokens")?)
    }
}

/// The slugs of a scope in the one order they are stored in.
fn scope(kind: TokenKind, apps: &[String]) -> Result<Vec<&str>, StoreError> {
    if kind == TokenKind::Management && !apps.is_empty() {
        return Err(StoreError::invalid(
            "apps: only a gateway token can be kept to some apps",
        ));
    }
    if apps.iter().any(String::is_empty) {
        return Err(StoreError::invalid("apps: a slug is not empty"));
    }
    let mut slugs: Vec<&str> = apps.iter().map(String::as_str).collect();
    slugs.sort_unstable();
    slugs.dedup();
    Ok(slugs)
}

fn kind_name(kind: TokenKind) -> &'static str {
    match kind {
        TokenKind::Management => "management",
        TokenKind::Gateway => "gateway",
    }
}

fn token(row: &Row) -> Result<Token, StoreError> {
    Ok(Token {
        id: row.try_get("id")?,
        deployment_id: DeploymentId(row.try_get("deployment_id")?),
        kind: match row.try_get("kind")? {
            "management" => TokenKind::Management,
            "gateway" => TokenKind::Gateway,
            unknown => {
                return Err(StoreError::unavailable(format!(
                    "the token kind `{unknown}` is unknown"
                )));
            }
        },
        name: row.try_get("name")?,
        apps: column::from_json(row.try_get("apps")?)?,
        created_at: column::timestamp(row.try_get("created_at_us")?)?,
        revoked_at: column::optional_timestamp(row.try_get("revoked_at_us")?)?,
    })
}
