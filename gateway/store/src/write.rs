//! One mutation: a write transaction that cannot be committed without its entries in the change log.
//!
//! Knows no entity. The revision is taken with the last statements of the transaction, from the one row that all
//! writers lock, so that commit order is revision order without gaps.

use crate::change_log::{self, Event};
use crate::database::Connection;
use crate::history::{self, Renewal};
use crate::{Committed, Store, StoreError};
use jiff::Timestamp;
use portcullis_verify::{DeploymentId, Version};

/// A mutation under way. Dropping it rolls it back.
#[must_use]
pub(crate) struct Write {
    transaction: Connection,
    store: Store,
    at: Timestamp,
    /// The history began anew with it, if it is committed.
    renewal: Option<Renewal>,
}

impl Write {
    /// One that began `at`.
    pub(crate) fn new(transaction: Connection, store: Store, at: Timestamp) -> Write {
        Write {
            transaction,
            store,
            at,
            renewal: None,
        }
    }

    /// Where to run its statements.
    pub(crate) fn connection(&mut self) -> &mut Connection {
        &mut self.transaction
    }

    /// Begins a new history with this mutation if the database is not the one that was written last, or lacks what was `seen`.
    pub(crate) async fn settle(&mut self, seen: Option<Version>) -> Result<(), StoreError> {
        self.renewal = history::renew_if_moved(self.store.database(), &mut self.transaction, seen).await?;
        Ok(())
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
        // On a task of its own: a caller who hangs up now must not keep the tailer from hearing of the commit.
        let outcome = tokio::spawn(async move {
            let outcome = self.transaction.commit(version.revision).await;
            if outcome.is_ok() {
                self.store.note(version);
                history::tell(self.renewal);
            }
            self.store.tell_committed(outcome.is_ok().then_some(version.revision));
            outcome
        });
        outcome.await.map_err(StoreError::unavailable)??;
        Ok(Committed { value, version })
    }

    /// Commits what is no change of the data: where the log begins, and which history it is. Answers which, if it is a new one.
    pub(crate) async fn commit_unlogged(self) -> Result<Option<Renewal>, StoreError> {
        self.transaction.commit_aside().await?;
        history::tell(self.renewal);
        if self.renewal.is_some() {
            self.store.tell_committed(None);
        }
        Ok(self.renewal)
    }
}
