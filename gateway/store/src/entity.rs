//! The entities as the store knows them: what callers write and what they read back.
//!
//! Values are already validated by the control API; the store enforces only what needs the database (uniqueness,
//! references, states). Times are UTC; ids are positive 64-bit integers; no secret is ever here.

use jiff::Timestamp;
use portcullis_verify::{AppId, DeploymentId, KeyHash, KeyId, Rule, SchemeId, Version};

/// A free JSON object.
pub type JsonObject = serde_json::Map<String, serde_json::Value>;

/// What a deployment may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// May not create apps.
    Free,
    /// May.
    Growth,
}

/// A tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    /// Its id.
    pub id: DeploymentId,
    /// Its unique name, a slug.
    pub name: String,
    /// Its plan; new ones start on growth.
    pub plan: Plan,
    /// When it was created.
    pub created_at: Timestamp,
}

/// What a token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// Call the control API for its deployment.
    Management,
    /// Watch, fill and report as a gateway of its deployment.
    Gateway,
}

/// A management or gateway token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Its id.
    pub id: i64,
    /// The deployment it belongs to.
    pub deployment_id: DeploymentId,
    /// What it may do.
    pub kind: TokenKind,
    /// A human name.
    pub name: String,
    /// The slugs of the apps whose keys it opens, sorted. Empty: all of the deployment. Always empty for management tokens.
    pub apps: Vec<String>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// An API auth app.
#[derive(Debug, Clone, PartialEq)]
pub struct App {
    /// Its id; never used again.
    pub id: AppId,
    /// Its tenant.
    pub deployment_id: DeploymentId,
    /// Owner scope.
    pub user_id: Option<i64>,
    /// Organization scope.
    pub organization_id: Option<i64>,
    /// Workspace scope.
    pub workspace_id: Option<i64>,
    /// Unique among the deployment's apps that are not deleted.
    pub slug: String,
    /// Display name.
    pub name: String,
    /// Free text.
    pub description: Option<String>,
    /// Whether its keys open anything.
    pub is_active: bool,
    /// What its secrets start with.
    pub key_prefix: String,
    /// What its keys may at most do; empty: anything.
    pub permissions: Vec<String>,
    /// Path patterns; empty: every path.
    pub resources: Vec<String>,
    /// The attached scheme with its rules.
    pub scheme: Option<SchemeRef>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// When it was deleted.
    pub deleted_at: Option<Timestamp>,
}

/// The scheme attached to an app or key, as far as answers show it.
#[derive(Debug, Clone, PartialEq)]
pub struct SchemeRef {
    /// Its id.
    pub id: SchemeId,
    /// Its slug.
    pub slug: String,
    /// Its rules as their author wrote them.
    pub rules: Vec<Rule>,
}

/// A new app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewApp {
    /// See [`App`].
    pub slug: String,
    /// See [`App`].
    pub name: String,
    /// See [`App`].
    pub key_prefix: String,
    /// See [`App`].
    pub description: Option<String>,
    /// See [`App`].
    pub user_id: Option<i64>,
    /// See [`App`].
    pub organization_id: Option<i64>,
    /// See [`App`].
    pub workspace_id: Option<i64>,
    /// Slug of the scheme to attach.
    pub scheme_slug: Option<String>,
    /// See [`App`].
    pub permissions: Vec<String>,
    /// See [`App`].
    pub resources: Vec<String>,
}

/// Changes to an app: `None` leaves a field as it is, `Some(None)` clears it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AppPatch {
    /// New name.
    pub name: Option<String>,
    /// New prefix for secrets made from now on.
    pub key_prefix: Option<String>,
    /// New description.
    pub description: Option<Option<String>>,
    /// New switch position.
    pub is_active: Option<bool>,
    /// New organization scope.
    pub organization_id: Option<Option<i64>>,
    /// New workspace scope.
    pub workspace_id: Option<Option<i64>>,
    /// New scheme.
    pub scheme_slug: Option<Option<String>>,
    /// New permissions.
    pub permissions: Option<Vec<String>>,
    /// New resources.
    pub resources: Option<Vec<String>>,
}

/// An API key, without its secret and hash.
#[derive(Debug, Clone, PartialEq)]
pub struct Key {
    /// Its id.
    pub id: KeyId,
    /// First key of its chain of rotations.
    pub lineage_id: KeyId,
    /// The key it replaced.
    pub rotated_from: Option<KeyId>,
    /// The key that replaced it.
    pub rotated_to: Option<KeyId>,
    /// Its tenant.
    pub deployment_id: DeploymentId,
    /// Its app.
    pub app_id: AppId,
    /// Its app's slug.
    pub app_slug: String,
    /// Its app's organization scope.
    pub organization_id: Option<i64>,
    /// Its app's workspace scope.
    pub workspace_id: Option<i64>,
    /// Human name.
    pub name: String,
    /// What its secret starts with.
    pub key_prefix: String,
    /// The last 8 characters of its secret.
    pub key_suffix: String,
    /// What it may do, before the app's permissions cut it down.
    pub permissions: Vec<String>,
    /// Free JSON object.
    pub metadata: JsonObject,
    /// Owning service or team.
    pub owner: Option<String>,
    /// Owning user.
    pub owner_user_id: Option<i64>,
    /// Environment tag.
    pub environment: Option<String>,
    /// The scheme that holds for it: its own, else its app's.
    pub scheme: Option<SchemeRef>,
    /// Whether `scheme` is its own.
    pub scheme_is_own: bool,
    /// When it stops.
    pub expires_at: Option<Timestamp>,
    /// When it last opened anything, as far as reported.
    pub last_used_at: Option<Timestamp>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// From when it is revoked; in the future during a grace period.
    pub revoked_at: Option<Timestamp>,
    /// Why.
    pub revoked_reason: Option<String>,
}

/// A new key.
#[derive(Debug, Clone, PartialEq)]
pub struct NewKey {
    /// Hash of the secret.
    pub hash: KeyHash,
    /// See [`Key`]. Must still be the app's prefix when the key is written.
    pub key_prefix: String,
    /// See [`Key`].
    pub key_suffix: String,
    /// See [`Key`].
    pub name: String,
    /// See [`Key`].
    pub permissions: Vec<String>,
    /// See [`Key`].
    pub metadata: JsonObject,
    /// See [`Key`].
    pub owner: Option<String>,
    /// See [`Key`].
    pub owner_user_id: Option<i64>,
    /// See [`Key`].
    pub environment: Option<String>,
    /// Slug of the key's own scheme.
    pub scheme_slug: Option<String>,
    /// See [`Key`].
    pub expires_at: Option<Timestamp>,
}

/// The secret half of a rotation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSecret {
    /// Hash of the new secret.
    pub hash: KeyHash,
    /// What it starts with.
    pub key_prefix: String,
    /// Its last 8 characters.
    pub key_suffix: String,
}

/// A rate-limit scheme.
#[derive(Debug, Clone, PartialEq)]
pub struct Scheme {
    /// Its id.
    pub id: SchemeId,
    /// Its tenant.
    pub deployment_id: DeploymentId,
    /// Unique in the deployment.
    pub slug: String,
    /// Display name.
    pub name: String,
    /// Free text.
    pub description: Option<String>,
    /// Rules as their author wrote them.
    pub rules: Vec<Rule>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// A new scheme.
#[derive(Debug, Clone, PartialEq)]
pub struct NewScheme {
    /// See [`Scheme`].
    pub slug: String,
    /// See [`Scheme`].
    pub name: String,
    /// See [`Scheme`].
    pub description: Option<String>,
    /// See [`Scheme`].
    pub rules: Vec<Rule>,
}

/// Changes to a scheme.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SchemePatch {
    /// New name.
    pub name: Option<String>,
    /// New description; `Some(None)` clears it.
    pub description: Option<Option<String>>,
    /// New rules.
    pub rules: Option<Vec<Rule>>,
}

/// A committed mutation: its result, and the version that a cache must have applied before the caller is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed<T> {
    /// What was written.
    pub value: T,
    /// Its place in the change log.
    pub version: Version,
}
