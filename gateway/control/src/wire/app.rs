//! Apps on the wire.

use crate::bounds;
use crate::fault::{Fault, Faults};
use crate::field::{Field, Id, IdOrEmpty};
use crate::wire::{self, Enforced, RateLimit};
use jiff::Timestamp;
use portcullis_store::entity::{App, AppPatch, NewApp};
use portcullis_verify::Rule;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// An API auth app: what keys are issued under.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ApiAuthApp {
    /// Its id, a 64-bit integer.
    id: String,
    /// The deployment it belongs to.
    deployment_id: String,
    /// The user who owns it.
    user_id: Option<String>,
    /// The organization its keys are scoped to.
    organization_id: Option<String>,
    /// The workspace its keys are scoped to.
    workspace_id: Option<String>,
    /// Its name in paths and routes.
    app_slug: String,
    /// Its name for people.
    name: String,
    /// Free text.
    description: Option<String>,
    /// Whether its keys open anything; false for a deleted app.
    is_active: bool,
    /// What the secrets of its keys start with.
    key_prefix: String,
    /// What its keys may at most do; empty means that only the keys' own permissions count.
    permissions: Vec<String>,
    /// Path patterns that its keys open, without leading slash; empty means every path.
    resources: Vec<String>,
    /// The rules of the attached scheme.
    #[schema(value_type = Vec<RateLimit>)]
    rate_limits: Vec<Rule>,
    /// The attached scheme.
    rate_limit_scheme_slug: Option<String>,
    /// When it was created.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When it was last changed.
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
    /// When it was deleted.
    #[schema(value_type = Option<String>, format = DateTime)]
    deleted_at: Option<Timestamp>,
}

impl From<App> for ApiAuthApp {
    fn from(app: App) -> Self {
        let (rate_limit_scheme_slug, rate_limits) = match app.scheme {
            Some(scheme) => (Some(scheme.slug), scheme.rules),
            None => (None, Vec::new()),
        };
        ApiAuthApp {
            id: wire::id(app.id),
            deployment_id: wire::id(app.deployment_id),
            user_id: app.user_id.map(wire::id),
            organization_id: app.organization_id.map(wire::id),
            workspace_id: app.workspace_id.map(wire::id),
            app_slug: app.slug,
            name: app.name,
            description: app.description,
            is_active: app.is_active && app.deleted_at.is_none(),
            key_prefix: app.key_prefix,
            permissions: app.permissions,
            resources: app.resources,
            rate_limits,
            rate_limit_scheme_slug,
            created_at: app.created_at,
            updated_at: app.updated_at,
            deleted_at: app.deleted_at,
        }
    }
}

/// An app that was changed, and how far the change has come.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChangedApiAuthApp {
    /// The app as it is now.
    #[serde(flatten)]
    pub(crate) app: ApiAuthApp,
    #[serde(flatten)]
    pub(crate) enforced: Enforced,
}

/// The apps of a deployment.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ApiAuthAppList {
    /// How many there are.
    pub(crate) total: usize,
    /// All of them.
    pub(crate) apps: Vec<ApiAuthApp>,
}

/// A new app.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub(crate) struct CreateApiAuthAppRequest {
    /// Its name in paths and routes. Required, unless `slug` is given.
    #[schema(value_type = Option<String>, pattern = "^[a-z0-9][a-z0-9_-]{0,63}$")]
    app_slug: Field<String>,
    /// The older name of `app_slug`. With it `key_prefix` may be left out and follows from the slug.
    #[schema(value_type = Option<String>, pattern = "^[a-z0-9][a-z0-9_-]{0,63}$")]
    slug: Field<String>,
    /// Its name for people.
    #[schema(value_type = String, required = true, min_length = 1, max_length = 255)]
    name: Field<String>,
    /// What the secrets of its keys start with. Required, unless `slug` is given; must not end with `_`.
    #[schema(value_type = Option<String>, pattern = "^[A-Za-z0-9][A-Za-z0-9_]{0,31}$")]
    key_prefix: Field<String>,
    /// Free text.
    #[schema(value_type = Option<String>, max_length = 2000)]
    description: Field<String>,
    /// The user who owns it, as a string or a number. Not together with `permissions` or `resources`.
    #[schema(value_type = Option<IdOrEmpty>)]
    user_id: Field<Id>,
    /// The organization its keys are scoped to, as a string or a number.
    #[schema(value_type = Option<IdOrEmpty>)]
    organization_id: Field<Id>,
    /// The workspace its keys are scoped to, as a string or a number.
    #[schema(value_type = Option<IdOrEmpty>)]
    workspace_id: Field<Id>,
    /// The rate-limit scheme to attach.
    #[schema(value_type = Option<String>)]
    rate_limit_scheme_slug: Field<String>,
    /// What its keys may at most do.
    #[schema(value_type = Option<Vec<String>>, max_items = 256)]
    permissions: Field<Vec<String>>,
    /// Path patterns that its keys open, without leading slash: exact, `*`, or ending in `/*`.
    #[schema(value_type = Option<Vec<String>>, max_items = 256)]
    resources: Field<Vec<String>>,
}

impl CreateApiAuthAppRequest {
    /// What the store takes, or all that is wrong.
    pub(crate) fn validate(self) -> Result<NewApp, Vec<Fault>> {
        let mut faults = Faults::default();
        if let (Field::Given(one), Field::Given(other)) = (&self.app_slug, &self.slug)
            && one != other
        {
            faults.refuse("`app_slug` and `slug` are both given and differ.");
        }
        let derives_prefix = !self.app_slug.is_given() && !self.key_prefix.is_given();
        let slug = faults.required("app_slug", self.app_slug.or(self.slug), bounds::slug);
        let key_prefix = if derives_prefix {
            slug.as_deref().map(bounds::key_prefix_of_slug)
        } else {
            faults.required("key_prefix", self.key_prefix, bounds::key_prefix)
        };
        let name = faults.required("name", self.name, bounds::name);
        let description = faults
            .optional("description", self.description, bounds::description)
            .flatten();
        let user_id = faults.optional("user_id", self.user_id, |Id(id)| Ok(id)).flatten();
        let organization_id = faults
            .optional("organization_id", self.organization_id, |Id(id)| Ok(id))
            .flatten();
        let workspace_id = faults
            .optional("workspace_id", self.workspace_id, |Id(id)| Ok(id))
            .flatten();
        let scheme_slug = faults
            .optional(
                "rate_limit_scheme_slug",
                self.rate_limit_scheme_slug,
                bounds::slug_or_none,
            )
            .flatten();
        let permissions = faults
            .optional("permissions", self.permissions, bounds::permissions)
            .unwrap_or_default();
        let resources = faults
            .optional("resources", self.resources, bounds::resources)
            .unwrap_or_default();
        if user_id.is_some() {
            refuse_rights_of_user_app(&mut faults, &permissions, &resources);
        }
        let app = slug.zip(name).zip(key_prefix).map(|((slug, name), key_prefix)| NewApp {
            slug,
            name,
            key_prefix,
            description,
            user_id,
            organization_id,
            workspace_id,
            scheme_slug,
            permissions,
            resources,
        });
        faults.or(app)
    }
}

/// Changes to an app. What is left out, or null, stays; an empty string or list clears.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub(crate) struct UpdateApiAuthAppRequest {
    /// Its name for people.
    #[schema(value_type = Option<String>, min_length = 1, max_length = 255)]
    name: Field<String>,
    /// What secrets made from now on start with; must not end with `_`.
    #[schema(value_type = Option<String>, pattern = "^[A-Za-z0-9][A-Za-z0-9_]{0,31}$")]
    key_prefix: Field<String>,
    /// Free text.
    #[schema(value_type = Option<String>, max_length = 2000)]
    description: Field<String>,
    /// False stops every key of the app at once.
    #[schema(value_type = Option<bool>)]
    is_active: Field<bool>,
    /// The organization its keys are scoped to, as a string or a number.
    #[schema(value_type = Option<IdOrEmpty>)]
    organization_id: Field<Id>,
    /// The workspace its keys are scoped to, as a string or a number.
    #[schema(value_type = Option<IdOrEmpty>)]
    workspace_id: Field<Id>,
    /// The rate-limit scheme to attach.
    #[schema(value_type = Option<String>)]
    rate_limit_scheme_slug: Field<String>,
    /// What its keys may at most do. Not for an app that a user owns.
    #[schema(value_type = Option<Vec<String>>, max_items = 256)]
    permissions: Field<Vec<String>>,
    /// Path patterns that its keys open, without leading slash. Not for an app that a user owns.
    #[schema(value_type = Option<Vec<String>>, max_items = 256)]
    resources: Field<Vec<String>>,
}

impl UpdateApiAuthAppRequest {
    /// What the store takes, or all that is wrong. `has_user` says whether a user owns the app.
    pub(crate) fn validate(self, has_user: bool) -> Result<AppPatch, Vec<Fault>> {
        let mut faults = Faults::default();
        let patch = AppPatch {
            name: faults.optional("name", self.name, bounds::name),
            key_prefix: faults.optional("key_prefix", self.key_prefix, bounds::key_prefix),
            description: faults.optional("description", self.description, bounds::description),
            is_active: faults.optional("is_active", self.is_active, Ok),
            organization_id: faults.optional("organization_id", self.organization_id, |Id(id)| Ok(id)),
            workspace_id: faults.optional("workspace_id", self.workspace_id, |Id(id)| Ok(id)),
            scheme_slug: faults.optional(
                "rate_limit_scheme_slug",
                self.rate_limit_scheme_slug,
                bounds::slug_or_none,
            ),
            permissions: faults.optional("permissions", self.permissions, bounds::permissions),
            resources: faults.optional("resources", self.resources, bounds::resources),
        };
        if has_user {
            let permissions = patch.permissions.as_deref().unwrap_or_default();
            refuse_rights_of_user_app(&mut faults, permissions, patch.resources.as_deref().unwrap_or_default());
        }
        faults.or(Some(patch))
    }
}

/// An app that a user owns takes its rights from that user, so it may name none.
fn refuse_rights_of_user_app(faults: &mut Faults, permissions: &[String], resources: &[String]) {
    for (name, list) in [("permissions", permissions), ("resources", resources)] {
        if !list.is_empty() {
            faults.refuse(format!("`{name}` must be empty for an app with a `user_id`."));
        }
    }
}
