//! What decides, built for whichever plane feeds it: key source → verifier → proxy, decision API.
//!
//! The only place that knows which implementation stands behind which trait. Nothing is decided here.

use crate::news;
use portcullis_authz::AuthzParts;
use portcullis_config::Settings;
use portcullis_config::settings::OnStale;
use portcullis_limits::LocalLimiter;
use portcullis_proxy::{Proxy, ProxyParts, ResolvedRoute};
use portcullis_record::Metrics;
use portcullis_record::usage::{METER_ROWS_MAX, UsageMeter};
use portcullis_verify::{
    AppScope, CacheSettings, Clock, DeploymentId, FailureSettings, Freshness, KeySource, RuleSet, Verifier,
    VerifierParts,
};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often idle counters and throttle entries are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// What decides and counts.
#[derive(Clone)]
pub(crate) struct Engine {
    pub(crate) clock: Clock,
    pub(crate) verifier: Arc<Verifier>,
    pub(crate) limiter: Arc<LocalLimiter>,
    pub(crate) default_rules: Arc<RuleSet>,
    pub(crate) freshness: Arc<Freshness>,
    pub(crate) usage: Arc<UsageMeter>,
}

/// What an engine is built on.
pub(crate) struct Ground {
    pub(crate) clock: Clock,
    pub(crate) limiter: Arc<LocalLimiter>,
    pub(crate) source: Arc<dyn KeySource>,
    /// Every key is held from the start.
    pub(crate) holds_all: bool,
}

/// How long what is held is trusted without news.
pub(crate) fn freshness(settings: &Settings) -> Arc<Freshness> {
    let gateway = &settings.gateway;
    Arc::new(Freshness::new(
        gateway.stale_soft,
        gateway.stale_max,
        gateway.on_stale == OnStale::Serve,
    ))
}

/// Builds the engine and starts its housekeeping, which ends at `stop`.
pub(crate) fn engine(settings: &Settings, ground: Ground, stop: CancellationToken) -> Engine {
    let Ground {
        clock,
        limiter,
        source,
        holds_all,
    } = ground;
    let freshness = freshness(settings);
    let default_rules = Arc::new(RuleSet::compile(None, &settings.limits.default_rules));
    let parts = VerifierParts {
        clock: clock.clone(),
        source,
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
    };
    let verifier = if holds_all {
        Verifier::of_every_key(parts)
    } else {
        Verifier::new(parts)
    };
    let engine = Engine {
        verifier: Arc::new(verifier.with_freshness(Arc::clone(&freshness))),
        usage: Arc::new(UsageMeter::new(METER_ROWS_MAX, clock.now())),
        clock,
        limiter,
        default_rules,
        freshness,
    };
    tokio::spawn(sweep(engine.clone(), stop.clone()));
    tokio::spawn(news::tell(engine.clone(), stop));
    engine
}

/// The reverse proxy.
pub(crate) fn proxy(
    settings: &Settings,
    engine: &Engine,
    routes: Vec<ResolvedRoute>,
    metrics: &Arc<Metrics>,
) -> anyhow::Result<Proxy> {
    if routes.is_empty() {
        tracing::warn!("no [[routes]] are configured: the reverse proxy lets nothing through");
    }
    let mut gateway = settings.gateway.clone();
    gateway.connections_max = crate::file_limit::connections_max(gateway.connections_max);
    Ok(Proxy::new(ProxyParts {
        gateway,
        routes,
        verifier: Arc::clone(&engine.verifier),
        metrics: Arc::clone(metrics),
        usage: Arc::clone(&engine.usage),
        legacy_headers: settings.limits.legacy_headers,
        log_requests: settings.log.requests,
    })?)
}

/// The decision API's parts. Without a deployment it answers for the one that the key source has.
pub(crate) fn authz(
    settings: &Settings,
    engine: &Engine,
    deployment_id: Option<DeploymentId>,
    metrics: &Arc<Metrics>,
) -> AuthzParts {
    AuthzParts {
        verifier: Arc::clone(&engine.verifier),
        metrics: Arc::clone(metrics),
        usage: Arc::clone(&engine.usage),
        deployment_id,
        apps: match &settings.authz.apps {
            None => AppScope::Every,
            Some(slugs) => AppScope::Slugs(slugs.iter().map(|slug| slug.as_str().into()).collect()),
        },
        body_bytes_max: settings.authz.body_bytes_max,
        trusted_proxies: settings.gateway.trusted_proxies.clone(),
        legacy_headers: settings.limits.legacy_headers,
        log_requests: settings.log.requests,
    }
}

async fn sweep(engine: Engine, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(SWEEP_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {
                engine.verifier.sweep();
                engine.limiter.sweep(engine.clock.now());
            }
        }
    }
}
