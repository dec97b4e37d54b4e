//! Chooses the server that a request is sent to: round robin over a route's upstreams and over the addresses of each.
//!
//! It decides in which order they are tried, never whether trying again is safe: [`crate::flow`] knows what was sent.
//! Names are resolved when they are needed and again every few seconds, so that a moved upstream is found.

use arc_swap::ArcSwapOption;
use pingora_core::protocols::l4::socket::SocketAddr as SocketAddress;
use pingora_core::protocols::tls::CaType;
use pingora_core::upstreams::peer::{ALPN, HttpPeer, PeerOptions};
use pingora_core::utils::tls::{WrappedX509, parse_x509};
use portcullis_config::settings;
use portcullis_verify::Moment;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Mutex;

#[cfg(test)]
mod tests;

/// How long the addresses of a name are used before it is resolved again.
const RESOLUTION_AGE_MAX_US: u64 = 5_000_000;
/// How long an upstream that could not be reached is tried only after all others.
const SHUN_US: u64 = 2_000_000;

/// Why a route's upstreams cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpstreamError {
    /// The file of certificate authorities cannot be used.
    #[error("{file}: {cause}", file = file.display())]
    Authorities {
        /// The file at fault.
        file: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
}

/// The upstreams of one route.
pub(crate) struct UpstreamPool {
    upstreams: Box<[Upstream]>,
    turn: AtomicUsize,
    timeouts: UpstreamTimeouts,
    is_plain: bool,
}

/// How long upstreams are waited for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UpstreamTimeouts {
    /// Until a connection is made, and a name resolved.
    pub(crate) connect: Duration,
    /// Longest silence of the upstream.
    pub(crate) read: Duration,
    /// Longest time it may take no byte.
    pub(crate) write: Duration,
    /// How long an idle connection to it is kept.
    pub(crate) idle: Duration,
}

struct Upstream {
    /// The peer, but for its address.
    template: HttpPeer,
    host: Box<str>,
    port: u16,
    /// Set for a host that is an address.
    fixed: Option<Arc<[SocketAddr]>>,
    resolved: ArcSwapOption<Resolved>,
    resolving: Mutex<()>,
    /// Monotonic time until which it is tried last; 0 for never.
    shunned_until_us: AtomicU64,
}

struct Resolved {
    addresses: Arc<[SocketAddr]>,
    at_us: u64,
}

/// Where one request stands with its upstreams.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    /// The place in the round, taken at the first attempt.
    turn: Option<usize>,
    /// Upstreams whose addresses are used up.
    spent: Vec<usize>,
    /// The upstream under way.
    current: Option<Current>,
    /// The next attempt goes to the same address.
    again: bool,
    /// Whether another attempt could go elsewhere.
    has_alternative: bool,
}

#[derive(Debug)]
struct Current {
    upstream: usize,
    addresses: Arc<[SocketAddr]>,
    /// Which of them is tried first.
    first: usize,
    /// How many were tried.
    tried: usize,
}

impl Attempts {
    /// Whether another attempt could go elsewhere.
    pub(crate) fn has_alternative(&self) -> bool {
        self.has_alternative
    }

    /// The next attempt goes where the last one went.
    pub(crate) fn repeat(&mut self) {
        self.again = true;
    }
}

impl Current {
    fn next_address(&mut self) -> Option<SocketAddr> {
        if self.tried == self.addresses.len() {
            return None;
        }
        let index = self.first.wrapping_add(self.tried).checked_rem(self.addresses.len())?;
        self.tried += 1;
        self.addresses.get(index).copied()
    }
}

impl UpstreamPool {
    /// Compiles a route's upstreams.
    pub(crate) fn compile(route: &settings::Route) -> Result<UpstreamPool, UpstreamError> {
        let authorities = route.upstream_ca.as_deref().map(read_authorities).transpose()?;
        let mut options = PeerOptions::new();
        options.connection_timeout = Some(route.connect_timeout);
        options.total_connection_timeout = Some(route.connect_timeout);
        options.read_timeout = Some(route.read_timeout);
        options.write_timeout = Some(route.write_timeout);
        options.idle_timeout = Some(route.idle_timeout);
        options.alpn = ALPN::H1;
        // Connections verified against one set of authorities must not be used where another set is asked for.
        let group_key = route.upstream_ca.as_deref().map_or(0, group_key);
        options.ca = authorities;
        let upstreams = route
            .upstreams
            .iter()
            .map(|upstream| Upstream::compile(upstream, &options, group_key))
            .collect();
        Ok(UpstreamPool {
            upstreams,
            turn: AtomicUsize::new(0),
            timeouts: UpstreamTimeouts {
                connect: route.connect_timeout,
                read: route.read_timeout,
                write: route.write_timeout,
                idle: route.idle_timeout,
            },
            is_plain: route.upstreams.iter().all(|upstream| !upstream.tls),
        })
    }

    /// How long the upstreams are waited for.
    pub(crate) fn timeouts(&self) -> &UpstreamTimeouts {
        &self.timeouts
    }

    /// Whether all of them are spoken to without TLS.
    pub(crate) fn is_plain(&self) -> bool {
        self.is_plain
    }

    /// The server for the next attempt, as pingora names it; `None` when all were tried.
    pub(crate) async fn next(&self, attempts: &mut Attempts, now: Moment) -> Option<Box<HttpPeer>> {
        let (index, address) = self.next_address(attempts, now).await?;
        self.upstreams.get(index).map(|upstream| upstream.peer(address))
    }

    /// The server for the next attempt: which of the upstreams, and its address. `None` when all were tried.
    pub(crate) async fn next_address(&self, attempts: &mut Attempts, now: Moment) -> Option<(usize, SocketAddr)> {
        let turn = *attempts
            .turn
            .get_or_insert_with(|| self.turn.fetch_add(1, Ordering::Relaxed));
        loop {
            if let Some(current) = &mut attempts.current {
                if std::mem::take(&mut attempts.again) {
                    current.tried = current.tried.saturating_sub(1);
                }
                if let Some(address) = current.next_address() {
                    attempts.has_alternative =
                        current.tried < current.addresses.len() || attempts.spent.len() + 1 < self.upstreams.len();
                    return Some((current.upstream, address));
                }
                attempts.spent.push(current.upstream);
                attempts.current = None;
            }
            let index = self.choose(turn, &attempts.spent, now)?;
            let upstream = self.upstreams.get(index)?;
            let addresses = upstream
                .addresses(now, self.timeouts.connect)
                .await
                .unwrap_or_else(|_| Arc::new([]));
            if addresses.is_empty() {
                upstream.shun(now);
            }
            let first = turn / self.upstreams.len();
            attempts.current = Some(Current {
                upstream: index,
                addresses,
                first,
                tried: 0,
            });
        }
    }

    /// The upstream of the last attempt could not be reached.
    pub(crate) fn unreachable(&self, attempts: &Attempts, now: Moment) {
        if let Some(current) = &attempts.current
            && current.tried == current.addresses.len()
            && let Some(upstream) = self.upstreams.get(current.upstream)
        {
            upstream.shun(now);
        }
    }

    /// The next upstream in turn that is not spent: one that is not shunned, if there is one.
    fn choose(&self, turn: usize, spent: &[usize], now: Moment) -> Option<usize> {
        let count = self.upstreams.len();
        let mut in_turn = (0..count)
            .map(|step| (turn.wrapping_add(step)) % count)
            .filter(|index| !spent.contains(index));
        let first = in_turn.clone().next()?;
        let reachable = in_turn.find(|index| {
            self.upstreams
                .get(*index)
                .is_some_and(|upstream| !upstream.is_shunned(now))
        });
        Some(reachable.unwrap_or(first))
    }
}

impl Upstream {
    fn compile(upstream: &settings::Upstream, options: &PeerOptions, group_key: u64) -> Upstream {
        let bare_host = upstream.host.trim_start_matches('[').trim_end_matches(']');
        let fixed = bare_host
            .parse::<IpAddr>()
            .ok()
            .map(|address| Arc::from([SocketAddr::new(address, upstream.port)]));
        let placeholder = SocketAddr::from(([0, 0, 0, 0], upstream.port));
        // Without a name to compare with, pingora would not verify the certificate at all: an address is a name too.
        let mut template = HttpPeer::new(placeholder, upstream.tls, bare_host.to_owned());
        template.options = options.clone();
        template.group_key = group_key;
        Upstream {
            template,
            host: bare_host.into(),
            port: upstream.port,
            fixed,
            resolved: ArcSwapOption::empty(),
            resolving: Mutex::new(()),
            shunned_until_us: AtomicU64::new(0),
        }
    }

    fn peer(&self, address: SocketAddr) -> Box<HttpPeer> {
        let mut peer = Box::new(self.template.clone());
        peer._address = SocketAddress::Inet(address);
        peer
    }

    fn shun(&self, now: Moment) {
        self.shunned_until_us
            .store(now.monotonic_us.saturating_add(SHUN_US), Ordering::Relaxed);
    }

    fn is_shunned(&self, now: Moment) -> bool {
        now.monotonic_us < self.shunned_until_us.load(Ordering::Relaxed)
    }

    /// The addresses of the host. Old ones are used while somebody else resolves, and when resolving fails.
    async fn addresses(&self, now: Moment, timeout: Duration) -> io::Result<Arc<[SocketAddr]>> {
        if let Some(fixed) = &self.fixed {
            return Ok(Arc::clone(fixed));
        }
        let known = self.resolved.load_full();
        let is_fresh = |known: &Resolved| now.monotonic_us.saturating_sub(known.at_us) < RESOLUTION_AGE_MAX_US;
        let _turn = match &known {
            Some(known) if is_fresh(known) => return Ok(Arc::clone(&known.addresses)),
            Some(known) => match self.resolving.try_lock() {
                Ok(turn) => turn,
                Err(_) => return Ok(Arc::clone(&known.addresses)),
            },
            None => self.resolving.lock().await,
        };
        if let Some(known) = self.resolved.load_full().filter(|known| is_fresh(known)) {
            return Ok(Arc::clone(&known.addresses));
        }
        let looked_up = tokio::time::timeout(timeout, tokio::net::lookup_host((&*self.host, self.port))).await;
        let fresh = looked_up
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map(Iterator::collect::<Arc<[_]>>);
        match (fresh, known) {
            (Ok(addresses), _) => {
                let resolved = Resolved {
                    addresses: Arc::clone(&addresses),
                    at_us: now.monotonic_us,
                };
                self.resolved.store(Some(Arc::new(resolved)));
                Ok(addresses)
            }
            (Err(error), known) => {
                tracing::warn!(upstream = %self.host, %error, "the name of an upstream cannot be resolved");
                known.map(|known| Arc::clone(&known.addresses)).ok_or(error)
            }
        }
    }
}

fn group_key(file: &Path) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    file.hash(&mut hasher);
    hasher.finish()
}

fn read_authorities(file: &Path) -> Result<Arc<CaType>, UpstreamError> {
    let fault = |cause: String| UpstreamError::Authorities {
        file: file.to_path_buf(),
        cause,
    };
    let certificates = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|cause| fault(cause.to_string()))?;
    if certificates.is_empty() {
        return Err(fault("there is no certificate in this file".to_owned()));
    }
    let mut roots = rustls::RootCertStore::empty();
    let mut authorities = Vec::with_capacity(certificates.len());
    for certificate in certificates {
        let der = certificate.as_ref().to_vec();
        roots.add(certificate).map_err(|cause| fault(cause.to_string()))?;
        // pingora's own reader panics on what it cannot read; a bad file must be an error.
        let parsed = std::panic::catch_unwind(|| WrappedX509::new(der, parse_x509));
        authorities.push(parsed.map_err(|_| fault("a certificate in this file cannot be read".to_owned()))?);
    }
    Ok(Arc::from(authorities))
}
