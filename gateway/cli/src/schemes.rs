//! `portcullis schemes`: create, list, show, update, delete.

use crate::argument::{Body, slug};
use crate::connection::Connection;
use crate::failure::Failure;
use crate::instant::{exact, exact_and_relative};
use crate::rule_text::{self, AnsweredRule};
use crate::surroundings::Surroundings;
use crate::table;
use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;
use portcullis_config::Rule;
use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Rate-limit schemes: rules that apps and keys share.
#[derive(Debug, Args)]
#[command(
    after_help = format!("Examples:\n  \
        portcullis schemes create standard --name Standard --rule '100/minute per_key' --rule '5000/day'\n  \
        portcullis schemes create search --name Search --rule '10/second per_ip /v1/search /v1/suggest/* priority=1'\n  \
        portcullis schemes update standard --file rules.json\n\n{}\n\n\
        The management token comes from PORTCULLIS_TOKEN, or from a file named with --token-file.", rule_text::HELP)
)]
pub struct Schemes {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    command: SchemesCommand,
}

#[derive(Debug, Subcommand)]
enum SchemesCommand {
    /// Create a scheme
    #[command(after_help = rule_text::HELP)]
    Create {
        /// The scheme's slug: 1 to 64 of a-z, 0-9, `-` and `_`
        #[arg(value_parser = slug)]
        scheme: String,
        /// Its name for people
        #[arg(long)]
        name: String,
        /// Free text
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
        #[command(flatten)]
        rules: Rules,
    },
    /// List the schemes
    List,
    /// Show everything about a scheme
    Show {
        /// The scheme's slug
        #[arg(value_parser = slug)]
        scheme: String,
    },
    /// Change a scheme; what is not named stays as it is, and changed rules keep what was used
    #[command(after_help = rule_text::HELP)]
    Update {
        /// The scheme's slug
        #[arg(value_parser = slug)]
        scheme: String,
        /// New name for people
        #[arg(long)]
        name: Option<String>,
        /// New free text
        #[arg(long, value_name = "TEXT", conflicts_with = "clear")]
        description: Option<String>,
        #[command(flatten)]
        rules: Rules,
        /// What to empty
        #[arg(long, value_name = "FIELD", value_enum)]
        clear: Option<Clearable>,
    },
    /// Delete a scheme that no app and no key uses
    Delete {
        /// The scheme's slug
        #[arg(value_parser = slug)]
        scheme: String,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Clearable {
    Description,
}

/// The rules, typed or in a file.
#[derive(Debug, Args)]
struct Rules {
    /// A rule; repeat it for more. They replace those there are
    #[arg(long = "rule", value_name = "RULE", value_parser = rule_text::parse)]
    rules: Vec<Rule>,
    /// A JSON file with the rules: an array, or an object with `rules`, as the API takes them
    #[arg(long, value_name = "FILE", conflicts_with = "rules")]
    file: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Scheme {
    id: String,
    deployment_id: String,
    slug: String,
    name: String,
    description: Option<String>,
    #[serde(default)]
    rules: Vec<AnsweredRule>,
    created_at: String,
    updated_at: String,
}

#[derive(Deserialize)]
struct SchemeList {
    schemes: Vec<Scheme>,
}

impl Schemes {
    pub(crate) async fn run(self, surroundings: &mut Surroundings<'_>) -> Result<u8, Failure> {
        let connection = &self.connection;
        let (method, scheme, body) = match self.command {
            SchemesCommand::List => return list(connection, surroundings).await,
            SchemesCommand::Delete { scheme, yes } => return delete(connection, &scheme, yes, surroundings).await,
            SchemesCommand::Show { scheme } => (Method::GET, Some(scheme), None),
            SchemesCommand::Create {
                scheme,
                name,
                description,
                rules,
            } => {
                let rules = rules.into_json()?;
                if rules.is_none() {
                    return Err(Failure::usage(
                        "a scheme needs at least one rule: --rule '100/minute per_key', or --file",
                    ));
                }
                let body = Body::default()
                    .with("slug", Some(scheme))
                    .with("name", Some(name))
                    .with("description", description)
                    .with("rules", rules);
                (Method::POST, None, Some(body.into_json()))
            }
            SchemesCommand::Update {
                scheme,
                name,
                description,
                rules,
                clear,
            } => {
                let description = clear.map(|Clearable::Description| String::new()).or(description);
                let body = Body::default()
                    .with("name", name)
                    .with("description", description)
                    .with("rules", rules.into_json()?);
                if body.is_empty() {
                    return Err(Failure::usage(
                        "nothing to change: name at least one option; see `portcullis schemes update --help`",
                    ));
                }
                (Method::PATCH, Some(scheme), Some(body.into_json()))
            }
        };
        let segments: Vec<&str> = std::iter::once("rate-limit-schemes").chain(scheme.as_deref()).collect();
        let answer = connection
            .client(surroundings)?
            .call(method, &segments, &[], body.as_ref())
            .await?;
        if connection.as_json() {
            surroundings.print(&answer.indented())?;
        } else {
            let scheme: Scheme = answer.read()?;
            surroundings.print(&facts(scheme, surroundings.now()))?;
        }
        Ok(0)
    }
}

impl Rules {
    /// The rules as the API takes them, or `None` when none were given.
    fn into_json(self) -> Result<Option<Value>, Failure> {
        if let Some(file) = &self.file {
            return read_rules(file).map(Some);
        }
        if self.rules.is_empty() {
            return Ok(None);
        }
        serde_json::to_value(self.rules)
            .map(Some)
            .map_err(|error| Failure::usage(error.to_string()))
    }
}

fn read_rules(file: &Path) -> Result<Value, Failure> {
    let wrong = |what: String| Failure::usage(format!("--file {}: {what}", file.display()));
    let text = std::fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
    match serde_json::from_str(&text).map_err(|error| wrong(format!("not JSON: {error}")))? {
        rules @ Value::Array(_) => Ok(rules),
        Value::Object(mut object) => match object.remove("rules") {
            Some(rules @ Value::Array(_)) => Ok(rules),
            _ => Err(wrong("the object has no array `rules`".to_owned())),
        },
        _ => Err(wrong("neither an array of rules nor an object with `rules`".to_owned())),
    }
}

async fn list(connection: &Connection, surroundings: &mut Surroundings<'_>) -> Result<u8, Failure> {
    let answer = connection
        .client(surroundings)?
        .call(Method::GET, &["rate-limit-schemes"], &[], None)
        .await?;
    if connection.as_json() {
        surroundings.print(&answer.indented())?;
        return Ok(0);
    }
    let schemes = answer.read::<SchemeList>()?.schemes;
    if schemes.is_empty() {
        surroundings.tell("there are no schemes; `portcullis schemes create` makes one");
        return Ok(0);
    }
    let row = |scheme: Scheme| {
        vec![
            scheme.slug,
            scheme.name,
            rule_text::lines(&scheme.rules),
            exact(&scheme.created_at),
        ]
    };
    let rows = schemes.into_iter().map(row).collect();
    surroundings.print(&table::grid(&["SLUG", "NAME", "RULES", "CREATED"], rows))?;
    Ok(0)
}

async fn delete(
    connection: &Connection,
    scheme: &str,
    yes: bool,
    surroundings: &mut Surroundings<'_>,
) -> Result<u8, Failure> {
    let client = connection.client(surroundings)?;
    if !yes {
        surroundings.confirm(&format!("Delete the scheme {scheme}?"))?;
    }
    client
        .call(Method::DELETE, &["rate-limit-schemes", scheme], &[], None)
        .await?;
    if !connection.as_json() {
        surroundings.print(&format!("The scheme {scheme} is deleted."))?;
    }
    Ok(0)
}

fn facts(scheme: Scheme, now: Timestamp) -> String {
    table::facts(vec![
        ("Scheme", Some(scheme.slug)),
        ("Name", Some(scheme.name)),
        ("Description", scheme.description),
        ("Rules", Some(rule_text::lines(&scheme.rules))),
        ("Created", Some(exact_and_relative(&scheme.created_at, now))),
        ("Updated", Some(exact_and_relative(&scheme.updated_at, now))),
        ("Id", Some(scheme.id)),
        ("Deployment", Some(scheme.deployment_id)),
    ])
}
