//! Builds the reverse proxy from the settings, runs it, and drains it.
//!
//! Knows how the parts hang together and nothing of what they decide. The server makes one per process.

use crate::admission::RequestLimits;
use crate::connection::{ConnectionLimits, ConnectionServer};
use crate::cut::CuttableProxy;
use crate::fast::FastPath;
use crate::flow::{Flow, FlowParts};
use crate::handshake::Turns;
use crate::listener::{self, BoundListener};
use crate::occupancy::Occupancy;
use crate::route::{Route, RouteTable};
use crate::upstream_pool::UpstreamError;
use crate::watchlist::Watchlist;
use crate::workers::Workers;
use pingora_core::apps::HttpServerOptions;
use pingora_core::protocols::http::v2::server::default_h2_options;
use pingora_core::server::configuration::ServerConf;
use pingora_proxy::{HttpProxy, http_proxy};
use portcullis_config::settings;
use portcullis_record::Metrics;
use portcullis_record::usage::UsageMeter;
use portcullis_verify::{DeploymentId, Verifier};
use rustls::RootCertStore;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

/// A pool smaller than the connections in use costs half of the throughput; idle ones are closed by their timeout.
const UPSTREAM_CONNECTIONS_MIN: usize = 1024;
/// Streams that an HTTP/2 client may have open at once.
const HTTP2_STREAMS_MAX: u32 = 100;
/// What is held of one stream's answer that its client does not take: a connection may hold [`HTTP2_STREAMS_MAX`] of them.
const HTTP2_SEND_BUFFER_BYTES: usize = 64 * 1024;
/// Resets that a client may provoke from us on one connection (CVE-2025-8671).
const HTTP2_OWN_RESETS_MAX: usize = 128;
/// How long streams may take to notice that their connection is gone, once a drain is over.
const ABANDON_TIME_MAX: Duration = Duration::from_secs(1);

/// What a [`Proxy`] is made of.
pub struct ProxyParts {
    /// `[gateway]`.
    pub gateway: settings::Gateway,
    /// `[[routes]]`.
    pub routes: Vec<ResolvedRoute>,
    /// Who decides about keys.
    pub verifier: Arc<Verifier>,
    /// Where things are counted.
    pub metrics: Arc<Metrics>,
    /// Where it is counted what keys are used for.
    pub usage: Arc<UsageMeter>,
    /// Tell of limits in `X-RateLimit-*` headers too.
    pub legacy_headers: bool,
    /// Log every request.
    pub log_requests: bool,
}

/// A route, and whose it is.
pub struct ResolvedRoute {
    /// The route as configured.
    pub route: settings::Route,
    /// The deployment whose slugs it names. `None`: that of the key source, which has no others.
    pub deployment_id: Option<DeploymentId>,
}

/// Why the proxy cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// A route's file of certificate authorities cannot be used.
    #[error("{file}: {cause}", file = file.display())]
    Authorities {
        /// The file at fault.
        file: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// The system's certificate authorities cannot be read.
    #[error("the system's certificate authorities cannot be read: {0}")]
    SystemAuthorities(String),
}

impl From<UpstreamError> for ProxyError {
    fn from(error: UpstreamError) -> ProxyError {
        match error {
            UpstreamError::Authorities { file, cause } => ProxyError::Authorities { file, cause },
        }
    }
}

/// The reverse proxy.
pub struct Proxy {
    flow: Arc<FlowParts>,
    proxy: Arc<CuttableProxy>,
    gateway: settings::Gateway,
}

impl Proxy {
    /// Builds the proxy. Reads the certificate authorities of the routes and of the system.
    pub fn new(parts: ProxyParts) -> Result<Proxy, ProxyError> {
        let ProxyParts {
            gateway,
            routes,
            verifier,
            metrics,
            usage,
            legacy_headers,
            log_requests,
        } = parts;
        // pingora reads them too, and panics where it fails.
        pingora_core::tls::load_platform_certs_incl_env_into_store(&mut RootCertStore::empty())
            .map_err(|error| ProxyError::SystemAuthorities(error.to_string()))?;
        let mut compiled = Vec::with_capacity(routes.len());
        for ResolvedRoute { route, deployment_id } in routes {
            compiled.push((route.host.clone(), Route::compile(route, deployment_id)?));
        }
        let flow = Arc::new(FlowParts {
            routes: RouteTable::of_routes(compiled.into_iter()),
            verifier,
            metrics,
            usage,
            trusted_proxies: gateway.trusted_proxies.clone(),
            limits: RequestLimits::from(&gateway),
            legacy_headers,
            log_requests,
            draining: AtomicBool::new(false),
            exchanges: TaskTracker::new(),
            watchlist: gateway.cut_streams_after.map(|_| Arc::<Watchlist>::default()),
        });
        let proxy = Arc::new(CuttableProxy {
            proxy: Arc::new(http_proxy_of(&flow, &gateway)),
            metrics: Arc::clone(&flow.metrics),
        });
        Ok(Proxy { flow, proxy, gateway })
    }

    /// Serves the listeners until `shutdown`, then drains: accepts nothing more, closes idle connections, and returns when
    /// the requests under way are finished, or cut off after the drain timeout.
    pub async fn run(self, listeners: Vec<BoundListener>, shutdown: CancellationToken) {
        let (drain, draining) = watch::channel(false);
        let threads = workers(&self.gateway);
        let kept_max = self
            .gateway
            .connections_max
            .max(UPSTREAM_CONNECTIONS_MIN)
            .div_ceil(threads);
        let fast = self
            .gateway
            .fast_path
            .then(|| FastPath::new(Arc::clone(&self.flow), kept_max));
        let server = Arc::new(ConnectionServer {
            proxy: self.proxy,
            metrics: Arc::clone(&self.flow.metrics),
            trusted_proxies: self.gateway.trusted_proxies.clone(),
            occupancy: Occupancy::new(&self.gateway),
            handshakes: Turns::of_workers(threads),
            limits: ConnectionLimits::from(&self.gateway),
            draining,
            fast,
            parts: Arc::clone(&self.flow),
        });
        let workers = match Workers::start(threads, &server) {
            Ok(workers) => Arc::new(workers),
            Err(error) => {
                tracing::error!(%error, "the worker threads of the reverse proxy cannot be started");
                return;
            }
        };
        let connections = TaskTracker::new();
        for listener in listeners {
            connections.spawn(listener::accept(
                listener,
                Arc::clone(&server),
                Arc::clone(&workers),
                connections.clone(),
                shutdown.clone(),
            ));
        }
        let _watching = self.flow.watch(self.gateway.cut_streams_after);
        shutdown.cancelled().await;
        self.flow.draining.store(true, Ordering::Relaxed);
        drain.send_replace(true);
        connections.close();
        self.flow.exchanges.close();
        let drained = tokio::time::timeout(self.gateway.drain_timeout, connections.wait()).await;
        if drained.is_err() {
            tracing::warn!(
                connections = connections.len(),
                "the drain took too long; what is left is cut off"
            );
        }
        // The last one is ours: nobody accepts any more. What a thread still serves ends with it.
        drop(workers);
        connections.wait().await;
        // Streams of HTTP/2 are tasks of their own and end with their connection.
        let _ = tokio::time::timeout(ABANDON_TIME_MAX, self.flow.exchanges.wait()).await;
    }
}

impl FlowParts {
    /// Cuts what its key no longer opens, until the handle is dropped.
    fn watch(self: &Arc<Self>, cut_streams_after: Option<Duration>) -> Option<AbortOnDropHandle<()>> {
        let (watchlist, age) = (Arc::clone(self.watchlist.as_ref()?), cut_streams_after?);
        let verifier = Arc::clone(&self.verifier);
        let watching = async move { watchlist.watch(age, &verifier).await };
        Some(AbortOnDropHandle::new(tokio::spawn(watching)))
    }
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proxy")
            .field("listen", &self.gateway.listen)
            .finish_non_exhaustive()
    }
}

/// Worker threads of the data plane.
fn workers(gateway: &settings::Gateway) -> usize {
    let cores = || std::thread::available_parallelism().ok().map(usize::from);
    gateway.workers.or_else(cores).unwrap_or(1)
}

fn http_proxy_of(flow: &Arc<FlowParts>, gateway: &settings::Gateway) -> HttpProxy<Flow> {
    let threads = workers(gateway);
    let connections = gateway.connections_max.max(UPSTREAM_CONNECTIONS_MIN);
    let conf = ServerConf {
        threads,
        // pingora multiplies by the threads.
        upstream_keepalive_pool_size: connections.div_ceil(threads),
        ..ServerConf::default()
    };
    let mut proxy = http_proxy(&Arc::new(conf), Flow(Arc::clone(flow)));
    let mut options = HttpServerOptions::default();
    options.h2_idle_timeout = Some(gateway.keepalive_timeout);
    proxy.server_options = Some(options);
    let mut http2 = default_h2_options();
    http2.max_header_list_size(u32::try_from(gateway.header_bytes_max).unwrap_or(u32::MAX));
    http2.max_concurrent_streams(HTTP2_STREAMS_MAX);
    http2.max_send_buffer_size(HTTP2_SEND_BUFFER_BYTES);
    http2.max_local_error_reset_streams(Some(HTTP2_OWN_RESETS_MAX));
    proxy.h2_options = Some(http2);
    proxy
}
