//! The way out to one gateway: a body that takes one line at a time, and ends for certain.
//!
//! Holds at most one line beyond what HTTP/2 itself has under way, so that a gateway that takes nothing costs nothing. A watch that
//! cannot end politely takes its connection with it.

use crate::connection::ConnectionHandle;
use axum::body::Body;
use bytes::Bytes;
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

/// How long a polite end may take.
const END_TIMEOUT: Duration = Duration::from_secs(1);

/// Takes lines.
#[derive(Debug)]
pub(crate) struct Outlet {
    lines: mpsc::Sender<Bytes>,
    body_gone: CancellationToken,
    connection: Option<ConnectionHandle>,
}

/// The line could not be handed over: the gateway takes none, or is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotSent {
    /// It took nothing for too long.
    #[error("the gateway takes no more lines")]
    Stalled,
    /// It hung up.
    #[error("the gateway hung up")]
    Gone,
}

impl Outlet {
    /// An outlet, and the body that gives out what it takes. Without a connection there is none to cut.
    pub(crate) fn new(connection: Option<ConnectionHandle>) -> (Outlet, Body) {
        let (sender, receiver) = mpsc::channel(1);
        let body_gone = CancellationToken::new();
        let source = Source {
            receiver,
            _gone: body_gone.clone().drop_guard(),
        };
        let lines = futures_util::stream::unfold(source, async |mut source| {
            let line = source.receiver.recv().await?;
            Some((Ok::<Bytes, Infallible>(line), source))
        });
        let outlet = Outlet {
            lines: sender,
            body_gone,
            connection,
        };
        (outlet, Body::from_stream(lines))
    }

    /// Hands a line over, once the one before is on its way.
    pub(crate) async fn send(&self, line: Bytes, timeout: Duration) -> Result<(), NotSent> {
        match tokio::time::timeout(timeout, self.lines.send(line)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(NotSent::Gone),
            Err(_) => Err(NotSent::Stalled),
        }
    }

    /// Waits until the gateway has hung up.
    pub(crate) async fn gone(&self) {
        self.lines.closed().await;
    }

    /// Ends the body after what was handed over; if it does not end, its connection does.
    pub(crate) async fn end(self) {
        drop(self.lines);
        let ended = tokio::time::timeout(END_TIMEOUT, self.body_gone.cancelled()).await;
        if ended.is_err()
            && let Some(connection) = self.connection
        {
            connection.cut();
        }
    }
}

struct Source {
    receiver: mpsc::Receiver<Bytes>,
    _gone: DropGuard,
}
