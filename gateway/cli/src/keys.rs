//! `portcullis keys`: create, list, show, revoke, rotate.
//!
//! A secret is in one answer and printed once: alone on standard output, so that a shell variable can take it.

use crate::argument::{Body, check_key_id, json_object, slug};
use crate::client::{Answer, Client, FLEET};
use crate::connection::Connection;
use crate::failure::Failure;
use crate::instant::{self, exact, exact_and_relative};
use crate::json_text;
use crate::rule_text::{self, AnsweredRule};
use crate::surroundings::Surroundings;
use crate::table::{self, visible};
use clap::{Args, Subcommand};
use jiff::Timestamp;
use reqwest::Method;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// API keys: issue, list, revoke, rotate.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
        portcullis keys create internal-api --name 'Acme production' --permission users:read --expires 90d\n  \
        KEY=$(portcullis keys create internal-api --name ci)     the secret alone goes to standard output\n  \
        portcullis keys list internal-api\n  \
        portcullis keys rotate internal-api 42 --grace 1h        both secrets work for an hour\n  \
        portcullis keys revoke internal-api 42 --reason leaked   refused from the answer on\n\n\
        The management token comes from PORTCULLIS_TOKEN, or from a file named with --token-file.")]
pub struct Keys {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    command: KeysCommand,
}

#[derive(Debug, Subcommand)]
enum KeysCommand {
    /// Create a key and print its secret, this once
    Create(Create),
    /// List an app's keys
    List {
        /// The app's slug
        #[arg(value_parser = slug)]
        app: String,
        /// Revoked and expired ones too
        #[arg(long)]
        all: bool,
    },
    /// Show everything about a key
    Show {
        /// The app's slug
        #[arg(value_parser = slug)]
        app: String,
        /// The key's id, as `list` shows it
        key_id: String,
    },
    /// Revoke a key; it is refused from the answer on
    Revoke {
        /// The app's slug
        #[arg(value_parser = slug)]
        app: String,
        /// The key's id, as `list` shows it
        key_id: String,
        /// Why, for those who read it later
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        /// Return only when every gateway enforces it, or has stopped trusting what it holds
        #[arg(long)]
        everywhere: bool,
    },
    /// Replace a key by one with a new secret and a new id; prints the secret, this once
    Rotate {
        /// The app's slug
        #[arg(value_parser = slug)]
        app: String,
        /// The key's id, as `list` shows it
        key_id: String,
        /// How long the old secret lives on: 30m, 12h, at most 30d. Without it, not at all
        #[arg(long, value_name = "SPAN", value_parser = instant::span_s)]
        grace: Option<i64>,
    },
}

#[derive(Debug, Args)]
struct Create {
    /// The app's slug
    #[arg(value_parser = slug)]
    app: String,
    /// Its name for people
    #[arg(long)]
    name: String,
    /// What it may do; repeat it, or separate by commas. Without any, nothing that needs a permission
    #[arg(long = "permission", value_name = "NAME", value_delimiter = ',')]
    permissions: Vec<String>,
    /// When it stops: RFC 3339, or a span from now such as 90d. Without it, never
    #[arg(long, value_name = "TIME")]
    expires: Option<String>,
    /// A JSON object that travels to the upstream with every request
    #[arg(long, value_name = "JSON", value_parser = json_object)]
    metadata: Option<Map<String, Value>>,
    /// The service or team that owns it
    #[arg(long, value_name = "TEXT")]
    owner: Option<String>,
    /// The user who owns it
    #[arg(long, value_name = "ID")]
    owner_user_id: Option<String>,
    /// A tag such as production
    #[arg(long, value_name = "TEXT")]
    environment: Option<String>,
    /// A rate-limit scheme of its own, in place of its app's
    #[arg(long, value_name = "SLUG", value_parser = slug)]
    scheme: Option<String>,
}

#[derive(Deserialize)]
struct Key {
    id: String,
    app_slug: String,
    name: String,
    key_prefix: String,
    key_suffix: String,
    is_active: bool,
    #[serde(default)]
    permissions: Vec<String>,
    #[serde(default)]
    metadata: Map<String, Value>,
    #[serde(default)]
    rate_limits: Vec<AnsweredRule>,
    rate_limit_scheme_slug: Option<String>,
    owner: Option<String>,
    owner_user_id: Option<String>,
    environment: Option<String>,
    organization_id: Option<String>,
    workspace_id: Option<String>,
    expires_at: Option<String>,
    last_used_at: Option<String>,
    created_at: String,
    updated_at: String,
    revoked_at: Option<String>,
    revoked_reason: Option<String>,
}

/// A list whose entries keep their text, so that one of them can be printed as it came.
#[derive(Deserialize)]
struct KeyList {
    keys: Vec<Box<RawValue>>,
}

#[derive(Deserialize)]
struct KeyWithSecret {
    key: Key,
    secret: String,
}

#[derive(Deserialize)]
struct RevokedKey {
    key: Key,
    /// Gateways that enforce it...
    #[serde(default)]
    enforced: u64,
    /// ...of so many, ...
    #[serde(default)]
    gateways: u64,
    /// ...and those that have not heard of it and will go on serving what they hold.
    #[serde(default)]
    unenforced: u64,
}

impl Keys {
    pub(crate) async fn run(self, surroundings: &mut Surroundings<'_>) -> Result<u8, Failure> {
        if let KeysCommand::Show { key_id, .. }
        | KeysCommand::Revoke { key_id, .. }
        | KeysCommand::Rotate { key_id, .. } = &self.command
        {
            check_key_id(key_id)?;
        }
        let client = self.connection.client(surroundings)?;
        let as_json = self.connection.as_json();
        match self.command {
            KeysCommand::Create(create) => {
                let (app, body) = create.body(surroundings.now())?;
                let answer = client
                    .call(Method::POST, &["apps", &app, "keys"], &[], Some(&body))
                    .await?;
                show_secret(&answer, as_json, surroundings)
            }
            KeysCommand::Rotate { app, key_id, grace } => {
                let body = Body::default().with("grace_period_seconds", grace).into_json();
                let path = ["apps", &app, "keys", &key_id, "rotate"];
                let answer = client.call(Method::POST, &path, &[], Some(&body)).await?;
                show_secret(&answer, as_json, surroundings)
            }
            KeysCommand::Revoke {
                app,
                key_id,
                reason,
                everywhere,
            } => {
                let body = Body::default().with("reason", reason).into_json();
                let path = ["apps", &app, "keys", &key_id, "revoke"];
                let query: &[(&str, &str)] = if everywhere { &[FLEET] } else { &[] };
                let answer = client.call(Method::POST, &path, query, Some(&body)).await?;
                show_revoked(&answer, as_json, surroundings)
            }
            KeysCommand::List { app, all } => list(&client, &app, all, as_json, surroundings).await,
            KeysCommand::Show { app, key_id } => show(&client, &app, &key_id, as_json, surroundings).await,
        }
    }
}

impl Create {
    fn body(self, now: Timestamp) -> Result<(String, Value), Failure> {
        let expires = self.expires.map(|text| instant::parse(&text, now)).transpose();
        let expires = expires.map_err(|message| Failure::usage(format!("--expires: {message}")))?;
        let body = Body::default()
            .with("name", Some(self.name))
            .with_list("permissions", self.permissions)
            .with("expires_at", expires.map(|at| at.to_string()))
            .with("metadata", self.metadata)
            .with("owner", self.owner)
            .with("owner_user_id", self.owner_user_id)
            .with("environment", self.environment)
            .with("rate_limit_scheme_slug", self.scheme);
        Ok((self.app, body.into_json()))
    }
}

/// The secret to standard output, what is known of the key beside it to standard error.
fn show_secret(answer: &Answer, as_json: bool, surroundings: &mut Surroundings<'_>) -> Result<u8, Failure> {
    let made: KeyWithSecret = answer.read()?;
    let id = made.key.id.clone();
    let printed = if as_json {
        surroundings.print_once(&answer.indented())
    } else {
        surroundings.show(&facts(made.key, surroundings.now()));
        surroundings.tell("the secret is shown only now; only a hash of it is kept:");
        surroundings.print_once(&made.secret)
    };
    printed.map_err(|failure| {
        Failure::Runtime(vec![
            failure.to_string(),
            format!(
                "the key {} exists, but its secret is lost: rotate or revoke it",
                visible(&id)
            ),
        ])
    })?;
    Ok(0)
}

fn show_revoked(answer: &Answer, as_json: bool, surroundings: &mut Surroundings<'_>) -> Result<u8, Failure> {
    if as_json {
        surroundings.print(&answer.indented())?;
        return Ok(0);
    }
    let revoked: RevokedKey = answer.read()?;
    let key = &revoked.key;
    let (id, name, app) = (visible(&key.id), visible(&key.name), visible(&key.app_slug));
    let RevokedKey { enforced, gateways, .. } = revoked;
    let by = if enforced == gateways {
        "it is refused from now on.".to_owned()
    } else {
        format!("{enforced} of {gateways} gateways refuse it already; `portcullis gateways` shows the others.")
    };
    surroundings.print(&format!("The key {id} ({name}) of {app} is revoked; {by}"))?;
    if revoked.unenforced > 0 {
        surroundings.tell(&format!(
            "{} of them cannot be reached and go on serving what they hold (on_stale = \"serve\"): the key may be let through there",
            revoked.unenforced
        ));
    }
    Ok(0)
}

async fn keys(client: &Client, app: &str, all: bool) -> Result<Answer, Failure> {
    let query: &[(&str, &str)] = if all { &[("include_inactive", "true")] } else { &[] };
    client.call(Method::GET, &["apps", app, "keys"], query, None).await
}

async fn list(
    client: &Client,
    app: &str,
    all: bool,
    as_json: bool,
    surroundings: &mut Surroundings<'_>,
) -> Result<u8, Failure> {
    let answer = keys(client, app, all).await?;
    if as_json {
        surroundings.print(&answer.indented())?;
        return Ok(0);
    }
    let now = surroundings.now();
    let keys = answer.read::<KeyList>()?.keys;
    let keys = keys
        .iter()
        .map(|raw| read(raw))
        .collect::<Result<Vec<Key>, Failure>>()?;
    if keys.is_empty() {
        let hint = if all {
            "`portcullis keys create` makes one"
        } else {
            "--all shows revoked and expired ones"
        };
        surroundings.tell(&format!("{app} has no keys to show; {hint}"));
        return Ok(0);
    }
    let rows = keys.into_iter().map(|key| {
        let state = state(&key, now);
        vec![
            key.id,
            key.name,
            format!("{}_…{}", key.key_prefix, key.key_suffix),
            state,
            key.permissions.join(", "),
            key.expires_at.map_or_else(|| "never".to_owned(), |at| exact(&at)),
            key.last_used_at.map_or_else(|| "unknown".to_owned(), |at| exact(&at)),
        ]
    });
    let headings = ["ID", "NAME", "SECRET", "STATE", "PERMISSIONS", "EXPIRES", "LAST USED"];
    surroundings.print(&table::grid(&headings, rows.collect()))?;
    Ok(0)
}

/// The API has no call for one key; it is found in the list of its app's.
async fn show(
    client: &Client,
    app: &str,
    key_id: &str,
    as_json: bool,
    surroundings: &mut Surroundings<'_>,
) -> Result<u8, Failure> {
    for raw in keys(client, app, true).await?.read::<KeyList>()?.keys {
        let key = read(&raw)?;
        if key.id == key_id {
            let text = if as_json {
                json_text::indented(raw.get())
            } else {
                facts(key, surroundings.now())
            };
            surroundings.print(&text)?;
            return Ok(0);
        }
    }
    Err(Failure::runtime(format!(
        "{app} has no key {key_id}; `portcullis keys list {app} --all` shows those it has"
    )))
}

fn read(raw: &RawValue) -> Result<Key, Failure> {
    serde_json::from_str(raw.get())
        .map_err(|error| Failure::runtime(format!("the answer has another shape than this version knows: {error}")))
}

fn state(key: &Key, now: Timestamp) -> String {
    let reached = |at: &Option<String>| {
        at.as_ref()
            .and_then(|at| at.parse::<Timestamp>().ok())
            .is_some_and(|at| at <= now)
    };
    match &key.revoked_at {
        Some(at) if key.is_active => format!("until {}", exact(at)),
        Some(_) if !key.is_active && reached(&key.revoked_at) => "revoked".to_owned(),
        _ if key.is_active => "active".to_owned(),
        _ => "expired".to_owned(),
    }
}

fn facts(key: Key, now: Timestamp) -> String {
    let state = state(&key, now);
    let metadata = if key.metadata.is_empty() {
        None
    } else {
        Some(Value::Object(key.metadata).to_string())
    };
    table::facts(vec![
        ("Key", Some(key.id)),
        ("Name", Some(key.name)),
        ("App", Some(key.app_slug)),
        ("State", Some(state)),
        ("Secret", Some(format!("{}_…{}", key.key_prefix, key.key_suffix))),
        ("Permissions", Some(key.permissions.join(", "))),
        (
            "Scheme",
            Some(
                key.rate_limit_scheme_slug
                    .unwrap_or_else(|| "none: the gateway's default rules".to_owned()),
            ),
        ),
        ("Rules", Some(rule_text::lines(&key.rate_limits))),
        ("Metadata", metadata),
        ("Owner", key.owner),
        ("Owning user", key.owner_user_id),
        ("Environment", key.environment),
        ("Organization", key.organization_id),
        ("Workspace", key.workspace_id),
        (
            "Expires",
            Some(
                key.expires_at
                    .map_or_else(|| "never".to_owned(), |at| exact_and_relative(&at, now)),
            ),
        ),
        ("Last used", key.last_used_at.map(|at| exact_and_relative(&at, now))),
        ("Created", Some(exact_and_relative(&key.created_at, now))),
        ("Updated", Some(exact_and_relative(&key.updated_at, now))),
        ("Revoked", key.revoked_at.map(|at| exact_and_relative(&at, now))),
        ("Reason", key.revoked_reason),
    ])
}
