//! The long-lived roles, readable top to bottom: bind, open, wire, run, drain.
//!
//! Listeners are bound first, so that a port in use is told before anything is written; what runs behind them is
//! built in `wiring`.

use crate::admin::{self, Admin};
use crate::control_plane::{ControlPlane, OwnLog};
use crate::key_usage;
use crate::remote_plane::{self, Followed, RemotePlane};
use crate::saved_limits;
use crate::shutdown::Shutdown;
use crate::wiring::{self, Ground};
use anyhow::Context;
use portcullis_authz::AuthzParts;
use portcullis_config::Settings;
use portcullis_limits::LocalLimiter;
use portcullis_proxy::{BoundListener, Proxy};
use portcullis_record::usage::UsageReporter;
use portcullis_verify::Clock;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

/// How long the last report of what keys were used for may take.
const LAST_REPORT: Duration = Duration::from_secs(5);

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
    told("control", control_listener.local_addr()?);
    let doors = Doors::open(&settings).await?;
    let shutdown = Shutdown::on_signals()?;
    let admin = start_admin(doors.admin, &shutdown)?;
    let clock = Clock::system();
    let (limiter, counters_file) = saved_limits::open(&settings.limits, &clock).await?;
    let plane = ControlPlane::open(&settings, &clock).await?;
    let ground = Ground {
        clock,
        limiter,
        source: Arc::new(plane.store.clone()),
        holds_all: false,
    };
    let engine = wiring::engine(&settings, ground, shutdown.stop.clone());
    let tailer = plane.follow(&engine, shutdown.stop.clone()).await?;
    let proxy = wiring::proxy(&settings, &engine, plane.routes(&settings).await?, &admin.metrics)?;
    let deployment_id = plane.authz_deployment(&settings).await?;
    let authz = wiring::authz(&settings, &engine, Some(deployment_id), &admin.metrics);

    let mut running = JoinSet::new();
    let parts = plane.parts(&settings, &engine, tailer.clone(), true);
    running.spawn(portcullis_control::serve(
        control_listener,
        parts,
        shutdown.drain.clone(),
        settings.gateway.drain_timeout,
    ));
    let admission = Admission { proxy, authz };
    admission.begin(&mut running, doors.data, &settings, &shutdown);
    let keeping = Keeping {
        counters: counters_file
            .map(|file| saved_limits::keep(file, &settings.limits, &engine, &admin.metrics, shutdown.stop.clone())),
        usage: Some(key_usage::report(
            &settings,
            &engine,
            Arc::new(key_usage::IntoStore(plane.store.clone())),
            &admin.metrics,
        )),
    };
    let following = OwnLog {
        tailer,
        engine: engine.clone(),
    };
    admin.show(&engine, Box::new(following));
    wait(running, keeping, &shutdown).await;
    plane.store.close().await;
    tracing::info!("drained");
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
    let clock = Clock::system();
    let plane = ControlPlane::open(&settings, &clock).await?;
    let ground = Ground {
        // Nothing is admitted here, so that nothing is counted.
        limiter: Arc::new(LocalLimiter::new(saved_limits::settings(&settings.limits))),
        source: Arc::new(plane.store.clone()),
        holds_all: false,
        clock,
    };
    let engine = wiring::engine(&settings, ground, shutdown.stop.clone());
    let tailer = plane.follow(&engine, shutdown.stop.clone()).await?;

    let mut running = JoinSet::new();
    running.spawn(portcullis_control::serve(
        control_listener,
        plane.parts(&settings, &engine, tailer.clone(), false),
        shutdown.drain.clone(),
        settings.gateway.drain_timeout,
    ));
    let following = OwnLog {
        tailer,
        engine: engine.clone(),
    };
    admin.show(&engine, Box::new(following));
    wait(running, Keeping::default(), &shutdown).await;
    plane.store.close().await;
    tracing::info!("drained");
    Ok(())
}

/// The gateway alone, following a control API elsewhere.
pub(crate) async fn gateway(settings: Settings) -> anyhow::Result<()> {
    let token = remote_plane::token(&settings).await?;
    let doors = Doors::open(&settings).await?;
    let shutdown = Shutdown::on_signals()?;
    let admin = start_admin(doors.admin, &shutdown)?;
    let clock = Clock::system();
    let (limiter, counters_file) = saved_limits::open(&settings.limits, &clock).await?;
    let plane = RemotePlane::prepare(&settings, &token, &clock).await?;
    let ground = Ground {
        clock,
        limiter,
        source: plane.source(),
        holds_all: settings.gateway.preload,
    };
    let engine = wiring::engine(&settings, ground, shutdown.stop.clone());
    let following = plane.follow(&settings, &engine, &shutdown)?;
    let proxy = wiring::proxy(&settings, &engine, Followed::routes(&settings), &admin.metrics)?;
    let authz = wiring::authz(&settings, &engine, None, &admin.metrics);

    let mut running = JoinSet::new();
    // Before the first news requests are answered 503, which is more than a connection that nobody accepts.
    let admission = Admission { proxy, authz };
    admission.begin(&mut running, doors.data, &settings, &shutdown);
    let keeping = Keeping {
        counters: counters_file
            .map(|file| saved_limits::keep(file, &settings.limits, &engine, &admin.metrics, shutdown.stop.clone())),
        usage: Some(key_usage::report(
            &settings,
            &engine,
            following.usage_sink(),
            &admin.metrics,
        )),
    };
    admin.show(&engine, following.following());
    wait(running, keeping, &shutdown).await;
    following.close().await;
    tracing::info!("drained");
    Ok(())
}

/// The listeners of a process that admits requests, bound before anything else is done.
struct Doors {
    data: DataDoors,
    admin: TcpListener,
}

struct DataDoors {
    proxy: Vec<BoundListener>,
    authz: TcpListener,
}

impl Doors {
    async fn open(settings: &Settings) -> anyhow::Result<Doors> {
        let doors = Doors {
            data: DataDoors {
                authz: listen(settings.gateway.authz_listen, "gateway.authz_listen").await?,
                proxy: portcullis_proxy::bind(&settings.gateway)?,
            },
            admin: listen(settings.admin.listen, "admin.listen").await?,
        };
        told("authz", doors.data.authz.local_addr()?);
        told("admin", doors.admin.local_addr()?);
        for listener in &doors.data.proxy {
            told("proxy", listener.address());
        }
        Ok(doors)
    }
}

/// What admits requests.
struct Admission {
    proxy: Proxy,
    authz: AuthzParts,
}

impl Admission {
    /// Answers until the drain.
    fn begin(self, running: &mut JoinSet<()>, doors: DataDoors, settings: &Settings, shutdown: &Shutdown) {
        running.spawn(portcullis_authz::serve(
            doors.authz,
            self.authz,
            shutdown.drain.clone(),
            settings.gateway.drain_timeout,
        ));
        running.spawn(self.proxy.run(doors.proxy, shutdown.drain.clone()));
    }
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
    let admin = Arc::new(Admin::new(shutdown.drain.clone())?);
    tokio::spawn(admin::serve(listener, Arc::clone(&admin), shutdown.stop.clone()));
    Ok(admin)
}

/// What outlives the last request, because it keeps what requests left behind.
#[derive(Default)]
struct Keeping {
    counters: Option<JoinHandle<()>>,
    usage: Option<UsageReporter>,
}

impl Keeping {
    /// Keeps the last of it, once everything that will be admitted has been.
    async fn finish(self, within: Duration) {
        if let Some(counters) = self.counters
            && let Err(error) = counters.await
        {
            tracing::error!(%error, "saving counters broke");
        }
        if let Some(usage) = self.usage {
            usage.finish(within).await;
        }
    }
}

/// Waits until a drain was asked for and everything has drained.
async fn wait(mut running: JoinSet<()>, keeping: Keeping, shutdown: &Shutdown) {
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "ready");
    while let Some(ended) = running.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "a part of the server broke; draining the rest");
            shutdown.drain.cancel();
        }
    }
    shutdown.stop.cancel();
    keeping.finish(LAST_REPORT).await;
}
