//! The two streams of lines that a watch is.
//!
//! Bounds each line and reads it; what is said, and in which order, is the session's business.

use super::LinkError;
use super::connection::Connection;
use crate::lines::LineCutter;
use crate::message::{FromControl, FromGateway};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::mpsc;

/// A watch that the control API accepted. Dropping it closes its connection.
pub struct WatchStream {
    outgoing: mpsc::Sender<Bytes>,
    incoming: Incoming,
    cutter: LineCutter,
    connection: Connection,
}

impl WatchStream {
    pub(super) fn new(connection: Connection, outgoing: mpsc::Sender<Bytes>, incoming: Incoming) -> WatchStream {
        WatchStream {
            outgoing,
            incoming,
            cutter: LineCutter::default(),
            connection,
        }
    }

    /// The next line; `None` when the control API has ended the stream. May be abandoned and called again: nothing is lost.
    pub async fn next(&mut self) -> Result<Option<FromControl>, LinkError> {
        loop {
            if let Some(line) = self.cutter.next_line().map_err(|_| LinkError::TooLong)? {
                let line = serde_json::from_slice(&line).map_err(|error| LinkError::unreadable(&error))?;
                return Ok(Some(line));
            }
            match self.incoming.frame().await {
                Some(Ok(frame)) => {
                    if let Some(piece) = frame.data_ref() {
                        self.cutter.push(piece);
                    }
                }
                Some(Err(error)) => return Err(self.connection.broken(&error)),
                None if self.cutter.is_within_a_line() => {
                    return Err(LinkError::Unreadable("the last line is cut short".to_owned()));
                }
                None => return Ok(None),
            }
        }
    }

    /// Hands a line over without waiting. False: earlier ones have not been taken yet, or the stream has ended.
    pub fn say(&self, message: &FromGateway) -> Result<bool, LinkError> {
        Ok(self.outgoing.try_send(line(message)?).is_ok())
    }
}

/// A message as it is sent.
pub(super) fn line(message: &FromGateway) -> Result<Bytes, LinkError> {
    let mut text = serde_json::to_vec(message).map_err(|error| LinkError::unreadable(&error))?;
    text.push(b'\n');
    Ok(Bytes::from(text))
}
