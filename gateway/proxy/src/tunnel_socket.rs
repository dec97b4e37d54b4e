//! Connections to upstreams for requests that ask for a tunnel.
//!
//! pingora 0.9.1 hands the empty body of the handshake to its upstream half through a queue, and that half takes from the
//! queue or from the upstream, whichever is ready, at random. An upstream next door may have granted the upgrade by then;
//! taken first, the grant makes the empty body behind it look like the end of the tunnel. These sockets let one poll pass
//! between a write and the next read, in which the queue is emptied. Used by [`crate::flow`].

use async_trait::async_trait;
use pingora_core::connectors::L4Connect;
use pingora_core::protocols::l4::socket::SocketAddr;
use pingora_core::protocols::l4::stream::Stream;
use pingora_core::protocols::l4::virt::{VirtualSockOpt, VirtualSocket, VirtualSocketStream};
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, ErrorType, Result};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Keeps these connections apart from others in the pool, which hold no such promise.
const GROUP: u64 = 0x7475_6e6e_656c;

/// Has `peer` connected to through a socket of this module.
pub(crate) fn prepare(peer: &mut HttpPeer) {
    peer.group_key ^= GROUP;
    peer.options.custom_l4 = Some(Arc::new(TunnelConnector));
}

#[derive(Debug)]
struct TunnelConnector;

#[async_trait]
impl L4Connect for TunnelConnector {
    /// Errors are named as pingora's own connector names them; the peer's total connection timeout bounds the wait.
    async fn connect(&self, address: &SocketAddr) -> Result<Stream> {
        let address = address
            .as_inet()
            .ok_or_else(|| Error::explain(ErrorType::InternalError, "an upstream is not at an IP address"))?;
        let tcp = TcpStream::connect(address).await.map_err(|error| {
            let kind = match error.kind() {
                io::ErrorKind::ConnectionRefused => ErrorType::ConnectRefused,
                io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => ErrorType::ConnectNoRoute,
                _ => ErrorType::ConnectError,
            };
            Error::because(kind, "connecting for a tunnel", error)
        })?;
        let socket = TunnelSocket { tcp, wrote: false };
        Ok(VirtualSocketStream::new(Box::new(socket)).into())
    }
}

/// A TCP socket whose first read after a write is put off by one poll.
#[derive(Debug)]
struct TunnelSocket {
    tcp: TcpStream,
    wrote: bool,
}

impl VirtualSocket for TunnelSocket {
    fn set_socket_option(&self, option: VirtualSockOpt) -> io::Result<()> {
        match option {
            VirtualSockOpt::NoDelay => self.tcp.set_nodelay(true),
            // Keep-alive probes are not asked of upstreams; whatever comes later is not ours to refuse.
            _ => Ok(()),
        }
    }
}

impl AsyncRead for TunnelSocket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if std::mem::take(&mut self.wrote) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Pin::new(&mut self.tcp).poll_read(cx, buf)
    }
}

impl AsyncWrite for TunnelSocket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.wrote = true;
        Pin::new(&mut self.tcp).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}
