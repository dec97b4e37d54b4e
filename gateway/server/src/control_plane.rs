//! The control plane of `serve` and `control`: the store, the first deployment, and the tailer that makes changes hold.
//!
//! Decides nothing about keys; says where the store is, who hears of changes, and what its operator is told once.

use crate::admin::{Following, Progress};
use crate::roles::BadSetup;
use crate::wiring::Engine;
use anyhow::Context;
use portcullis_config::Settings;
use portcullis_control::{Bootstrap, BootstrapError, ControlParts, TailerHandle, TailerParts};
use portcullis_proxy::ResolvedRoute;
use portcullis_store::Store;
use portcullis_verify::{Clock, DeploymentId, Standing};
use std::io::Write;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// An open store with at least one deployment.
pub(crate) struct ControlPlane {
    pub(crate) store: Store,
    first_deployment: DeploymentId,
}

impl ControlPlane {
    /// Opens the store, and makes the first deployment and the first tokens if need be.
    pub(crate) async fn open(settings: &Settings, clock: &Clock) -> anyhow::Result<ControlPlane> {
        let store = Store::open(&settings.control.store, clock.clone())
            .await
            .with_context(|| {
                format!(
                    "control.store: cannot open {}",
                    without_password(&settings.control.store)
                )
            })?;
        store.settle_history().await?;
        let bootstrap = portcullis_control::bootstrap(
            &store,
            from_environment("PORTCULLIS_BOOTSTRAP_TOKEN"),
            from_environment("PORTCULLIS_BOOTSTRAP_GATEWAY_TOKEN"),
        )
        .await
        .map_err(|error| match error {
            BootstrapError::UnfitToken { .. } => BadSetup(error.to_string()).into(),
            BootstrapError::Store(_) | BootstrapError::Random(_) => anyhow::Error::new(error),
        })?;
        show_once(&bootstrap)?;
        Ok(ControlPlane {
            store,
            first_deployment: bootstrap.deployment.id,
        })
    }

    /// Starts following the change log. Once it has returned, what is committed reaches `engine`.
    pub(crate) async fn follow(&self, engine: &Engine, stop: CancellationToken) -> anyhow::Result<TailerHandle> {
        let parts = TailerParts {
            store: self.store.clone(),
            sinks: vec![Arc::clone(&engine.verifier) as _],
            clock: engine.clock.clone(),
            freshness: Some(Arc::clone(&engine.freshness)),
        };
        let tailer = portcullis_control::tailer::start(parts, stop);
        tailer.synchronised().await?;
        Ok(tailer)
    }

    /// The control API's parts. `admits` says that requests are admitted in this process too.
    pub(crate) fn parts(
        &self,
        settings: &Settings,
        engine: &Engine,
        tailer: TailerHandle,
        admits: bool,
    ) -> ControlParts {
        ControlParts {
            store: self.store.clone(),
            tailer,
            verifier: Arc::clone(&engine.verifier),
            limiter: Arc::clone(&engine.limiter),
            default_rules: Arc::clone(&engine.default_rules),
            settings: settings.control.clone(),
            clock: engine.clock.clone(),
            local_gateway: admits,
        }
    }

    /// The routes, bound to their deployments.
    pub(crate) async fn routes(&self, settings: &Settings) -> anyhow::Result<Vec<ResolvedRoute>> {
        let mut routes = Vec::with_capacity(settings.routes.len());
        for (index, route) in settings.routes.iter().enumerate() {
            let deployment_id = self
                .deployment(route.deployment.as_deref(), || format!("routes[{index}]"))
                .await?;
            routes.push(ResolvedRoute {
                route: route.clone(),
                deployment_id: Some(deployment_id),
            });
        }
        Ok(routes)
    }

    /// The deployment that the decision API answers for.
    pub(crate) async fn authz_deployment(&self, settings: &Settings) -> anyhow::Result<DeploymentId> {
        self.deployment(settings.authz.deployment.as_deref(), || "authz".into())
            .await
    }

    async fn deployment(&self, named: Option<&str>, setting: impl FnOnce() -> String) -> anyhow::Result<DeploymentId> {
        let Some(name) = named else {
            return Ok(self.first_deployment);
        };
        match self.store.deployment_by_name_or_id(name).await? {
            Some(deployment) => Ok(deployment.id),
            None => Err(BadSetup(format!(
                "{}.deployment: there is no deployment `{name}`; create it with `portcullis deployments create {name}`",
                setting()
            ))
            .into()),
        }
    }
}

/// The store's own log, followed in this process.
pub(crate) struct OwnLog {
    pub(crate) tailer: TailerHandle,
    pub(crate) engine: Engine,
}

impl Following for OwnLog {
    fn progress(&self) -> Progress {
        let standing = self.engine.freshness.standing(self.engine.clock.now());
        let is_following = standing == Standing::Fresh;
        Progress {
            applied: Some(self.tailer.applied()),
            is_following,
            trouble: (!is_following).then(|| "the store's change log cannot be read; the log says why".to_owned()),
            reconnects: 0,
            is_filling: false,
            notes: Vec::new(),
        }
    }
}

/// A variable that is set to something.
fn from_environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// A token that was generated is printed here and nowhere else, ever again.
fn show_once(bootstrap: &Bootstrap) -> std::io::Result<()> {
    if let Some(token) = &bootstrap.printed_token {
        writeln!(
            std::io::stdout(),
            "management token of deployment `{}` (shown only now; keep it as PORTCULLIS_TOKEN): {}",
            bootstrap.deployment.name,
            token.expose()
        )?;
    }
    Ok(())
}

/// A store's URL as it may be shown: what stands between scheme and host may hold a password.
fn without_password(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) => match rest.rsplit_once('@') {
            Some((_, place)) => format!("{scheme}://…@{place}"),
            None => url.to_owned(),
        },
        None => "…".to_owned(),
    }
}
