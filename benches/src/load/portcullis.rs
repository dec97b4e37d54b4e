//! Portcullis in the modes that are compared, over a store with every key in it.
//!
//! Decides their settings: those of `config/benchmark.toml`, and what a mode changes. Knows nothing of the load.

use super::requests::PREFIX;
use super::server::{Server, Setup};
use crate::caller::Caller;
use crate::many_keys::{self, Keys};
use crate::process::{Launch, Process, TOKEN};
use anyhow::{Context, Result};
use serde_json::json;
use std::path::{Path, PathBuf};

/// The settings that all modes begin with: those that users are given for measuring.
const BENCHMARK: &str = include_str!("../../../config/benchmark.toml");
/// The one app, by which the route of the benchmark profile asks for keys.
const APP: &str = "benchmark";

/// A build of the binary.
#[derive(Debug, Clone)]
pub(crate) struct Build {
    /// What the tables call it.
    pub(crate) label: String,
    /// Where it is.
    pub(crate) binary: PathBuf,
}

/// `portcullis serve` as a reverse proxy, with three limits.
pub(crate) async fn serve(setup: &Setup, build: &Build, changes: &[(&'static str, String)]) -> Result<Server> {
    let folder = setup.folder.join(build.label.replace(['/', ' ', ','], "-"));
    let store = fill_store(setup, build, &folder).await?;
    let mut variables = variables(setup, &store);
    variables.extend_from_slice(changes);
    let process = setup.cores.on(setup.cores.gateway, || {
        Process::start(&Launch {
            binary: &build.binary,
            role: "serve",
            folder: &folder,
            config: BENCHMARK.to_owned(),
            variables,
        })
    })?;
    let address = process.listening("proxy").await?;
    let processes = vec![process.id()];
    Ok(Server::new(
        build.label.clone(),
        "hashed keys, three strict windows, identity headers, key stripped",
        address,
        processes,
        Box::new(process),
    ))
}

/// What differs from the profile because many run side by side.
fn variables(setup: &Setup, store: &Path) -> Vec<(&'static str, String)> {
    let any = || "127.0.0.1:0".to_owned();
    vec![
        ("PORTCULLIS__CONTROL__LISTEN", any()),
        ("PORTCULLIS__CONTROL__STORE", format!("sqlite://{}", store.display())),
        ("PORTCULLIS__GATEWAY__LISTEN", any()),
        ("PORTCULLIS__GATEWAY__AUTHZ_LISTEN", any()),
        ("PORTCULLIS__ADMIN__LISTEN", any()),
        ("PORTCULLIS__LOG__LEVEL", "info".to_owned()),
        (
            "PORTCULLIS__ROUTES",
            format!(
                "[{{ upstreams = [\"http://{}\"], apps = [\"{APP}\"], idle_timeout = \"10m\" }}]",
                setup.upstream
            ),
        ),
    ]
}

/// Makes a store with one app and all keys, by the binary that will use it.
async fn fill_store(setup: &Setup, build: &Build, folder: &Path) -> Result<PathBuf> {
    let store = folder.join("portcullis.db");
    let process = Process::start(&Launch {
        binary: &build.binary,
        role: "control",
        folder,
        config: BENCHMARK.to_owned(),
        variables: variables(setup, &store),
    })?;
    let mut api = Caller::new(process.listening("control").await?, TOKEN);
    let app = json!({"app_slug": APP, "name": APP, "key_prefix": PREFIX});
    api.must("/api-auth/apps", &app).await?;
    let key = json!({"name": "bench", "permissions": ["things:read"]});
    api.must(&format!("/api-auth/apps/{APP}/keys"), &key)
        .await
        .context("the first key, of which the others are copies")?;
    drop(process);
    many_keys::write(&store, &Keys::Of(&setup.keys.hashes))?;
    Ok(store)
}
