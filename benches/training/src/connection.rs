//! Connections to the gateway, of each kind that its listeners take.
//!
//! Knows nothing of what is asked. Called by [`crate::course`] and [`crate::stock`].

use crate::gateway::{Addresses, certificate};
use anyhow::{Context, Result};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use http_body_util::combinators::BoxBody;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;

/// What a request carries.
pub(crate) type Body = BoxBody<Bytes, Infallible>;

/// Which door of the gateway is knocked at, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// HTTP/1.1.
    Plain,
    /// HTTP/1.1 over TLS.
    Tls,
    /// HTTP/2 over TLS.
    TlsHttp2,
    /// HTTP/2 without TLS.
    Http2,
    /// HTTP/1.1 to the decision API.
    Authz,
    /// HTTP/1.1 to the control API.
    Control,
    /// HTTP/1.1 to the metrics.
    Admin,
}

/// An open connection.
pub(crate) enum Connection {
    Http1(http1::SendRequest<Body>),
    Http2(http2::SendRequest<Body>),
}

impl Connection {
    /// Connects from the loopback address that ends with `from`.
    ///
    /// # Errors
    /// When nobody listens, or the handshake fails.
    pub(crate) async fn open(at: &Addresses, way: Way, from: u8) -> Result<Connection> {
        let [plain, tls, http2] = at.proxy;
        match way {
            Way::Plain => over_http1(tcp(plain, from).await?).await,
            Way::Tls => over_http1(encrypted(tcp(tls, from).await?, b"http/1.1").await?).await,
            Way::TlsHttp2 => over_http2(encrypted(tcp(tls, from).await?, b"h2").await?).await,
            Way::Http2 => over_http2(tcp(http2, from).await?).await,
            Way::Authz => over_http1(tcp(at.authz, from).await?).await,
            Way::Control => over_http1(tcp(at.control, from).await?).await,
            Way::Admin => over_http1(tcp(at.admin, from).await?).await,
        }
    }

    /// Sends a request, and gives the status and the whole body of its answer.
    ///
    /// # Errors
    /// When the connection breaks.
    pub(crate) async fn send(&mut self, request: Request<Body>) -> Result<(u16, Bytes)> {
        let answer: Response<Incoming> = match self {
            Connection::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
            Connection::Http2(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
        };
        let status = answer.status().as_u16();
        Ok((status, answer.into_body().collect().await?.to_bytes()))
    }

    /// Whether the other end has closed it.
    pub(crate) fn is_closed(&self) -> bool {
        match self {
            Connection::Http1(sender) => sender.is_closed(),
            Connection::Http2(sender) => sender.is_closed(),
        }
    }
}

async fn tcp(to: SocketAddr, from: u8) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, from)), 0))?;
    let stream = socket
        .connect(to)
        .await
        .with_context(|| format!("nobody listens at {to}"))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn encrypted(stream: TcpStream, protocol: &[u8]) -> Result<impl AsyncRead + AsyncWrite + Unpin + Send + 'static> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(certificate("authority.pem"))?)?;
    let mut config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    let name = ServerName::try_from("localhost")?;
    Ok(TlsConnector::from(Arc::new(config)).connect(name, stream).await?)
}

async fn over_http1(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Result<Connection> {
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Whoever waits for an answer sees the same error.
    tokio::spawn(async move { drop(connection.await) });
    Ok(Connection::Http1(sender))
}

async fn over_http2(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Result<Connection> {
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    tokio::spawn(async move { drop(connection.await) });
    Ok(Connection::Http2(sender))
}
