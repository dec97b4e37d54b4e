//! The control plane as a gateway has it: a link to a control API elsewhere, and what was kept of it on disk.
//!
//! Decides what a gateway begins with, and whether the token it was given fits its routes. How changes are followed, keys asked
//! for and files written is the sync crate's business.

use crate::admin::{Following, Progress};
use crate::roles::BadSetup;
use crate::shutdown::Shutdown;
use crate::wiring::Engine;
use anyhow::Context;
use portcullis_config::Settings;
use portcullis_config::settings::OnStale;
use portcullis_proxy::ResolvedRoute;
use portcullis_record::usage::UsageSink;
use portcullis_sync::follower::{Follower, FollowerHandle, FollowerParts, Identity, OnWelcome, Phase};
use portcullis_sync::message::Welcome;
use portcullis_sync::snapshot::{Bound, Loaded, Measured, Remembering, Scope, Snapshot, SnapshotSettings, Usable};
use portcullis_sync::{ControlUsageSink, Journal, KeyTable, Link, Preloader, RemoteSource, RemoteSourceSettings};
use portcullis_verify::{ChangeSink, Clock, DeploymentId, KeySource};
use std::sync::Arc;
use tokio::task::spawn_blocking;

/// What a gateway needs of its control plane, before anything is decided with it.
pub(crate) struct RemotePlane {
    link: Arc<Link>,
    source: Arc<dyn KeySource>,
    snapshot: Option<Arc<Snapshot>>,
    kept: Option<Box<Usable>>,
}

/// A control plane that is being followed.
pub(crate) struct Followed {
    link: Arc<Link>,
    follower: FollowerHandle,
    preloader: Option<Arc<Preloader>>,
    snapshot: Option<Arc<Snapshot>>,
    began_with_keys: bool,
}

impl RemotePlane {
    /// Reads what was kept on disk. Asks nobody.
    pub(crate) async fn prepare(settings: &Settings, token: &str, clock: &Clock) -> anyhow::Result<RemotePlane> {
        let gateway = &settings.gateway;
        let link = Link::new(&gateway.control_url, token)
            .map_err(|error| BadSetup(format!("gateway.control_url, gateway.control_token: {error}")))?;
        let link = Arc::new(link);
        let remote = RemoteSource::new(
            Arc::clone(&link),
            RemoteSourceSettings {
                calls_max: settings.cache.fills_max,
                call_timeout: settings.cache.fill_timeout,
            },
            clock.clone(),
        );
        let Some(path) = &gateway.snapshot else {
            return Ok(RemotePlane {
                link,
                source: Arc::new(remote),
                snapshot: None,
                kept: None,
            });
        };
        let place = SnapshotSettings {
            path: path.clone(),
            keys_max: settings.cache.keys_max,
            scope: Scope::of_token(token),
        };
        let (snapshot, kept) = open_snapshot(place, clock.clone()).await?;
        if let Some(kept) = &kept {
            fits(settings, kept.deployment_id, &kept.deployment_name).map_err(BadSetup)?;
        }
        Ok(RemotePlane {
            link,
            source: Arc::new(Remembering::new(remote, Arc::clone(&snapshot))),
            snapshot: Some(snapshot),
            kept,
        })
    }

    /// Where keys are asked for.
    pub(crate) fn source(&self) -> Arc<dyn KeySource> {
        Arc::clone(&self.source)
    }

    /// Begins with what was kept, and follows what happens from there on.
    pub(crate) fn follow(self, settings: &Settings, engine: &Engine, shutdown: &Shutdown) -> anyhow::Result<Followed> {
        let RemotePlane {
            link, snapshot, kept, ..
        } = self;
        let gateway = &settings.gateway;
        let applied = kept.as_ref().map(|kept| kept.applied);
        let began_with_keys = kept.is_some();
        if let Some(kept) = kept {
            begin_with(*kept, engine);
        }
        let mut sinks = vec![Arc::clone(&engine.verifier) as Arc<dyn ChangeSink>];
        let preloader = gateway.preload.then(|| {
            let table: Arc<dyn KeyTable> = Arc::clone(&engine.verifier) as _;
            Arc::new(Preloader::new(match &snapshot {
                Some(snapshot) => Arc::new(Remembering::new(table, Arc::clone(snapshot))),
                None => table,
            }))
        });
        // After the verifier: what is read again is let in against what it has applied.
        sinks.extend(
            preloader
                .iter()
                .map(|preloader| Arc::clone(preloader) as Arc<dyn ChangeSink>),
        );
        let name = gateway.name.clone().unwrap_or_else(host_name);
        let follower = Follower::start(
            FollowerParts {
                link: Arc::clone(&link),
                clock: engine.clock.clone(),
                identity: Identity::draw(name, env!("CARGO_PKG_VERSION").to_owned())
                    .context("the system gives no random numbers")?,
                stale_soft: gateway.stale_soft,
                stale_max: gateway.stale_max,
                serves_stale: gateway.on_stale == OnStale::Serve,
                sinks,
                freshness: Arc::clone(&engine.freshness),
                journal: snapshot.clone().map(|snapshot| snapshot as Arc<dyn Journal>),
                applied,
                on_welcome: on_welcome(settings, engine, snapshot.clone()),
            },
            shutdown.stop.clone(),
        );
        if let Some(preloader) = &preloader {
            preloader.start(
                Arc::clone(&link),
                &follower,
                engine.clock.clone(),
                shutdown.stop.clone(),
            );
        }
        Ok(Followed {
            link,
            follower,
            preloader,
            snapshot,
            began_with_keys,
        })
    }
}

impl Followed {
    /// The routes. Whose slugs they name, the token says.
    pub(crate) fn routes(settings: &Settings) -> Vec<ResolvedRoute> {
        let routes = settings.routes.iter().cloned();
        routes
            .map(|route| ResolvedRoute {
                route,
                deployment_id: None,
            })
            .collect()
    }

    /// Where reports of usage go.
    pub(crate) fn usage_sink(&self) -> Arc<dyn UsageSink> {
        Arc::new(ControlUsageSink::new(Arc::clone(&self.link)))
    }

    /// How far it is, for the admin endpoint.
    pub(crate) fn following(&self) -> Box<dyn Following> {
        Box::new(FromElsewhere {
            follower: self.follower.clone(),
            preloader: self.preloader.clone(),
            began_with_keys: self.began_with_keys,
        })
    }

    /// Writes down what is not written yet.
    pub(crate) async fn close(self) {
        if let Some(snapshot) = self.snapshot
            && let Err(error) = spawn_blocking(move || snapshot.close()).await
        {
            tracing::error!(%error, "closing the snapshot broke");
        }
    }
}

struct FromElsewhere {
    follower: FollowerHandle,
    preloader: Option<Arc<Preloader>>,
    began_with_keys: bool,
}

impl Following for FromElsewhere {
    fn progress(&self) -> Progress {
        let status = self.follower.status();
        let preload = self.preloader.as_ref().map(|preloader| preloader.progress());
        Progress {
            applied: self.follower.applied(),
            is_following: matches!(status.phase, Phase::Following { .. }),
            trouble: status.last_error.map(|cause| format!("control API: {cause}")),
            reconnects: status.reconnects,
            // A first walk that found no room for all keys has ended, too.
            is_filling: !self.began_with_keys && preload.is_some_and(|preload| preload.walks == 0),
            notes: preload.iter().map(ToString::to_string).collect(),
        }
    }
}

/// The gateway token, out of the settings or a file of its own.
pub(crate) async fn token(settings: &Settings) -> anyhow::Result<String> {
    let gateway = &settings.gateway;
    if let Some(token) = &gateway.control_token {
        return Ok(token.0.clone());
    }
    let Some(path) = &gateway.control_token_file else {
        return Err(BadSetup(
            "gateway.control_token: a gateway needs a gateway token, here, as PORTCULLIS__GATEWAY__CONTROL_TOKEN or in \
             gateway.control_token_file; `portcullis tokens create --kind gateway` at the control API makes one"
                .into(),
        )
        .into());
    };
    let text = tokio::fs::read_to_string(path)
        .await
        .with_context(|| format!("gateway.control_token_file: cannot read {}", path.display()))?;
    match text.trim() {
        "" => Err(BadSetup(format!("gateway.control_token_file: {} is empty", path.display())).into()),
        token => Ok(token.to_owned()),
    }
}

async fn open_snapshot(place: SnapshotSettings, clock: Clock) -> anyhow::Result<(Arc<Snapshot>, Option<Box<Usable>>)> {
    let file = place.path.display().to_string();
    let (snapshot, loaded) = spawn_blocking(move || Snapshot::open(&place, clock))
        .await?
        .context("gateway.snapshot")?;
    let kept = match loaded {
        Loaded::Nothing => {
            tracing::info!(file, "no keys are kept from before");
            None
        }
        Loaded::Rejected(rejected) => {
            tracing::warn!(file, why = %rejected, "the keys kept from before are not used");
            None
        }
        Loaded::Usable(kept) => Some(kept),
    };
    Ok((snapshot, kept))
}

/// Gives the engine what was kept.
fn begin_with(kept: Usable, engine: &Engine) {
    // All changes up to there were taken into account: a key that was read before holds as if it were read there.
    engine.verifier.distrust_all(kept.applied);
    let handed = kept.keys.for_each(|hash, as_of, record| {
        engine.verifier.admit_record(hash, record, as_of);
    });
    if let Some(at_us) = kept.fresh_at_us {
        engine.freshness.note(at_us);
    }
    let stale_ms = engine
        .freshness
        .staleness(engine.clock.now())
        .map(|age| age.as_millis());
    match handed {
        Ok(handed) if kept.by == Measured::BootClock => tracing::info!(
            keys = handed.keys,
            illegible = handed.illegible,
            revision = kept.applied.revision,
            stale_ms,
            "keys kept from before are used"
        ),
        Ok(handed) => tracing::warn!(
            keys = handed.keys,
            illegible = handed.illegible,
            revision = kept.applied.revision,
            stale_ms,
            measured_by = %kept.by,
            "keys kept from before are used; how old they are is known less surely"
        ),
        Err(error) => tracing::warn!(%error, "the keys kept from before were read in part"),
    }
}

/// Refuses a token that does not fit the routes, and forgets keys that were kept for another tenant.
fn on_welcome(settings: &Settings, engine: &Engine, snapshot: Option<Arc<Snapshot>>) -> OnWelcome {
    let (settings, verifier) = (settings.clone(), Arc::clone(&engine.verifier));
    Arc::new(move |welcome: &Welcome| {
        fits(&settings, welcome.deployment_id, &welcome.deployment_name)?;
        let Some(snapshot) = &snapshot else { return Ok(()) };
        match snapshot.bind(welcome) {
            Ok(Bound::Resumed) => Ok(()),
            Ok(Bound::Anew) => {
                verifier.forget_all();
                Ok(())
            }
            Err(error) => Err(format!("gateway.snapshot: {error}")),
        }
    })
}

/// Whether this is the deployment that the routes and the decision API name, where they name one.
fn fits(settings: &Settings, id: DeploymentId, name: &str) -> Result<(), String> {
    let routes = settings.routes.iter().enumerate();
    let routes = routes.map(|(index, route)| (format!("routes[{index}]"), route.deployment.as_deref()));
    let authz = std::iter::once(("authz".to_owned(), settings.authz.deployment.as_deref()));
    for (setting, named) in routes.chain(authz) {
        if let Some(named) = named
            && named != name
            && named != id.to_string()
        {
            return Err(format!(
                "{setting}.deployment is `{named}`, but the keys that this gateway may know are those of `{name}`: a gateway \
                 token is for one deployment"
            ));
        }
    }
    Ok(())
}

/// What the machine is called.
fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
