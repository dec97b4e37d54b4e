//! Portcullis in the modes that are compared, over a store with every key in it.
//!
//! Decides their settings: those of `config/benchmark.toml`, and what a mode changes. Knows nothing of the load.

use super::peers;
use super::requests::{Keys, PREFIX};
use super::server::{Server, Setup};
use crate::caller::Caller;
use crate::many_keys;
use crate::process::{GATEWAY_TOKEN, Launch, Process, TOKEN, until};
use anyhow::{Context, Result};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The settings that all modes begin with: those that users are given for measuring.
const BENCHMARK: &str = include_str!("../../../config/benchmark.toml");
/// The one app, by which the route of the benchmark profile asks for keys.
const APP: &str = "benchmark";
/// The setting that sends every request through pingora-proxy when it is `false`.
const FAST_PATH: &str = "PORTCULLIS__GATEWAY__FAST_PATH";

/// A build of the binary.
#[derive(Debug, Clone)]
pub(crate) struct Build {
    /// What the tables call it.
    pub(crate) label: String,
    /// Where it is.
    pub(crate) binary: PathBuf,
}

/// What it is measured at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// `serve` as a reverse proxy: keys are looked up in the store when they first come.
    Proxy,
    /// The same, all requests through pingora-proxy.
    Pingora,
    /// The same as [`Mode::Proxy`], and no limit holds. Authentication has no switch.
    WithoutLimits,
    /// The same as [`Mode::Proxy`] with two workers, on all cores.
    TwoWorkers,
    /// The same as [`Mode::Proxy`] over TLS.
    Tls,
    /// The same as [`Mode::Proxy`], and HTTP/2 without TLS beside HTTP/1.1.
    Http2,
    /// `gateway` beside a `control`, holding every key from the start.
    Preloaded,
    /// The decision API of `serve`.
    Decisions,
}

impl Mode {
    /// What the tables add to the build's label.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Mode::Proxy => "",
            Mode::Pingora => " pingora-proxy",
            Mode::WithoutLimits => " no limits",
            Mode::TwoWorkers => " two workers",
            Mode::Tls => " TLS",
            Mode::Http2 => " HTTP/2",
            Mode::Preloaded => " preloaded",
            Mode::Decisions => " authz check",
        }
    }

    fn does(self) -> &'static str {
        match self {
            Mode::Proxy => {
                "hashed keys, three strict windows, identity headers, key stripped, limits told to the caller"
            }
            Mode::Pingora => "the same with `gateway.fast_path = false`",
            Mode::WithoutLimits => "the same with no rule",
            Mode::TwoWorkers => "the same with `gateway.workers = 2`, on all cores",
            Mode::Tls => "the same, TLS to the caller",
            Mode::Http2 => "the same, HTTP/2 to the caller",
            Mode::Preloaded => "the same, `gateway` beside a `control`, every key held from the start",
            Mode::Decisions => "`POST /v1/authz/check`: answers itself, no upstream",
        }
    }

    fn changes(self) -> Result<Vec<(&'static str, String)>> {
        let listen = "PORTCULLIS__GATEWAY__LISTEN";
        Ok(match self {
            Mode::Proxy | Mode::Decisions => Vec::new(),
            Mode::Pingora => vec![(FAST_PATH, "false".to_owned())],
            Mode::WithoutLimits => vec![("PORTCULLIS__LIMITS__DEFAULT_RULES", "[]".to_owned())],
            Mode::TwoWorkers => vec![("PORTCULLIS__GATEWAY__WORKERS", "2".to_owned())],
            Mode::Tls => {
                let file = |name| std::fs::canonicalize(peers::certificate(name));
                let (cert, key) = (file("server.pem")?, file("server.key")?);
                let tls = format!("tls = {{ cert = {cert:?}, key = {key:?} }}");
                vec![(listen, format!("[{{ address = \"127.0.0.1:0\", {tls} }}]"))]
            }
            Mode::Http2 => vec![(listen, "[{ address = \"127.0.0.1:0\", h2c = true }]".to_owned())],
            Mode::Preloaded => vec![
                ("PORTCULLIS__GATEWAY__PRELOAD", "true".to_owned()),
                ("PORTCULLIS__GATEWAY__CONTROL_TOKEN", GATEWAY_TOKEN.to_owned()),
            ],
        })
    }
}

/// What a build finds when it starts.
pub(crate) struct Prepared {
    folder: PathBuf,
    store: PathBuf,
}

impl Build {
    /// Whether this build knows the setting by which a mode is had.
    pub(crate) fn has(&self, mode: Mode) -> bool {
        let checked = |value: &str| {
            let mut check = Command::new(&self.binary);
            check.arg("check").env(FAST_PATH, value);
            check.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            check.status().is_ok_and(|status| status.success())
        };
        mode != Mode::Pingora || checked("false")
    }

    /// What the tables call a mode of it.
    pub(crate) fn name(&self, mode: Mode) -> String {
        format!("{}{}", self.label, mode.name())
    }

    /// Its version, as it tells it.
    pub(crate) fn version(&self) -> String {
        peers::version(Command::new(&self.binary).arg("--version"))
    }

    /// Starts it on the gateway's core over a store of its own; it is ready when this is answered.
    pub(crate) async fn start(&self, setup: &Setup, mode: Mode) -> Result<Server> {
        let prepared = self.prepare(setup, mode).await?;
        self.start_prepared(setup, &prepared, mode).await
    }

    /// Makes all that it finds when it starts.
    pub(crate) async fn prepare(&self, setup: &Setup, mode: Mode) -> Result<Prepared> {
        let folder = peers::folder(setup, &format!("{} {}", self.name(mode), setup.keys.count()))?;
        let store = folder.join("portcullis.db");
        if !store.exists() {
            self.fill_store(setup, &folder, &store).await?;
        }
        Ok(Prepared { folder, store })
    }

    /// Starts it over what has been made.
    pub(crate) async fn start_prepared(&self, setup: &Setup, prepared: &Prepared, mode: Mode) -> Result<Server> {
        let folder = &prepared.folder;
        let mut settings = settings(setup, &prepared.store);
        settings.extend(mode.changes()?);
        let mut running = Vec::new();
        if mode == Mode::Preloaded {
            let control = setup.cores.on(setup.cores.generator, || {
                self.launch("control", &folder.join("control"), settings.clone())
            })?;
            let address = control.listening("control").await?;
            settings.push(("PORTCULLIS__GATEWAY__CONTROL_URL", format!("http://{address}")));
            running.push(control);
        }
        let role = if mode == Mode::Preloaded { "gateway" } else { "serve" };
        let launch = || self.launch(role, &folder.join(role), settings);
        let process = match mode {
            Mode::TwoWorkers => setup.cores.on_all(launch)?,
            _ => setup.cores.on(setup.cores.gateway, launch)?,
        };
        let mut admin = Caller::new(process.listening("admin").await?, "none");
        until("a gateway is ready", async || {
            Ok((admin.status("/readyz").await? == 200).then_some(()))
        })
        .await?;
        let surface = if mode == Mode::Decisions { "authz" } else { "proxy" };
        let address = process.listening(surface).await?;
        let processes = vec![process.id()];
        running.push(process);
        let server = Server::new(self.name(mode), mode.does(), address, processes, Box::new(running));
        if mode == Mode::Tls {
            server.over_tls()
        } else {
            Ok(server)
        }
    }

    fn launch(&self, role: &str, folder: &Path, variables: Vec<(&str, String)>) -> Result<Process> {
        Process::start(&Launch {
            binary: &self.binary,
            role,
            folder,
            config: BENCHMARK.to_owned(),
            variables,
        })
    }

    /// Makes a store with one app and all keys, by the build that will use it.
    async fn fill_store(&self, setup: &Setup, folder: &Path, store: &Path) -> Result<()> {
        let process = self.launch("control", &folder.join("filling"), settings(setup, store))?;
        let mut api = Caller::new(process.listening("control").await?, TOKEN);
        let app = json!({"app_slug": APP, "name": APP, "key_prefix": PREFIX, "permissions": ["things:read"]});
        api.must("/api-auth/apps", &app).await?;
        let key = json!({"name": "bench", "permissions": ["things:read"]});
        api.must(&format!("/api-auth/apps/{APP}/keys"), &key)
            .await
            .context("the first key, of which the others are copies")?;
        drop(process);
        many_keys::write(store, &many_keys::Keys::Of(&setup.keys.hashes))
    }
}

/// What differs from the profile because many run side by side, and room for all keys and their counters.
fn settings(setup: &Setup, store: &Path) -> Vec<(&'static str, String)> {
    let any = || "127.0.0.1:0".to_owned();
    let keys: &Keys = &setup.keys;
    vec![
        ("PORTCULLIS__CONTROL__LISTEN", any()),
        ("PORTCULLIS__CONTROL__STORE", format!("sqlite://{}", store.display())),
        ("PORTCULLIS__GATEWAY__LISTEN", any()),
        ("PORTCULLIS__GATEWAY__AUTHZ_LISTEN", any()),
        ("PORTCULLIS__ADMIN__LISTEN", any()),
        ("PORTCULLIS__LOG__LEVEL", "info".to_owned()),
        (
            "PORTCULLIS__CACHE__KEYS_MAX",
            (keys.count() * 2).max(1_000_000).to_string(),
        ),
        (
            "PORTCULLIS__LIMITS__COUNTERS_MAX",
            (keys.count() * 2).max(1_000_000).to_string(),
        ),
        (
            "PORTCULLIS__ROUTES",
            format!(
                "[{{ upstreams = [\"http://{}\"], apps = [\"{APP}\"], idle_timeout = \"10m\" }}]",
                setup.upstream
            ),
        ),
    ]
}
