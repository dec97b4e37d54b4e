//! The long-lived roles, readable top to bottom: bind, open, wire, run, drain.
//!
//! Listeners are bound first, so that a port in use is told before anything is written; what runs behind them is
//! built in `wiring`.

use crate::admin::{self, Admin};
use crate::saved_limits::{self, Saving};
use crate::shutdown::Shutdown;
use crate::wiring::{self, Engine};
use anyhow::Context;
use portcullis_config::Settings;
use portcullis_limits::LocalLimiter;
use portcullis_record::Metrics;
use portcullis_verify::Clock;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

/// What was asked cannot run, however often it is tried: exit code 2.
#[derive(Debug)]
pub(crate) struct BadSetup(pub(crate) String);

impl std::fmt::Display for BadSetup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadSetup {}

/// Control API, reverse proxy and decision API in one process.
pub(crate) async fn serve(settings: Settings) -> anyhow::Result<()> {
    let control_listener = listen(settings.control.listen, "control.listen").await?;
    let authz_listener = listen(settings.gateway.authz_listen, "gateway.authz_listen").await?;
    let proxy_listeners = portcullis_proxy::bind(&settings.gateway)?;
    let admin_listener = listen(settings.admin.listen, "admin.listen").await?;
    told("control", control_listener.local_addr()?);
    told("authz", authz_listener.local_addr()?);
    told("admin", admin_listener.local_addr()?);
    for listener in &proxy_listeners {
        told("proxy", listener.address());
    }

    let shutdown = Shutdown::on_signals()?;
    let admin = start_admin(admin_listener, &shutdown)?;
    let clock = Clock::system();
    let (limiter, counters_file) = saved_limits::open(&settings.limits, &clock).await?;
    let engine = wiring::engine(&settings, clock, limiter, &shutdown).await?;
    let proxy = wiring::proxy(&settings, &engine, &admin.metrics).await?;
    let authz = wiring::authz(&settings, &engine, &admin.metrics).await?;

    let mut running = JoinSet::new();
    running.spawn(portcullis_control::serve(
        control_listener,
        wiring::control(&settings, &engine),
        shutdown.drain.clone(),
        settings.gateway.drain_timeout,
    ));
    running.spawn(portcullis_authz::serve(
        authz_listener,
        authz,
        shutdown.drain.clone(),
        settings.gateway.drain_timeout,
    ));
    running.spawn(proxy.run(proxy_listeners, shutdown.drain.clone()));
    let saving = counters_file.map(|file| {
        let saving = Saving {
            file,
            limiter: Arc::clone(&engine.limiter),
            clock: engine.clock.clone(),
            every: settings.limits.persist_interval,
            metrics: Arc::clone(&admin.metrics),
        };
        saved_limits::start(saving, shutdown.stop.clone())
    });
    wait(admin, engine, running, saving, shutdown).await;
    Ok(())
}

/// The control API alone.
pub(crate) async fn control(settings: Settings) -> anyhow::Result<()> {
    let control_listener = listen(settings.control.listen, "control.listen").await?;
    let admin_listener = listen(settings.admin.listen, "admin.listen").await?;
    told("control", control_listener.local_addr()?);
    told("admin", admin_listener.local_addr()?);

    let shutdown = Shutdown::on_signals()?;
    let admin = start_admin(admin_listener, &shutdown)?;
    // Nothing is admitted here, so that nothing is counted.
    let limiter = Arc::new(LocalLimiter::new(saved_limits::settings(&settings.limits)));
    let engine = wiring::engine(&settings, Clock::system(), limiter, &shutdown).await?;

    let mut running = JoinSet::new();
    running.spawn(portcullis_control::serve(
        control_listener,
        wiring::control(&settings, &engine),
        shutdown.drain.clone(),
        settings.gateway.drain_timeout,
    ));
    wait(admin, engine, running, None, shutdown).await;
    Ok(())
}

/// The gateway alone needs to follow a control API elsewhere, and a gateway that cannot hear of revocations must not
/// run at all.
pub(crate) async fn gateway(_settings: Settings) -> anyhow::Result<()> {
    Err(BadSetup(
        "this version has no gateway apart from its control API: the protocol by which revocations would reach it is \
         not built yet. Run `portcullis serve`, which is both"
            .into(),
    )
    .into())
}

async fn listen(address: SocketAddr, setting: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("{setting}: cannot listen on {address} (is something else running there?)"))
}

/// The one line that scripts and tests read to learn the real port.
fn told(surface: &str, address: SocketAddr) {
    tracing::info!(surface, %address, "listening");
}

fn start_admin(listener: TcpListener, shutdown: &Shutdown) -> anyhow::Result<Arc<Admin>> {
    let admin = Arc::new(Admin {
        metrics: Arc::new(Metrics::new()?),
        engine: OnceLock::new(),
        drain: shutdown.drain.clone(),
    });
    tokio::spawn(admin::serve(listener, Arc::clone(&admin), shutdown.stop.clone()));
    Ok(admin)
}

/// Declares readiness, then waits until a drain was asked for and everything has drained.
async fn wait(
    admin: Arc<Admin>,
    engine: Engine,
    mut running: JoinSet<()>,
    saving: Option<JoinHandle<()>>,
    shutdown: Shutdown,
) {
    let _ = admin
        .engine
        .set((Arc::clone(&engine.verifier), Arc::clone(&engine.limiter)));
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "ready");
    while let Some(ended) = running.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "a part of the server broke; draining the rest");
            shutdown.drain.cancel();
        }
    }
    shutdown.stop.cancel();
    // Everything that will be admitted has been.
    if let Some(saving) = saving
        && let Err(error) = saving.await
    {
        tracing::error!(%error, "saving counters broke");
    }
    engine.store.close().await;
    tracing::info!("drained");
}
