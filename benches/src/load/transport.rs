//! A connection of the load generator: plain, or over TLS.
//!
//! Decides how one is made; knows no HTTP. Both read and write without waiting once they are made.

use super::peers;
use anyhow::{Context, Result};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

/// Where a server is reached, and how.
#[derive(Clone)]
pub(crate) struct Endpoint {
    pub(crate) address: SocketAddr,
    /// Only over TLS.
    tls: Option<Arc<ClientConfig>>,
}

impl Endpoint {
    /// Without TLS.
    pub(crate) fn plain(address: SocketAddr) -> Endpoint {
        Endpoint { address, tls: None }
    }

    /// Over TLS 1.3, trusting the authority of the test certificates.
    pub(crate) fn tls(address: SocketAddr) -> Result<Endpoint> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(peers::certificate("authority.pem"))? {
            roots.add(certificate?)?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Endpoint {
            address,
            tls: Some(Arc::new(config)),
        })
    }

    /// Whether it is over TLS.
    pub(crate) fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// The same, agreeing on HTTP/2 in the handshake where there is one.
    pub(crate) fn with_http2(&self) -> Endpoint {
        let mut endpoint = self.clone();
        if let Some(config) = &mut endpoint.tls {
            Arc::make_mut(config).alpn_protocols = vec![b"h2".to_vec()];
        }
        endpoint
    }

    /// Connects, and shakes hands where that is due.
    pub(crate) fn connect(&self) -> Result<Transport> {
        let mut stream =
            TcpStream::connect(self.address).with_context(|| format!("{} takes no connection", self.address))?;
        stream.set_nodelay(true)?;
        let Some(config) = &self.tls else {
            stream.set_nonblocking(true)?;
            return Ok(Transport::Plain(stream));
        };
        let mut session = ClientConnection::new(Arc::clone(config), ServerName::try_from("localhost")?)?;
        while session.is_handshaking() {
            session.complete_io(&mut stream)?;
        }
        stream.set_nonblocking(true)?;
        Ok(Transport::Tls(Box::new(StreamOwned::new(session, stream))))
    }
}

/// A connection.
pub(crate) enum Transport {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Transport {
    /// Reads what is there; nothing when there is nothing yet.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<Option<usize>> {
        or_nothing(match self {
            Transport::Plain(stream) => stream.read(buffer),
            Transport::Tls(stream) => stream.read(buffer),
        })
    }

    /// Writes what is taken; nothing when nothing is.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> std::io::Result<Option<usize>> {
        or_nothing(match self {
            Transport::Plain(stream) => stream.write(bytes),
            Transport::Tls(stream) => stream.write(bytes),
        })
    }
}

impl AsFd for Transport {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Transport::Plain(stream) => stream.as_fd(),
            Transport::Tls(stream) => stream.sock.as_fd(),
        }
    }
}

fn or_nothing(done: std::io::Result<usize>) -> std::io::Result<Option<usize>> {
    match done {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}
