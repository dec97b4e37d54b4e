//! Builds the parts and connects them: store → key source → verifier → proxy, decision API, control API.
//!
//! The only place that knows which implementation stands behind which trait. Nothing is decided here.

use crate::roles::BadSetup;
use crate::shutdown::Shutdown;
use anyhow::Context;
use portcullis_authz::AuthzParts;
use portcullis_config::Settings;
use portcullis_control::{Bootstrap, BootstrapError, ControlParts, TailerHandle};
use portcullis_limits::LocalLimiter;
use portcullis_proxy::{Proxy, ProxyParts, ResolvedRoute};
use portcullis_record::Metrics;
use portcullis_record::usage::{METER_ROWS_MAX, UsageMeter};
use portcullis_store::Store;
use portcullis_verify::{
    AppScope, CacheSettings, Clock, DeploymentId, FailureSettings, RuleSet, Verifier, VerifierParts,
};
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

/// How often idle counters and throttle entries are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// What every role stands on.
pub(crate) struct Engine {
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    pub(crate) tailer: TailerHandle,
    pub(crate) verifier: Arc<Verifier>,
    pub(crate) limiter: Arc<LocalLimiter>,
    pub(crate) default_rules: Arc<RuleSet>,
    pub(crate) usage: Arc<UsageMeter>,
    pub(crate) first_deployment: DeploymentId,
}

/// Opens the store, makes the first deployment and token if need be, and starts following the change log.
pub(crate) async fn engine(
    settings: &Settings,
    clock: Clock,
    limiter: Arc<LocalLimiter>,
    shutdown: &Shutdown,
) -> anyhow::Result<Engine> {
    let store = Store::open(&settings.control.store, clock.clone())
        .await
        .with_context(|| format!("control.store: cannot open {}", settings.control.store))?;
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

    let default_rules = Arc::new(RuleSet::compile(None, &settings.limits.default_rules));
    let verifier = Arc::new(Verifier::new(VerifierParts {
        clock: clock.clone(),
        source: Arc::new(store.clone()),
        limiter: Arc::clone(&limiter) as Arc<dyn portcullis_verify::Limiter>,
        default_rules: Arc::clone(&default_rules),
        cache: CacheSettings {
            keys_max: settings.cache.keys_max,
            unknown_keys_max: settings.cache.unknown_keys_max,
            unknown_ttl: settings.cache.unknown_ttl,
            fills_max: settings.cache.fills_max,
            fill_timeout: settings.cache.fill_timeout,
        },
        failures: FailureSettings {
            burst: settings.failures.burst,
            per_minute: settings.failures.per_minute,
            addresses_max: settings.failures.addresses_max,
        },
    }));
    let tailer =
        portcullis_control::tailer::start(store.clone(), vec![Arc::clone(&verifier) as _], shutdown.stop.clone());
    // Nothing is answered before: what is committed from here on reaches the cache.
    tailer.synchronised().await?;
    tokio::spawn(sweep(
        Arc::clone(&verifier),
        Arc::clone(&limiter),
        clock.clone(),
        shutdown.clone(),
    ));
    Ok(Engine {
        usage: Arc::new(UsageMeter::new(METER_ROWS_MAX, clock.now())),
        store,
        clock,
        tailer,
        verifier,
        limiter,
        default_rules,
        first_deployment: bootstrap.deployment.id,
    })
}

/// The control API's parts.
pub(crate) fn control(settings: &Settings, engine: &Engine) -> ControlParts {
    ControlParts {
        store: engine.store.clone(),
        tailer: engine.tailer.clone(),
        verifier: Arc::clone(&engine.verifier),
        limiter: Arc::clone(&engine.limiter),
        default_rules: Arc::clone(&engine.default_rules),
        settings: settings.control.clone(),
        clock: engine.clock.clone(),
    }
}

/// The reverse proxy, its routes bound to their deployments.
pub(crate) async fn proxy(settings: &Settings, engine: &Engine, metrics: &Arc<Metrics>) -> anyhow::Result<Proxy> {
    let mut routes = Vec::with_capacity(settings.routes.len());
    for (index, route) in settings.routes.iter().enumerate() {
        let deployment_id = deployment(engine, route.deployment.as_deref(), || format!("routes[{index}]")).await?;
        routes.push(ResolvedRoute {
            route: route.clone(),
            deployment_id,
        });
    }
    if routes.is_empty() {
        tracing::warn!("no [[routes]] are configured: the reverse proxy lets nothing through");
    }
    Ok(Proxy::new(ProxyParts {
        gateway: settings.gateway.clone(),
        routes,
        verifier: Arc::clone(&engine.verifier),
        metrics: Arc::clone(metrics),
        usage: Arc::clone(&engine.usage),
        legacy_headers: settings.limits.legacy_headers,
        log_requests: settings.log.requests,
    })?)
}

/// The decision API's parts.
pub(crate) async fn authz(settings: &Settings, engine: &Engine, metrics: &Arc<Metrics>) -> anyhow::Result<AuthzParts> {
    Ok(AuthzParts {
        verifier: Arc::clone(&engine.verifier),
        metrics: Arc::clone(metrics),
        usage: Arc::clone(&engine.usage),
        deployment_id: deployment(engine, settings.authz.deployment.as_deref(), || "authz".into()).await?,
        apps: match &settings.authz.apps {
            None => AppScope::Every,
            Some(slugs) => AppScope::Slugs(slugs.iter().map(|slug| slug.as_str().into()).collect()),
        },
        body_bytes_max: settings.authz.body_bytes_max,
        trusted_proxies: settings.gateway.trusted_proxies.clone(),
        legacy_headers: settings.limits.legacy_headers,
        log_requests: settings.log.requests,
    })
}

async fn deployment(
    engine: &Engine,
    named: Option<&str>,
    setting: impl FnOnce() -> String,
) -> anyhow::Result<DeploymentId> {
    let Some(name) = named else {
        return Ok(engine.first_deployment);
    };
    match engine.store.deployment_by_name_or_id(name).await? {
        Some(deployment) => Ok(deployment.id),
        None => Err(BadSetup(format!(
            "{}.deployment: there is no deployment `{name}`; create it with `portcullis deployments create {name}`",
            setting()
        ))
        .into()),
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

async fn sweep(verifier: Arc<Verifier>, limiter: Arc<LocalLimiter>, clock: Clock, shutdown: Shutdown) {
    let mut ticks = tokio::time::interval(SWEEP_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            () = shutdown.stop.cancelled() => return,
            _ = ticks.tick() => {
                verifier.sweep();
                limiter.sweep(clock.now());
            }
        }
    }
}
