//! One mutation: a write transaction that cannot be committed without its entries in the change log.
//!
//! Knows no entity. The revision is taken with the last statements of the transaction, from the one row that all
//! writers lock, so that commit order is revision order without gaps.

use crate::change_log::{self, Event};
use crate::database::Connection;
use crate::{Committed, StoreError};
use jiff::Timestamp;
use portcullis_verify::DeploymentId;
use tokio::sync::watch;

/// A mutation under way. Dropping it rolls it back.
#[must_use]
pub(crate) struct Write {
    transaction: Connection,
    at: Timestamp,
    committed: watch::Sender<u64>,
}

impl Write {
    /// One that began `at`.
    pub(crate) fn new(transaction: Connection, at: Timestamp, committed: watch::Sender<u64>) -> Write {
        Write {
            transaction,
            at,
            committed,
        }
    }

    /// Where to run its statements.
    pub(crate) fn connection(&mut self) -> &mut Connection {
        &mut self.transaction
    }

    /// Writes `events` to the change log, one revision each and in this order, and commits. The version answered is
    /// that of the last one.
    pub(crate) async fn commit<T>(
        mut self,
        deployment_id: DeploymentId,
        events: &[Event],
        value: T,
    ) -> Result<Committed<T>, StoreError> {
        let version = change_log::append(&mut self.transaction, deployment_id, events, self.at).await?;
        let Write {
            transaction, committed, ..
        } = self;
        // On a task of its own: a caller who hangs up now must not keep the tailer from hearing of the commit.
        let outcome = tokio::spawn(async move {
            let outcome = transaction.commit(version.revision).await;
            committed.send_modify(|last| {
                if outcome.is_ok() {
                    *last = version.revision.max(*last);
                }
            });
            outcome
        });
        outcome.await.map_err(StoreError::unavailable)??;
        Ok(Committed { value, version })
    }

    /// Commits what is no change of the data: where the log begins, and which history it is.
    pub(crate) async fn commit_unlogged(self) -> Result<(), StoreError> {
        self.transaction.commit_aside().await
    }
}
