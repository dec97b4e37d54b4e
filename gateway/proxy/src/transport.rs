//! A client's bytes, with or without TLS around them.
//!
//! Knows nothing of what the bytes say. [`crate::client_stream`] reads and writes through it.

use bytes::{Buf, BytesMut};
use pingora_core::tls::{ServerTlsStream, TlsAcceptor};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A client's connection below HTTP.
pub(crate) enum Transport {
    /// TCP.
    Plain(Socket),
    /// TLS over TCP.
    Tls(Box<ServerTlsStream<Socket>>),
}

/// A TCP socket of which some bytes were already read.
pub(crate) struct Socket {
    tcp: TcpStream,
    ahead: BytesMut,
}

impl Socket {
    /// A socket that first gives back what was read ahead.
    pub(crate) fn new(tcp: TcpStream, ahead: BytesMut) -> Socket {
        Socket { tcp, ahead }
    }
}

impl Transport {
    /// Does the TLS handshake of a server.
    pub(crate) async fn accept_tls(acceptor: &TlsAcceptor, socket: Socket) -> io::Result<Transport> {
        Ok(Transport::Tls(Box::new(acceptor.accept(socket).await?)))
    }

    /// Has the connection reset when it is closed. What its client did not take is forgotten then; otherwise the kernel would hold it,
    /// and offer it, for minutes.
    pub(crate) fn reset_on_close(&self) {
        let socket = match self {
            Transport::Plain(socket) => socket,
            Transport::Tls(stream) => stream.get_ref().0,
        };
        // Where it cannot be had, the kernel gives up by itself in the end.
        let _ = socket.tcp.set_zero_linger();
    }

    /// The application protocol that the TLS handshake agreed on.
    pub(crate) fn alpn(&self) -> Option<&[u8]> {
        match self {
            Transport::Plain(_) => None,
            Transport::Tls(stream) => stream.get_ref().1.alpn_protocol(),
        }
    }

    /// The TLS cipher suite and version; `None` without TLS.
    pub(crate) fn tls_names(&self) -> Option<(&'static str, &'static str)> {
        let Transport::Tls(stream) = self else { return None };
        let session = stream.get_ref().1;
        let cipher = session
            .negotiated_cipher_suite()
            .and_then(|suite| suite.suite().as_str());
        let version = session.protocol_version().and_then(|version| version.as_str());
        Some((cipher.unwrap_or_default(), version.unwrap_or_default()))
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            return Pin::new(&mut self.tcp).poll_read(cx, buf);
        }
        let length = self.ahead.len().min(buf.remaining());
        if let Some(bytes) = self.ahead.get(..length) {
            buf.put_slice(bytes);
        }
        self.ahead.advance(length);
        if self.ahead.is_empty() {
            self.ahead = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

impl AsyncRead for Transport {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Transport::Plain(socket) => Pin::new(socket).poll_read(cx, buf),
            Transport::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut *self {
            Transport::Plain(socket) => Pin::new(socket).poll_write(cx, bytes),
            Transport::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Transport::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Transport::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Transport::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Transport::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
