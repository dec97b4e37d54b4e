//! Where a gateway's reports of usage go: to the control API.
//!
//! Decides which answers mean that a batch is not taken at all, and which that it is to be sent again. Knows nothing of what is in a
//! batch. The reporter of [`portcullis_record::usage`] sends through it.

use crate::{Link, LinkError};
use async_trait::async_trait;
use http::StatusCode;
use portcullis_record::usage::{SinkError, UsageBatch, UsageSink};
use std::sync::Arc;
use std::time::Duration;

#[cfg(test)]
mod tests;

/// How long one report may take. Less than the reporter's own patience, so that the link notices which connection failed it.
const PATIENCE: Duration = Duration::from_secs(8);

/// The control API behind a link, as a place to report to.
#[derive(Debug)]
pub struct ControlUsageSink {
    link: Arc<Link>,
}

impl ControlUsageSink {
    /// Reports over this link.
    #[must_use]
    pub fn new(link: Arc<Link>) -> ControlUsageSink {
        ControlUsageSink { link }
    }
}

#[async_trait]
impl UsageSink for ControlUsageSink {
    async fn send(&self, batch: &UsageBatch) -> Result<(), SinkError> {
        // Whether it was new says nothing to a sender: it counts once either way.
        match self.link.report(batch, PATIENCE).await {
            Ok(_) => Ok(()),
            Err(error) => Err(failure(&error)),
        }
    }
}

/// What an error means for the batch.
fn failure(error: &LinkError) -> SinkError {
    let cause = error.to_string();
    match error {
        // It would be the same the next time, and in the way of all that come after it.
        LinkError::Refused(
            StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY,
        ) => SinkError::Refused(cause),
        LinkError::Refused(_)
        | LinkError::Connect(_)
        | LinkError::NotHttp2
        | LinkError::TokenRefused
        | LinkError::Forbidden
        | LinkError::NotControl
        | LinkError::Broken(_)
        | LinkError::TimedOut(_)
        | LinkError::TooLong
        | LinkError::Unreadable(_) => SinkError::Unanswered(cause),
    }
}
