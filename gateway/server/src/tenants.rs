//! `portcullis deployments` and `portcullis tokens`: tenants and their tokens, on the store itself.
//!
//! They work on the store because they come before any token does; a running server follows through the change log.
//! A token's secret is printed once and kept only as a hash.

use crate::arguments::{DeploymentsCommand, KindName, Output, PlanName, TokensCommand};
use crate::roles::BadSetup;
use portcullis_config::Settings;
use portcullis_store::entity::{Deployment, Plan, Token, TokenKind};
use portcullis_store::{Store, StoreError};
use portcullis_verify::Clock;
use serde_json::json;
use std::io::Write;

/// Runs `portcullis deployments …`.
pub(crate) async fn deployments(settings: Settings, command: DeploymentsCommand) -> anyhow::Result<()> {
    let store = open(&settings).await?;
    match command {
        DeploymentsCommand::Create { name, output } => {
            let created = store
                .create_deployment(&name)
                .await
                .map_err(|error| failure(None, error))?;
            print_deployments(&[created.value], output)?;
        }
        DeploymentsCommand::List { output } => print_deployments(&store.list_deployments().await?, output)?,
        DeploymentsCommand::SetPlan { deployment, plan } => {
            let deployment = find(&store, &deployment).await?;
            let plan = match plan {
                PlanName::Free => Plan::Free,
                PlanName::Growth => Plan::Growth,
            };
            store.set_plan(deployment.id, plan).await?;
            writeln!(
                std::io::stdout(),
                "{} is on the {} plan now",
                deployment.name,
                plan_name(plan)
            )?;
        }
    }
    store.close().await;
    Ok(())
}

/// Runs `portcullis tokens …`.
pub(crate) async fn tokens(settings: Settings, command: TokensCommand) -> anyhow::Result<()> {
    let store = open(&settings).await?;
    match command {
        TokensCommand::Create {
            deployment,
            kind,
            name,
            apps,
            output,
        } => {
            let deployment = find(&store, &deployment).await?;
            let kind = match kind {
                KindName::Management => TokenKind::Management,
                KindName::Gateway => TokenKind::Gateway,
            };
            let secret = portcullis_control::token::generate(kind)?;
            let hash = portcullis_control::token::hash(secret.expose());
            let token = store
                .create_token(deployment.id, kind, &name, &apps, hash)
                .await
                .map_err(|error| failure(None, error))?;
            match output {
                Output::Json => {
                    let mut shown = token_json(&token.value);
                    shown["secret"] = json!(secret.expose());
                    print_json(&shown)?;
                }
                Output::Table => {
                    writeln!(
                        std::io::stderr(),
                        "token {} of {}; shown only now:",
                        token.value.id,
                        deployment.name
                    )?;
                    writeln!(std::io::stdout(), "{}", secret.expose())?;
                }
            }
        }
        TokensCommand::List { deployment, output } => {
            let deployment = find(&store, &deployment).await?;
            print_tokens(&store.list_tokens(deployment.id).await?, output)?;
        }
        TokensCommand::Revoke { deployment, id } => {
            let deployment = find(&store, &deployment).await?;
            store
                .revoke_token(deployment.id, id)
                .await
                .map_err(|error| failure(Some(format!("token {id}")), error))?;
            writeln!(std::io::stdout(), "token {id} of {} is revoked", deployment.name)?;
        }
    }
    store.close().await;
    Ok(())
}

async fn open(settings: &Settings) -> anyhow::Result<Store> {
    let store = Store::open(&settings.control.store, Clock::system()).await?;
    // A fresh store has its first deployment before anybody names it.
    store.ensure_first_deployment().await?;
    Ok(store)
}

/// What was typed cannot be done: exit code 2. A store that cannot be asked is another matter: exit code 1.
fn failure(about: Option<String>, error: StoreError) -> anyhow::Error {
    if let StoreError::Unavailable(_) = error {
        return error.into();
    }
    BadSetup(match about {
        Some(about) => format!("{about}: {error}"),
        None => error.to_string(),
    })
    .into()
}

async fn find(store: &Store, name: &str) -> anyhow::Result<Deployment> {
    store.deployment_by_name_or_id(name).await?.ok_or_else(|| {
        BadSetup(format!(
            "there is no deployment `{name}`; `portcullis deployments list` shows all"
        ))
        .into()
    })
}

fn plan_name(plan: Plan) -> &'static str {
    match plan {
        Plan::Free => "free",
        Plan::Growth => "growth",
    }
}

fn print_deployments(deployments: &[Deployment], output: Output) -> anyhow::Result<()> {
    if output == Output::Json {
        let all: Vec<_> = deployments
            .iter()
            .map(|d| {
                json!({"id": d.id.to_string(), "name": d.name, "plan": plan_name(d.plan),
                    "created_at": d.created_at.to_string()})
            })
            .collect();
        return print_json(&json!({ "deployments": all }));
    }
    let mut out = std::io::stdout().lock();
    writeln!(out, "{:<20} {:<24} {:<8} CREATED", "ID", "NAME", "PLAN")?;
    for d in deployments {
        writeln!(
            out,
            "{:<20} {:<24} {:<8} {}",
            d.id.to_string(),
            d.name,
            plan_name(d.plan),
            d.created_at
        )?;
    }
    Ok(())
}

fn print_tokens(tokens: &[Token], output: Output) -> anyhow::Result<()> {
    if output == Output::Json {
        return print_json(&json!({ "tokens": tokens.iter().map(token_json).collect::<Vec<_>>() }));
    }
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{:<20} {:<11} {:<24} {:<10} {:<31} APPS",
        "ID", "KIND", "NAME", "STATE", "CREATED"
    )?;
    for token in tokens {
        let state = if token.revoked_at.is_some() { "revoked" } else { "live" };
        writeln!(
            out,
            "{:<20} {:<11} {:<24} {:<10} {:<31} {}",
            token.id,
            kind_name(token.kind),
            token.name,
            state,
            token.created_at.to_string(),
            apps(token)
        )?;
    }
    Ok(())
}

fn apps(token: &Token) -> String {
    if token.apps.is_empty() {
        "all".to_owned()
    } else {
        token.apps.join(", ")
    }
}

fn kind_name(kind: TokenKind) -> &'static str {
    match kind {
        TokenKind::Management => "management",
        TokenKind::Gateway => "gateway",
    }
}

fn token_json(token: &Token) -> serde_json::Value {
    json!({"id": token.id.to_string(), "deployment_id": token.deployment_id.to_string(),
        "kind": kind_name(token.kind), "name": token.name, "apps": token.apps, "created_at": token.created_at.to_string(),
        "revoked_at": token.revoked_at.map(|at| at.to_string())})
}

fn print_json(value: &serde_json::Value) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{value:#}")?;
    Ok(())
}
