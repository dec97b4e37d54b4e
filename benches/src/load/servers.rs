//! All servers that can be measured, started when a section first asks for them, and kept up from then on.
//!
//! Decides which can be had here, and holds each to the work that it claims; knows nothing of the load.

use super::arguments::Arguments;
use super::portcullis::{Build, Mode};
use super::server::{Foreign, Server, Setup};
use super::{envoy, haproxy, nginx, peers, progress, relay};
use crate::caller::Caller;
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    Relay,
    NginxBare,
    NginxTls,
    NginxMap,
    NginxLua,
    NginxAuthRequest,
    HaproxyBare,
    HaproxyMap,
    HaproxyHashed,
    EnvoyBare,
    EnvoyKeys,
    /// Every build of Portcullis that is measured.
    Own(Mode),
}

/// What runs already, and what the rest is started with.
pub(crate) struct Servers<'a> {
    pub(crate) setup: Setup,
    arguments: &'a Arguments,
    running: BTreeMap<String, Rc<Server>>,
}

impl<'a> Servers<'a> {
    /// Starts none yet.
    pub(crate) fn new(setup: Setup, arguments: &'a Arguments) -> Servers<'a> {
        Servers {
            setup,
            arguments,
            running: BTreeMap::new(),
        }
    }

    /// The base of all ratios, whatever else is asked for.
    pub(crate) async fn base(&mut self, which: Which) -> Result<Rc<Server>> {
        self.running(which, which.name(), None).await
    }

    /// Those of these that the caller wants and this machine has.
    pub(crate) async fn wanted(&mut self, all: &[Which]) -> Result<Vec<Rc<Server>>> {
        let mut servers = Vec::new();
        for &which in all {
            let Which::Own(mode) = which else {
                if self.arguments.wants(which.name()) && which.is_there() {
                    servers.push(self.running(which, which.name(), None).await?);
                }
                continue;
            };
            for build in &self.arguments.builds {
                let name = build.name(mode);
                if self.arguments.wants(&name) && build.has(mode) {
                    servers.push(self.running(which, &name, Some(build)).await?);
                }
            }
        }
        Ok(servers)
    }

    async fn running(&mut self, which: Which, name: &str, build: Option<&Build>) -> Result<Rc<Server>> {
        if let Some(server) = self.running.get(name) {
            return Ok(Rc::clone(server));
        }
        progress(&format!("starting {name}"));
        let setup = &self.setup;
        let server = match which {
            Which::Relay => start_relay(setup)?,
            Which::NginxBare => nginx::bare(setup).await?,
            Which::NginxTls => nginx::tls(setup).await?,
            Which::NginxMap => nginx::map(setup).await?,
            Which::NginxLua => nginx::lua(setup).await?,
            Which::NginxAuthRequest => {
                let build = self
                    .arguments
                    .builds
                    .first()
                    .context("there is no build of portcullis")?;
                nginx::auth_request(setup, build.start(setup, Mode::Decisions).await?).await?
            }
            Which::HaproxyBare => haproxy::bare(setup).await?,
            Which::HaproxyMap => haproxy::map(setup).await?,
            Which::HaproxyHashed => haproxy::hashed_map(setup).await?,
            Which::EnvoyBare => envoy::bare(setup).await?,
            Which::EnvoyKeys => envoy::keys(setup).await?,
            Which::Own(mode) => build.context("a build is named")?.start(setup, mode).await?,
        };
        if which.asks_for_keys() {
            prove(setup, &server)
                .await
                .with_context(|| format!("what {name} does"))?;
        }
        let server = Rc::new(server);
        self.running.insert(name.to_owned(), Rc::clone(&server));
        Ok(server)
    }
}

impl Which {
    /// What the tables call it; Portcullis is called by its build.
    fn name(self) -> &'static str {
        match self {
            Which::Relay => peers::RELAY,
            Which::NginxBare => peers::NGINX_BARE,
            Which::NginxTls => peers::NGINX_TLS,
            Which::NginxMap => peers::NGINX_MAP,
            Which::NginxLua => peers::NGINX_LUA,
            Which::NginxAuthRequest => peers::NGINX_AUTH_REQUEST,
            Which::HaproxyBare => peers::HAPROXY_BARE,
            Which::HaproxyMap => peers::HAPROXY_MAP,
            Which::HaproxyHashed => peers::HAPROXY_HASHED,
            Which::EnvoyBare => peers::ENVOY_BARE,
            Which::EnvoyKeys => peers::ENVOY_KEYS,
            Which::Own(mode) => mode.name(),
        }
    }

    fn is_there(self) -> bool {
        match self {
            Which::NginxLua => nginx::has_lua(),
            Which::EnvoyBare | Which::EnvoyKeys => envoy::program().exists(),
            Which::HaproxyBare | Which::HaproxyMap | Which::HaproxyHashed => !haproxy::version().is_empty(),
            _ => true,
        }
    }

    /// Whether it must refuse a wrong key, and keep a good one from the upstream.
    fn asks_for_keys(self) -> bool {
        match self {
            Which::Relay | Which::NginxBare | Which::NginxTls | Which::HaproxyBare | Which::EnvoyBare => false,
            // These two speak what the prover does not; they are set up as others are that it asks.
            Which::Own(Mode::Tls | Mode::Decisions) => false,
            _ => true,
        }
    }
}

/// Asks once with a good key and once with a wrong one: all must do the same work.
async fn prove(setup: &Setup, server: &Server) -> Result<()> {
    let key = std::str::from_utf8(setup.keys.key(0))?;
    let (status, seen) = Caller::new(server.endpoint.address, key).get("/seen").await?;
    ensure!(status == 200, "a good key is answered {status}");
    let seen = String::from_utf8_lossy(&seen).to_ascii_lowercase();
    ensure!(
        !seen.contains(&key.to_ascii_lowercase()),
        "the upstream sees the key: {seen}"
    );
    for name in ["key-id", "deployment-id", "app-slug", "key-name", "permissions"] {
        ensure!(
            seen.contains(&format!("\r\nx-wacht-{name}: ")),
            "the upstream is not told {name}: {seen}"
        );
    }
    for name in [
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-host",
        "x-request-id",
    ] {
        ensure!(
            seen.contains(&format!("\r\n{name}: ")),
            "the upstream is not told {name}: {seen}"
        );
    }
    let wrong = format!("{key}x");
    let (status, _) = Caller::new(server.endpoint.address, &wrong).get("/seen").await?;
    ensure!(matches!(status, 401 | 403), "a wrong key is answered {status}");
    Ok(())
}

fn start_relay(setup: &Setup) -> Result<Server> {
    let upstream = setup.upstream.to_string();
    let cores = &setup.cores;
    let (relay, address) = cores.on(cores.gateway, || Foreign::own_role(&[relay::ARGUMENT, &upstream]))?;
    let processes = vec![relay.id()];
    let does = "copies bytes; the floor of this set-up";
    Ok(Server::new(
        peers::RELAY.to_owned(),
        does,
        address,
        processes,
        Box::new(relay),
    ))
}

/// A build, by version.
pub(crate) fn version_of(build: &Build) -> String {
    format!("{}: {}", build.label, build.version())
}

/// What is measured, by version.
pub(crate) fn versions(builds: &[Build]) -> Vec<String> {
    let mut versions = vec![nginx::version(), haproxy::version()];
    let envoy: PathBuf = envoy::program();
    if envoy.exists() {
        versions.push(envoy::version());
    }
    versions.extend(builds.iter().map(version_of));
    versions.retain(|version| !version.is_empty());
    versions
}
