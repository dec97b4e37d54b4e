//! `portcullis apps`: create, list, show, update, delete.

use crate::argument::{Body, slug};
use crate::connection::Connection;
use crate::failure::Failure;
use crate::instant::{exact, exact_and_relative};
use crate::rule_text::{self, AnsweredRule};
use crate::surroundings::Surroundings;
use crate::table;
use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;
use reqwest::Method;
use serde::Deserialize;

/// Apps: what keys are issued under.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
        portcullis apps create internal-api --name 'Internal API' --prefix sk_live --permission users:read,users:write\n  \
        portcullis apps update internal-api --scheme standard\n  \
        portcullis apps update internal-api --inactive       stops every key of the app at once\n  \
        portcullis apps list --all --output json\n\n\
        The management token comes from PORTCULLIS_TOKEN, or from a file named with --token-file.")]
pub struct Apps {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    command: AppsCommand,
}

#[derive(Debug, Subcommand)]
enum AppsCommand {
    /// Create an app
    Create(Create),
    /// List the apps
    List {
        /// Inactive and deleted ones too
        #[arg(long)]
        all: bool,
    },
    /// Show everything about an app
    Show {
        /// The app's slug
        #[arg(value_parser = slug)]
        app: String,
    },
    /// Change an app; what is not named stays as it is
    Update(Update),
    /// Delete an app; its keys open nothing from then on, and never again
    Delete {
        /// The app's slug
        #[arg(value_parser = slug)]
        app: String,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
}

#[derive(Debug, Args)]
struct Create {
    /// The app's slug: 1 to 64 of a-z, 0-9, `-` and `_`; routes name it
    #[arg(value_parser = slug)]
    app: String,
    /// Its name for people
    #[arg(long)]
    name: String,
    /// What its secrets start with, such as sk_live. Without it, the slug
    #[arg(long)]
    prefix: Option<String>,
    /// Free text
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// What its keys may at most do; repeat it, or separate by commas. Without any, what each key names
    #[arg(long = "permission", value_name = "NAME", value_delimiter = ',')]
    permissions: Vec<String>,
    /// Paths its keys open, without leading slash: invoices/*; repeat it for more. Without any, every path
    #[arg(long = "resource", value_name = "PATTERN")]
    resources: Vec<String>,
    /// The rate-limit scheme that holds for its keys
    #[arg(long, value_name = "SLUG", value_parser = slug)]
    scheme: Option<String>,
    /// The user who owns it; then it takes no permissions and no resources
    #[arg(long, value_name = "ID")]
    user_id: Option<String>,
    /// The organization its keys are scoped to
    #[arg(long, value_name = "ID")]
    organization_id: Option<String>,
    /// The workspace its keys are scoped to
    #[arg(long, value_name = "ID")]
    workspace_id: Option<String>,
}

#[derive(Debug, Args)]
struct Update {
    /// The app's slug
    #[arg(value_parser = slug)]
    app: String,
    /// New name for people
    #[arg(long)]
    name: Option<String>,
    /// What secrets made from now on start with
    #[arg(long)]
    prefix: Option<String>,
    /// New free text
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// The permissions it is to have, in place of those it has
    #[arg(long = "permission", value_name = "NAME", value_delimiter = ',')]
    permissions: Vec<String>,
    /// The path patterns it is to have, in place of those it has
    #[arg(long = "resource", value_name = "PATTERN")]
    resources: Vec<String>,
    /// The rate-limit scheme it is to have
    #[arg(long, value_name = "SLUG", value_parser = slug)]
    scheme: Option<String>,
    /// The organization its keys are to be scoped to
    #[arg(long, value_name = "ID")]
    organization_id: Option<String>,
    /// The workspace its keys are to be scoped to
    #[arg(long, value_name = "ID")]
    workspace_id: Option<String>,
    /// Let its keys open things (again)
    #[arg(long, conflicts_with = "inactive")]
    active: bool,
    /// Stop all its keys at once
    #[arg(long)]
    inactive: bool,
    /// What to empty; repeat it, or separate by commas
    #[arg(long, value_name = "FIELD", value_enum, value_delimiter = ',')]
    clear: Vec<Clearable>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Clearable {
    Description,
    Permissions,
    Resources,
    Scheme,
}

#[derive(Deserialize)]
struct App {
    id: String,
    deployment_id: String,
    app_slug: String,
    name: String,
    description: Option<String>,
    is_active: bool,
    key_prefix: String,
    #[serde(default)]
    permissions: Vec<String>,
    #[serde(default)]
    resources: Vec<String>,
    #[serde(default)]
    rate_limits: Vec<AnsweredRule>,
    rate_limit_scheme_slug: Option<String>,
    user_id: Option<String>,
    organization_id: Option<String>,
    workspace_id: Option<String>,
    created_at: String,
    updated_at: String,
    deleted_at: Option<String>,
}

#[derive(Deserialize)]
struct AppList {
    apps: Vec<App>,
}

impl Apps {
    pub(crate) async fn run(self, surroundings: &mut Surroundings<'_>) -> Result<u8, Failure> {
        let connection = &self.connection;
        let (method, segments, query, body) = match self.command {
            AppsCommand::List { all } => return list(connection, all, surroundings).await,
            AppsCommand::Delete { app, yes } => return delete(connection, &app, yes, surroundings).await,
            AppsCommand::Create(create) => (Method::POST, vec!["apps".to_owned()], Vec::new(), Some(create.body())),
            AppsCommand::Show { app } => (Method::GET, vec!["apps".to_owned(), app], Vec::new(), None),
            AppsCommand::Update(update) => {
                let (app, body) = update.body()?;
                (Method::PATCH, vec!["apps".to_owned(), app], Vec::new(), Some(body))
            }
        };
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let answer = connection
            .client(surroundings)?
            .call(method, &segments, &query, body.as_ref())
            .await?;
        if connection.as_json() {
            surroundings.print(&answer.indented())?;
        } else {
            let app: App = answer.read()?;
            surroundings.print(&facts(app, surroundings.now()))?;
        }
        Ok(0)
    }
}

impl Create {
    fn body(self) -> serde_json::Value {
        // The API derives the prefix from the older name of the field.
        let slug_field = if self.prefix.is_some() { "app_slug" } else { "slug" };
        Body::default()
            .with(slug_field, Some(self.app))
            .with("name", Some(self.name))
            .with("key_prefix", self.prefix)
            .with("description", self.description)
            .with_list("permissions", self.permissions)
            .with_list("resources", self.resources)
            .with("rate_limit_scheme_slug", self.scheme)
            .with("user_id", self.user_id)
            .with("organization_id", self.organization_id)
            .with("workspace_id", self.workspace_id)
            .into_json()
    }
}

impl Update {
    fn body(self) -> Result<(String, serde_json::Value), Failure> {
        let is_active = if self.active {
            Some(true)
        } else {
            self.inactive.then_some(false)
        };
        let set = [
            (Clearable::Description, self.description.is_some()),
            (Clearable::Permissions, !self.permissions.is_empty()),
            (Clearable::Resources, !self.resources.is_empty()),
            (Clearable::Scheme, self.scheme.is_some()),
        ];
        if let Some((field, _)) = set.iter().find(|(field, is_set)| *is_set && self.clear.contains(field)) {
            let field = field
                .to_possible_value()
                .map_or_else(String::new, |value| value.get_name().to_owned());
            return Err(Failure::usage(format!("{field} cannot be both set and cleared")));
        }
        let mut body = Body::default()
            .with("name", self.name)
            .with("key_prefix", self.prefix)
            .with("description", self.description)
            .with_list("permissions", self.permissions)
            .with_list("resources", self.resources)
            .with("rate_limit_scheme_slug", self.scheme)
            .with("organization_id", self.organization_id)
            .with("workspace_id", self.workspace_id)
            .with("is_active", is_active);
        for field in self.clear {
            // The API reads an empty text or list as "clear".
            body = match field {
                Clearable::Description => body.with("description", Some("")),
                Clearable::Scheme => body.with("rate_limit_scheme_slug", Some("")),
                Clearable::Permissions => body.with("permissions", Some(Vec::<String>::new())),
                Clearable::Resources => body.with("resources", Some(Vec::<String>::new())),
            };
        }
        if body.is_empty() {
            return Err(Failure::usage(
                "nothing to change: name at least one option; see `portcullis apps update --help`",
            ));
        }
        Ok((self.app, body.into_json()))
    }
}

async fn list(connection: &Connection, all: bool, surroundings: &mut Surroundings<'_>) -> Result<u8, Failure> {
    let query: &[(&str, &str)] = if all { &[("include_inactive", "true")] } else { &[] };
    let answer = connection
        .client(surroundings)?
        .call(Method::GET, &["apps"], query, None)
        .await?;
    if connection.as_json() {
        surroundings.print(&answer.indented())?;
        return Ok(0);
    }
    let apps = answer.read::<AppList>()?.apps;
    if apps.is_empty() {
        surroundings.tell("there are no apps; `portcullis apps create` makes one");
        return Ok(0);
    }
    let rows = apps.into_iter().map(|app| {
        let state = state(&app);
        vec![
            app.app_slug,
            app.name,
            state.to_owned(),
            app.key_prefix,
            app.rate_limit_scheme_slug.unwrap_or_else(|| "default".to_owned()),
            app.permissions.join(", "),
            exact(&app.created_at),
        ]
    });
    let headings = ["SLUG", "NAME", "STATE", "PREFIX", "SCHEME", "PERMISSIONS", "CREATED"];
    surroundings.print(&table::grid(&headings, rows.collect()))?;
    Ok(0)
}

async fn delete(
    connection: &Connection,
    app: &str,
    yes: bool,
    surroundings: &mut Surroundings<'_>,
) -> Result<u8, Failure> {
    let client = connection.client(surroundings)?;
    if !yes {
        surroundings.confirm(&format!(
            "Delete the app {app}? Its keys open nothing from then on, and never again."
        ))?;
    }
    client.call(Method::DELETE, &["apps", app], &[], None).await?;
    if !connection.as_json() {
        surroundings.print(&format!("The app {app} is deleted; its keys open nothing any more."))?;
    }
    Ok(0)
}

fn state(app: &App) -> &'static str {
    match (app.deleted_at.is_some(), app.is_active) {
        (true, _) => "deleted",
        (false, true) => "active",
        (false, false) => "inactive",
    }
}

fn facts(app: App, now: Timestamp) -> String {
    let state = state(&app).to_owned();
    table::facts(vec![
        ("App", Some(app.app_slug)),
        ("Name", Some(app.name)),
        ("State", Some(state)),
        ("Description", app.description),
        ("Key prefix", Some(app.key_prefix)),
        (
            "Permissions",
            Some(or_else(app.permissions.join(", "), "those of each key")),
        ),
        ("Resources", Some(or_else(app.resources.join("\n"), "every path"))),
        (
            "Scheme",
            Some(
                app.rate_limit_scheme_slug
                    .unwrap_or_else(|| "none: the gateway's default rules".to_owned()),
            ),
        ),
        ("Rules", Some(rule_text::lines(&app.rate_limits))),
        ("User", app.user_id),
        ("Organization", app.organization_id),
        ("Workspace", app.workspace_id),
        ("Created", Some(exact_and_relative(&app.created_at, now))),
        ("Updated", Some(exact_and_relative(&app.updated_at, now))),
        ("Deleted", app.deleted_at.map(|at| exact_and_relative(&at, now))),
        ("Id", Some(app.id)),
        ("Deployment", Some(app.deployment_id)),
    ])
}

fn or_else(text: String, empty: &str) -> String {
    if text.is_empty() { empty.to_owned() } else { text }
}
