//! Opens the sockets that the gateway listens on, and accepts from them.
//!
//! Knows nothing of HTTP: what it accepts it hands to [`crate::workers`]. Called once by the server at start-up.

use crate::connection::ConnectionServer;
use crate::workers::{Arrival, Workers};
use portcullis_config::settings;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Connections that the kernel holds for us until they are accepted.
const BACKLOG: u32 = 4096;
/// How long to wait after an accept failed, as it does when the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Why a listener cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {cause}")]
    Address {
        /// The address of the configuration.
        address: SocketAddr,
        /// What the system said.
        cause: io::Error,
    },
    /// The certificate or its key cannot be used.
    #[error("{file}: {cause}", file = file.display())]
    Certificate {
        /// The file at fault.
        file: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
}

/// An open listener of the reverse proxy.
pub struct BoundListener {
    socket: TcpListener,
    address: SocketAddr,
    profile: Arc<ListenerProfile>,
}

/// What connections of one listener look like.
pub(crate) struct ListenerProfile {
    /// The TLS set-up; `None` is plain TCP.
    pub(crate) tls: Option<pingora_core::tls::TlsAcceptor>,
    /// Every connection starts with a PROXY protocol header.
    pub(crate) proxy_protocol: bool,
    /// HTTP/2 with prior knowledge is taken on plain TCP.
    pub(crate) h2c: bool,
}

impl BoundListener {
    /// Where it listens, with the port that was really taken.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl std::fmt::Debug for BoundListener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BoundListener")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// Opens every listener of the reverse proxy. Must be called within a tokio runtime.
///
/// Clients that connect before [`crate::Proxy::run`] wait in the listen queue.
pub fn bind(gateway: &settings::Gateway) -> Result<Vec<BoundListener>, BindError> {
    gateway.listen.iter().map(bind_one).collect()
}

fn bind_one(listener: &settings::Listener) -> Result<BoundListener, BindError> {
    let tls = listener.tls.as_ref().map(tls_acceptor).transpose()?;
    let (socket, address) = open(listener.address).map_err(|cause| BindError::Address {
        address: listener.address,
        cause,
    })?;
    let profile = ListenerProfile {
        tls,
        proxy_protocol: listener.proxy_protocol,
        h2c: listener.h2c,
    };
    Ok(BoundListener {
        socket,
        address,
        profile: Arc::new(profile),
    })
}

fn open(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    let listener = socket.listen(BACKLOG)?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

fn tls_acceptor(files: &settings::ListenerTls) -> Result<pingora_core::tls::TlsAcceptor, BindError> {
    let fault = |file: &Path, cause: String| BindError::Certificate {
        file: file.to_path_buf(),
        cause,
    };
    let chain = CertificateDer::pem_file_iter(&files.cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|cause| fault(&files.cert, cause.to_string()))?;
    if chain.is_empty() {
        return Err(fault(&files.cert, "there is no certificate in this file".to_owned()));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|cause| fault(&files.key, cause.to_string()))?;
    let mut config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|cause| fault(&files.cert, cause.to_string()))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|cause| fault(&files.cert, cause.to_string()))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(pingora_core::tls::TlsAcceptor::from(Arc::new(config)))
}

/// Accepts connections until `stop`, and hands them to the workers. Where there is no room and nobody makes any, the next one
/// waits, and further ones in the listen queue.
pub(crate) async fn accept(
    listener: BoundListener,
    server: Arc<ConnectionServer>,
    workers: Arc<Workers>,
    connections: TaskTracker,
    stop: CancellationToken,
) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            accepted = listener.socket.accept() => accepted,
        };
        let (socket, peer) = match accepted.and_then(|(socket, peer)| Ok((socket.into_std()?, peer))) {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(address = %listener.address, %error, "a connection cannot be accepted");
                (0..server.occupancy.clear()).for_each(|_| server.metrics.turned_away("made_room"));
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Behind a PROXY protocol header is somebody else.
        let known = (!listener.profile.proxy_protocol).then(|| peer.ip());
        let Ok(mut place) = server.occupancy.enter(known) else {
            server.metrics.turned_away("address_full");
            continue;
        };
        let gone = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            gone = place.settle() => gone,
        };
        (0..gone).for_each(|_| server.metrics.turned_away("made_room"));
        workers.take(Arrival {
            socket,
            peer,
            profile: Arc::clone(&listener.profile),
            place,
            tracked: connections.token(),
        });
    }
}
