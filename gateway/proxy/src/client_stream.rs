//! What pingora reads a client's requests from: a stream that hands out one message at a time.
//!
//! It decides how many of the received bytes belong to the request under way: a head only once it is whole, within its
//! size and without bare line feeds; then its body; never a byte of what follows, which waits here for its turn
//! (pipelined requests, data after an Upgrade that was not granted yet: CVE-2026-2833). It knows the request line and the
//! blank line, no header, and no time. [`crate::connection`] drives it; [`crate::flow`] tells it what body follows a head.

use crate::fast;
use crate::outgoing::Outgoing;
use crate::transport::Transport;
use async_trait::async_trait;
use bytes::{Buf, BytesMut};
use pingora_core::protocols::l4::socket::SocketAddr as SocketAddress;
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::tls::SslDigest;
use pingora_core::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest, UniqueID,
    UniqueIDType,
};
use portcullis_http::client_address;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio_util::io::poll_read_buf;

#[cfg(test)]
mod tests;

/// Room made for a head before it is read.
const HEAD_BUFFER_BYTES: usize = 4096;
/// How much of what follows a request is held while the request is served.
const AHEAD_BYTES_MAX: usize = 16 * 1024;
/// How much, and how long, is still read from a client that is being told why its body is not wanted.
const LINGER_BYTES_MAX: usize = 1024 * 1024;
const LINGER_TIME_MAX: Duration = Duration::from_secs(2);

/// A client's connection as pingora sees it.
pub(crate) struct ClientStream {
    transport: Outgoing<Transport>,
    /// Received and not handed out yet.
    received: BytesMut,
    /// How many more bytes may be handed out; the two largest values are [`UNBOUNDED`] and [`CHUNKED`].
    allowance: AtomicU64,
    socket: Arc<SocketDigest>,
    tls: Option<Arc<SslDigest>>,
    is_http2: bool,
    peer: IpAddr,
    id: UniqueIDType,
}

/// Everything belongs to whoever reads: HTTP/2, and tunnels.
const UNBOUNDED: u64 = u64::MAX;
/// Everything, until the reader says that the body is complete.
const CHUNKED: u64 = u64::MAX - 1;

/// The body that follows a request's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyLength {
    /// This many bytes.
    Exactly(u64),
    /// As many as the chunked coding says.
    Chunked,
}

/// Why there is no head to serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeadFault {
    /// The client closed the connection, or it broke.
    Closed,
    /// The head is longer than allowed, and its first line is complete.
    TooLarge,
    /// The first line alone is longer than the head may be.
    TargetTooLong,
    /// A line feed without a carriage return: servers differ on whether that ends a line.
    BareLineFeed,
    /// The first line is not three words with one space between them, or has a fragment: pingora would repair it, other
    /// servers otherwise.
    RequestLine,
}

impl ClientStream {
    /// A stream over a connection whose handshakes are done. `peer` is the address that counts, `local` where it arrived.
    pub(crate) fn new(transport: Transport, id: UniqueIDType, peer: SocketAddr, local: Option<SocketAddr>) -> Self {
        let socket = SocketDigest::from_raw_fd(id);
        // A cell that was just made is empty.
        let _ = socket.peer_addr.set(Some(SocketAddress::Inet(peer)));
        let _ = socket.local_addr.set(local.map(SocketAddress::Inet));
        let tls = transport
            .tls_names()
            .map(|(cipher, version)| Arc::new(SslDigest::new(cipher, version, None, None, Vec::new())));
        ClientStream {
            transport: Outgoing::new(transport),
            received: BytesMut::new(),
            allowance: AtomicU64::new(0),
            socket: Arc::new(socket),
            tls,
            is_http2: false,
            peer: client_address::canonical(peer.ip()),
            id,
        }
    }

    /// Whether the TLS handshake agreed on HTTP/2.
    pub(crate) fn negotiated_http2(&self) -> bool {
        self.transport.get_ref().alpn() == Some(b"h2")
    }

    /// Reads until the received bytes are known to start with `preface`, or not to. True if they do.
    pub(crate) async fn starts_with(&mut self, preface: &[u8]) -> io::Result<bool> {
        loop {
            if self.received.starts_with(preface) {
                return Ok(true);
            }
            if !preface.starts_with(&self.received) {
                return Ok(false);
            }
            if self.receive().await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// From here on the stream is HTTP/2's.
    pub(crate) fn into_http2(mut self) -> Self {
        self.is_http2 = true;
        self.allowance = AtomicU64::new(UNBOUNDED);
        self
    }

    /// Whether the blank line that ends a head was received.
    pub(crate) fn has_whole_head(&self) -> bool {
        memchr::memmem::find(&self.received, b"\r\n\r\n").is_some()
    }

    /// Waits until the whole head of a request is here; from then on exactly that head can be read.
    pub(crate) async fn head_arrives(&mut self, bytes_max: usize) -> Result<(), HeadFault> {
        let mut scanned = 0;
        loop {
            // A server ignores empty lines before a request (RFC 9112 §2.2).
            while self.received.starts_with(b"\r\n") {
                self.received.advance(2);
                scanned = 0;
            }
            match head_end(&self.received, scanned)? {
                Some(end) if end <= bytes_max => {
                    check_request_line(&self.received)?;
                    *self.allowance.get_mut() = u64::try_from(end).unwrap_or(0);
                    return Ok(());
                }
                None if self.received.len() < bytes_max => {}
                _ => {
                    let first_line = self.received.iter().position(|byte| *byte == b'\n');
                    let fits = first_line.is_some_and(|end| end < bytes_max);
                    return Err(if fits {
                        HeadFault::TooLarge
                    } else {
                        HeadFault::TargetTooLong
                    });
                }
            }
            scanned = self.received.len();
            if self.receive().await.unwrap_or(0) == 0 {
                return Err(HeadFault::Closed);
            }
        }
    }

    /// What was received and belongs to nobody yet.
    pub(crate) fn received(&self) -> &[u8] {
        &self.received
    }

    /// Takes bytes off the front of what was received. An idle connection holds no buffer.
    pub(crate) fn consume(&mut self, bytes: usize) {
        self.received.advance(bytes.min(self.received.len()));
        if self.received.is_empty() {
            fast::give_input(std::mem::take(&mut self.received));
        }
    }

    /// Receives more. Ready with the number of bytes; 0 is the end of the stream. Holds no buffer while nothing comes.
    pub(crate) fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.received.capacity() == 0 {
            self.received = fast::input();
        } else if self.received.capacity() == self.received.len() {
            self.received.reserve(HEAD_BUFFER_BYTES);
        }
        let polled = poll_read_buf(Pin::new(self.transport.get_mut()), cx, &mut self.received);
        if self.received.is_empty() {
            fast::give_input(std::mem::take(&mut self.received));
        }
        polled
    }

    /// Ready once the client has left. What it sends meanwhile is kept for later.
    pub(crate) fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.received.len() < AHEAD_BYTES_MAX {
            match std::task::ready!(self.poll_more(cx)) {
                Ok(0) | Err(_) => return Poll::Ready(()),
                Ok(_) => {}
            }
        }
        Poll::Pending
    }

    /// Sends without a buffer in between. Ready with the number of bytes taken.
    pub(crate) fn poll_send(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(self.transport.get_mut()).poll_write(cx, bytes)
    }

    /// Ready once all that was taken has left.
    pub(crate) fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.transport.get_mut()).poll_flush(cx)
    }

    /// The address that counts as the client's, and whether it speaks TLS.
    pub(crate) fn caller(&self) -> (IpAddr, bool) {
        (self.peer, self.tls.is_some())
    }

    /// Whether part of a request is here.
    pub(crate) fn has_begun(&self) -> bool {
        !self.received.is_empty()
    }

    /// Lets the body that follows the head be read.
    pub(crate) fn expect_body(&self, length: BodyLength) {
        let allowance = match length {
            BodyLength::Exactly(bytes) => bytes.min(CHUNKED - 1),
            BodyLength::Chunked => CHUNKED,
        };
        self.allowance.store(allowance, Ordering::Relaxed);
    }

    /// The body was read to its end: what follows is another request.
    pub(crate) fn body_is_complete(&self) {
        if self.allowance.load(Ordering::Relaxed) != UNBOUNDED {
            self.allowance.store(0, Ordering::Relaxed);
        }
    }

    /// Nobody will read what follows, and nobody knows how long it is.
    pub(crate) fn abandon_rest(&self) {
        self.allowance.store(CHUNKED, Ordering::Relaxed);
    }

    /// The client takes nothing any more: what it did not take is forgotten when the connection is closed.
    pub(crate) fn reset_on_close(&self) {
        self.transport.get_ref().reset_on_close();
    }

    /// The connection became a tunnel.
    pub(crate) fn becomes_tunnel(&self) {
        self.allowance.store(UNBOUNDED, Ordering::Relaxed);
    }

    /// Answers without pingora, and closes.
    pub(crate) async fn answer_and_close(&mut self, response: &[u8]) {
        // The client has not sent all it wanted to; it must be able to read the answer nevertheless.
        self.abandon_rest();
        let written = tokio::time::timeout(LINGER_TIME_MAX, self.transport.write_all(response)).await;
        if matches!(written, Ok(Ok(()))) {
            Shutdown::shutdown(self).await;
        }
    }

    async fn receive(&mut self) -> io::Result<usize> {
        if self.received.capacity() - self.received.len() < HEAD_BUFFER_BYTES / 4 {
            self.received.reserve(HEAD_BUFFER_BYTES);
        }
        self.transport.get_mut().read_buf(&mut self.received).await
    }

    /// Hands out received bytes.
    fn hand_out(&mut self, buf: &mut ReadBuf<'_>, allowance: u64) {
        let length = self
            .received
            .len()
            .min(buf.remaining())
            .min(usize::try_from(allowance).unwrap_or(usize::MAX));
        if let Some(bytes) = self.received.get(..length) {
            buf.put_slice(bytes);
        }
        self.consume(length);
        self.spend(allowance, length);
    }

    fn spend(&self, allowance: u64, bytes: usize) {
        if allowance < CHUNKED {
            let left = allowance.saturating_sub(u64::try_from(bytes).unwrap_or(u64::MAX));
            self.allowance.store(left, Ordering::Relaxed);
        }
    }

    /// Moves bytes from the transport to `received`. Ready with the number of bytes; 0 is the end of the stream.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut chunk = [0; 2048];
        let mut chunk = ReadBuf::new(&mut chunk);
        std::task::ready!(Pin::new(self.transport.get_mut()).poll_read(cx, &mut chunk))?;
        self.received.extend_from_slice(chunk.filled());
        Poll::Ready(Ok(chunk.filled().len()))
    }

    /// Nothing may be handed out: only the end of the stream is told. What arrives is kept for later.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.received.len() < AHEAD_BYTES_MAX {
            if std::task::ready!(self.poll_receive(cx))? == 0 {
                return Poll::Ready(Ok(()));
            }
        }
        // The request under way is served by other wake-ups; once it is done, this is read on.
        Poll::Pending
    }

    /// Reads on for a while after the last byte was sent, so that the answer is not lost to a connection reset.
    async fn linger(&mut self) {
        let discard = async {
            let mut chunk = vec![0; 8192];
            let mut discarded = 0;
            while discarded < LINGER_BYTES_MAX {
                match self.transport.get_mut().read(&mut chunk).await {
                    Ok(0) | Err(_) => break,
                    Ok(length) => discarded += length,
                }
            }
        };
        let _ = tokio::time::timeout(LINGER_TIME_MAX, discard).await;
    }
}

/// Where the blank line ends, looking from `scanned`.
fn head_end(bytes: &[u8], scanned: usize) -> Result<Option<usize>, HeadFault> {
    let mut start = scanned;
    while let Some(offset) = bytes
        .get(start..)
        .and_then(|rest| rest.iter().position(|byte| *byte == b'\n'))
    {
        let line_feed = start + offset;
        let before = bytes.get(..line_feed).unwrap_or_default();
        if !before.ends_with(b"\r") {
            return Err(HeadFault::BareLineFeed);
        }
        if before.ends_with(b"\r\n\r") {
            return Ok(Some(line_feed + 1));
        }
        start = line_feed + 1;
    }
    Ok(None)
}

fn check_request_line(head: &[u8]) -> Result<(), HeadFault> {
    let end = head.iter().position(|byte| *byte == b'\r').unwrap_or(head.len());
    let line = head.get(..end).unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ');
    let three_words = words.by_ref().take(3).filter(|word| !word.is_empty()).count() == 3 && words.next().is_none();
    if three_words && !line.iter().any(|byte| byte.is_ascii_control() || *byte == b'#') {
        Ok(())
    } else {
        Err(HeadFault::RequestLine)
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let allowance = *this.allowance.get_mut();
        if allowance == 0 {
            return this.poll_end(cx);
        }
        if !this.received.is_empty() {
            this.hand_out(buf, allowance);
            return Poll::Ready(Ok(()));
        }
        if usize::try_from(allowance).is_ok_and(|allowance| allowance < buf.remaining()) {
            if std::task::ready!(this.poll_receive(cx))? > 0 {
                this.hand_out(buf, allowance);
            }
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        std::task::ready!(Pin::new(this.transport.get_mut()).poll_read(cx, buf))?;
        this.spend(allowance, buf.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.transport).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_shutdown(cx)
    }
}

#[async_trait]
impl Shutdown for ClientStream {
    async fn shutdown(&mut self) {
        let body_is_unread = !matches!(*self.allowance.get_mut(), 0 | UNBOUNDED);
        let closed = tokio::time::timeout(LINGER_TIME_MAX, self.transport.shutdown()).await;
        if body_is_unread && matches!(closed, Ok(Ok(()))) {
            self.linger().await;
        }
    }
}

impl UniqueID for ClientStream {
    fn id(&self) -> UniqueIDType {
        self.id
    }
}

impl Ssl for ClientStream {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.tls.clone()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.is_http2.then_some(ALPN::H2)
    }
}

impl GetTimingDigest for ClientStream {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for ClientStream {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for ClientStream {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        Some(Arc::clone(&self.socket))
    }
}

impl Peek for ClientStream {}

impl std::fmt::Debug for ClientStream {
    /// Never what was received: it may hold a key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientStream")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
