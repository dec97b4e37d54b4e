//! The body of a request to the control API: a whole one, or lines as they come.
//!
//! Knows no message. The link fills it, hyper drains it.

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::mpsc;

/// Lines that may wait: the first, and as many pings as may be under way.
const LINES_MAX: usize = 4;

/// A request's body.
#[derive(Debug)]
pub(super) enum Outgoing {
    /// `None` once it was taken.
    Whole(Option<Bytes>),
    /// Ends when the sender is dropped.
    Lines(mpsc::Receiver<Bytes>),
}

impl Outgoing {
    pub(super) fn whole(bytes: Bytes) -> Outgoing {
        Outgoing::Whole(Some(bytes).filter(|bytes| !bytes.is_empty()))
    }

    pub(super) fn lines() -> (mpsc::Sender<Bytes>, Outgoing) {
        let (sender, receiver) = mpsc::channel(LINES_MAX);
        (sender, Outgoing::Lines(receiver))
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = match self.get_mut() {
            Outgoing::Whole(bytes) => Poll::Ready(bytes.take()),
            Outgoing::Lines(lines) => lines.poll_recv(cx),
        };
        next.map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Outgoing::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Outgoing::Whole(bytes) => {
                let length = bytes.as_ref().map_or(0, Bytes::len);
                SizeHint::with_exact(u64::try_from(length).unwrap_or(u64::MAX))
            }
            Outgoing::Lines(_) => SizeHint::default(),
        }
    }
}
