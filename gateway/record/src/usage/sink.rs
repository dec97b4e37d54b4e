//! Where reports of usage go.
//!
//! Says what a sink promises and how it may fail; decides nothing. [`super::reporter`] sends; the store takes them in the process that
//! has one, the control API takes them from a gateway.

use super::UsageBatch;
use async_trait::async_trait;

/// Records batches, each id once.
#[async_trait]
pub trait UsageSink: Send + Sync {
    /// Records a batch, durably when it returns `Ok`; a batch with an id that was recorded before is `Ok` and changes nothing.
    ///
    /// A sender that was not answered sends the same batch again: a sink remembers an id for longer than
    /// [`super::RESEND_TIME_MAX`].
    async fn send(&self, batch: &UsageBatch) -> Result<(), SinkError>;
}

/// Why a batch was not recorded, as far as is known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SinkError {
    /// It may have been recorded or not. To be sent again.
    #[error("{0}")]
    Unanswered(String),
    /// It was not recorded: the sink does not take what the batch says. Given up when that is said again and again.
    #[error("{0}")]
    Refused(String),
}
