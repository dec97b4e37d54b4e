//! Did the other end begin to speak HTTP/2? An HTTP/2 server's first frame is its settings; anything else is some other protocol.
//!
//! Watches the first four bytes that are read and changes nothing. The connection asks when it failed, to say why.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that tell: three of length, which is short and so begins with 0, and the type.
const TELLING: usize = 4;
/// The type of a frame of settings.
const SETTINGS: u8 = 4;

/// What was seen of the beginning. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Greeting(Arc<AtomicBool>);

impl Greeting {
    /// Whether the other end spoke, and not HTTP/2.
    pub(super) fn is_foreign(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// A stream whose beginning is watched.
#[derive(Debug)]
pub(super) struct Greeted<T> {
    stream: T,
    first: [u8; TELLING],
    seen: usize,
    greeting: Greeting,
}

impl<T> Greeted<T> {
    pub(super) fn new(stream: T, greeting: Greeting) -> Greeted<T> {
        Greeted {
            stream,
            first: [0; TELLING],
            seen: 0,
            greeting,
        }
    }

    fn note(&mut self, bytes: &[u8]) {
        for byte in bytes.iter().take(TELLING - self.seen) {
            self.first[self.seen] = *byte;
            self.seen += 1;
        }
        let is_foreign = self.seen > 0 && self.first[0] != 0 || self.seen == TELLING && self.first[3] != SETTINGS;
        if is_foreign {
            self.greeting.0.store(true, Ordering::Release);
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Greeted<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if self.seen < TELLING {
            self.note(&buf.filled()[before..]);
        }
        polled
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Greeted<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
