//! Gathers small writes on their way to a client, so that a response's head and a small body leave in one.
//!
//! Decides what leaves together; knows nothing of what the bytes say. Holds memory only while something waits in it: an idle connection
//! has none. [`crate::client_stream`] writes through it.

use bytes::{Buf, BytesMut};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::AsyncWrite;

#[cfg(test)]
mod tests;

/// What is gathered; whatever is as long as this leaves by itself.
const GATHERED_BYTES_MAX: usize = 4096;

/// A connection whose writes are gathered until they are flushed.
#[derive(Debug)]
pub(crate) struct Outgoing<W> {
    transport: W,
    gathered: BytesMut,
}

impl<W: AsyncWrite + Unpin> Outgoing<W> {
    /// Gathers what is written to `transport`.
    pub(crate) fn new(transport: W) -> Outgoing<W> {
        Outgoing {
            transport,
            gathered: BytesMut::new(),
        }
    }

    /// The connection itself.
    pub(crate) fn get_ref(&self) -> &W {
        &self.transport
    }

    /// The connection itself. What is written to it overtakes what was gathered.
    pub(crate) fn get_mut(&mut self) -> &mut W {
        &mut self.transport
    }

    /// Ready once everything gathered was taken by the connection, and the memory for it is free.
    fn poll_hand_over(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.gathered.is_empty() {
            let taken = ready!(Pin::new(&mut self.transport).poll_write(cx, &self.gathered))?;
            if taken == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.gathered.advance(taken);
        }
        self.gathered = BytesMut::new();
        Poll::Ready(Ok(()))
    }
}

impl<W: AsyncWrite + Unpin> AsyncWrite for Outgoing<W> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.gathered.len() + bytes.len() > GATHERED_BYTES_MAX {
            ready!(self.poll_hand_over(cx))?;
        }
        if bytes.len() >= GATHERED_BYTES_MAX {
            return Pin::new(&mut self.transport).poll_write(cx, bytes);
        }
        if self.gathered.is_empty() {
            self.gathered = BytesMut::with_capacity(GATHERED_BYTES_MAX);
        }
        self.gathered.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_hand_over(cx))?;
        Pin::new(&mut self.transport).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_hand_over(cx))?;
        Pin::new(&mut self.transport).poll_shutdown(cx)
    }
}
