//! What is particular to PostgreSQL: the server, its sessions, its locks, its migrations.
//!
//! Knows no entity. Writers of all processes queue for one row, so that ids and revisions rise in commit order, as they
//! do in one SQLite file. Only [`crate::database`] calls this.

pub(crate) mod home;
mod listener;
mod pool;
mod schema;
mod server;
mod session;

pub(crate) use server::is_url;
pub(crate) use session::Session;

use crate::StoreError;
use listener::Listener;
use pool::Pool;
use server::Server;
use std::sync::{Arc, OnceLock};
use tokio::sync::watch;

/// How many statements of one process may read at the same time.
const READERS: u32 = 8;
/// Begins a write and takes the lock for which all writers queue. Each later statement sees what was committed before
/// the lock was had.
const BEGIN_WRITE: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SELECT 1 FROM log_head FOR UPDATE";
/// Begins a transaction that takes no revision, and takes the lock for which all such queue, lest two of them that touch the same
/// rows in another order shut each other out. The number is "portcull" in ASCII plus 1.
const BEGIN_ASIDE: &str =
    "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SELECT pg_advisory_xact_lock(8101827606990679149)";

/// A server's database. One process holds at most eleven connections to it.
#[derive(Debug)]
pub(crate) struct Database {
    server: Arc<Server>,
    /// One connection: writers of this process queue here, in order of arrival, instead of on the server's lock.
    writer: Pool,
    /// One connection, so that nobody who changes something waits behind a batch of counts.
    aside: Pool,
    readers: Pool,
    listener: OnceLock<Listener>,
}

impl Database {
    /// Connects to the server of `postgres://…` and brings the schema up to date.
    pub(crate) async fn open(url: &str) -> Result<Database, StoreError> {
        let server = Arc::new(Server::of_url(url)?);
        schema::migrate(&server).await?;
        Ok(Database {
            writer: Pool::new(Arc::clone(&server), 1),
            aside: Pool::new(Arc::clone(&server), 1),
            readers: Pool::new(Arc::clone(&server), READERS),
            server,
            listener: OnceLock::new(),
        })
    }

    /// Raises `committed` to what any process commits, until this is dropped.
    pub(crate) fn listen(&self, committed: watch::Sender<u64>) {
        self.listener
            .get_or_init(|| Listener::start(Arc::clone(&self.server), committed));
    }

    /// Starts a write transaction, which holds the one lock of all writers from here on.
    pub(crate) async fn begin_write(&self) -> Result<Session, StoreError> {
        let mut session = self.writer.acquire().await?;
        session.begin(BEGIN_WRITE).await?;
        Ok(session)
    }

    /// Starts a transaction for what is no part of the change log.
    pub(crate) async fn begin_aside(&self) -> Result<Session, StoreError> {
        let mut session = self.aside.acquire().await?;
        session.begin(BEGIN_ASIDE).await?;
        Ok(session)
    }

    /// A connection that sees everything committed before its next statement.
    pub(crate) async fn reader(&self) -> Result<Session, StoreError> {
        self.readers.acquire().await
    }

    /// Waits for running calls and disconnects.
    pub(crate) async fn close(&self) {
        if let Some(listener) = self.listener.get() {
            listener.stop();
        }
        self.writer.close().await;
        self.aside.close().await;
        self.readers.close().await;
    }
}
