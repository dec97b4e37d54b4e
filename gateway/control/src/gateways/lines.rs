//! A stream of bytes as the lines of JSON that were sent, however the bytes were cut.
//!
//! Bounded: nobody's line is gathered without end. Knows nothing of what a line means.

use axum::body::{Body, BodyDataStream};
use bytes::BytesMut;
use futures_util::StreamExt as _;
use serde::de::DeserializeOwned;

/// Longest line of a gateway. What gateways say is short; this leaves room for fields of newer ones.
pub(crate) const LINE_BYTES_MAX: usize = 8 * 1_024;

/// Why there is no line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoLine {
    /// The stream has ended, or broke.
    #[error("the gateway hung up")]
    Ended,
    /// It is longer than it may be.
    #[error("a line is too long")]
    TooLong,
    /// It is no message that is known.
    #[error("a line is not understood")]
    NotUnderstood,
}

/// The lines of a request's body.
#[derive(Debug)]
pub(crate) struct Lines {
    body: BodyDataStream,
    gathered: BytesMut,
    /// So much of what is gathered holds no end of a line.
    searched: usize,
}

impl Lines {
    pub(crate) fn new(body: Body) -> Lines {
        Lines {
            body: body.into_data_stream(),
            gathered: BytesMut::new(),
            searched: 0,
        }
    }

    /// The next message. Nothing is lost when this is dropped before it is there.
    pub(crate) async fn next<T: DeserializeOwned>(&mut self) -> Result<T, NoLine> {
        loop {
            let unsearched = self.gathered.get(self.searched..).unwrap_or_default();
            if let Some(end) = unsearched.iter().position(|byte| *byte == b'\n') {
                let line = self.gathered.split_to(self.searched + end + 1);
                self.searched = 0;
                if self.gathered.is_empty() {
                    // Thousands of idle gateways should hold no buffers.
                    self.gathered = BytesMut::new();
                }
                return serde_json::from_slice(&line).map_err(|_| NoLine::NotUnderstood);
            }
            self.searched = self.gathered.len();
            if self.searched > LINE_BYTES_MAX {
                return Err(NoLine::TooLong);
            }
            match self.body.next().await {
                Some(Ok(bytes)) => self.gathered.extend_from_slice(&bytes),
                Some(Err(_)) | None => return Err(NoLine::Ended),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    async fn read(pieces: &[&str]) -> (Vec<u32>, NoLine) {
        let pieces: Vec<Result<Bytes, std::io::Error>> = pieces
            .iter()
            .map(|piece| Ok(Bytes::from((*piece).to_owned())))
            .collect();
        let mut lines = Lines::new(Body::from_stream(futures_util::stream::iter(pieces)));
        let mut read = Vec::new();
        loop {
            match lines.next().await {
                Ok(number) => read.push(number),
                Err(no_line) => return (read, no_line),
            }
        }
    }

    #[tokio::test]
    async fn lines_are_the_same_however_they_are_cut() {
        let text = "1\n22\n333\n";
        for first in 0..=text.len() {
            for second in first..=text.len() {
                let pieces = [&text[..first], &text[first..second], &text[second..]];
                assert_eq!(read(&pieces).await, (vec![1, 22, 333], NoLine::Ended), "{pieces:?}");
            }
        }
    }

    #[tokio::test]
    async fn what_is_no_line_ends_them() {
        let long = "1".repeat(LINE_BYTES_MAX + 1);
        assert_eq!(read(&["1\n", &long]).await, (vec![1], NoLine::TooLong));
        assert_eq!(read(&["1\nx\n2\n"]).await, (vec![1], NoLine::NotUnderstood));
        assert_eq!(read(&["1\n2"]).await, (vec![1], NoLine::Ended));
        assert_eq!(read(&[]).await, (vec![], NoLine::Ended));
    }
}
