//! The store itself: one open database, shared by all who clone it.
//!
//! Knows how to begin a read and a write, and nothing of any entity: what can be read and written is in the file of
//! each entity. The server opens it; the control API and, through `KeySource`, the verifier call it.

use crate::database::{Connection, Database};
use crate::write::Write;
use crate::{StoreError, change_log, column};
use jiff::Timestamp;
use portcullis_verify::{Clock, Version};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::watch;

/// An open store. Clones share it.
///
/// Every call that changes something takes part in one queue of writers, commits with its entries in the change log,
/// and is durable when it returns. Other processes may have the same database open.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use portcullis_store::Store;
/// use portcullis_verify::Clock;
///
/// let folder = tempfile::tempdir()?;
/// let url = format!("sqlite://{}/portcullis.db", folder.path().display());
/// let store = Store::open(&url, Clock::system()).await?;
/// let deployment = store.ensure_first_deployment().await?;
/// assert_eq!(deployment.name, "default");
/// store.close().await;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct Store(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    database: Database,
    clock: Clock,
    committed: watch::Sender<u64>,
    /// This process has settled the history, and so answers for it.
    is_settled: AtomicBool,
}

impl Store {
    /// Opens the store at `url` (`sqlite://FILE`, or `postgres://USER:PASSWORD@HOST:PORT/DATABASE`), creates what is missing
    /// of it (a file or tables, not a database), and brings its schema up to date.
    ///
    /// `created_at` and its like come from `clock`, and so does the age of idempotency records.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] if the URL is not one; [`StoreError::Unavailable`] with the file's or server's name in its
    /// source otherwise, also when a newer version of Portcullis wrote it, and when the server is a standby. No error
    /// repeats the URL.
    pub async fn open(url: &str, clock: Clock) -> Result<Store, StoreError> {
        let database = Database::open(url).await?;
        let head = change_log::head(&mut database.reader().await?).await?;
        let committed = watch::Sender::new(head.revision);
        database.listen(committed.clone());
        Ok(Store(Arc::new(Shared {
            database,
            clock,
            committed,
            is_settled: AtomicBool::new(false),
        })))
    }

    /// Waits for running calls and closes the database. Later calls on any clone are [`StoreError::Unavailable`].
    pub async fn close(&self) {
        self.0.database.close().await;
    }

    /// The largest revision that this process knows to be committed. It wakes after each of its own commits, also after
    /// one whose outcome is unknown; for other processes' commits only where the database tells of them (PostgreSQL), and
    /// even there not for sure.
    #[must_use]
    pub fn committed(&self) -> watch::Receiver<u64> {
        self.0.committed.subscribe()
    }

    /// A connection that only reads.
    pub(crate) async fn reader(&self) -> Result<Connection, StoreError> {
        self.0.database.reader().await
    }

    /// Starts a mutation. Dropped before it is committed, it leaves nothing behind.
    pub(crate) async fn begin(&self) -> Result<Write, StoreError> {
        let mut write = self.begin_unsettled().await?;
        if self.0.database.may_move() {
            write.settle(None).await?;
        }
        Ok(write)
    }

    /// Starts a mutation, whatever became of the database since the last one.
    pub(crate) async fn begin_unsettled(&self) -> Result<Write, StoreError> {
        Ok(Write::new(
            self.0.database.begin_write().await?,
            self.clone(),
            self.now()?,
        ))
    }

    /// Starts a transaction that writes nothing to the change log. Dropped before it is committed, it leaves nothing behind.
    pub(crate) async fn begin_aside(&self) -> Result<Connection, StoreError> {
        self.0.database.begin_aside().await
    }

    /// Hears how far the log has come.
    pub(crate) fn note(&self, head: Version) {
        self.0.database.note(head);
    }

    /// Hears of a commit, or of one whose outcome is unknown, and wakes who waits for it.
    pub(crate) fn tell_committed(&self, revision: Option<u64>) {
        self.0
            .committed
            .send_modify(|last| *last = revision.unwrap_or(0).max(*last));
    }

    /// The database itself, for what is asked of it beside statements.
    pub(crate) fn database(&self) -> &Database {
        &self.0.database
    }

    /// Whether this process has settled the history.
    pub(crate) fn is_settled(&self) -> bool {
        self.0.is_settled.load(Ordering::Acquire)
    }

    /// From now on this process has.
    pub(crate) fn mark_settled(&self) {
        self.0.is_settled.store(true, Ordering::Release);
    }

    /// The time, as precisely as it is stored.
    pub(crate) fn now(&self) -> Result<Timestamp, StoreError> {
        column::timestamp(self.0.clock.now().wall_us)
    }
}
