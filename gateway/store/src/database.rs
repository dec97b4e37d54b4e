//! The open database, whichever it is: begins reads and writes, and hands statements to the one that runs them.
//!
//! Knows no entity and no SQL. [`crate::Store`] opens it, [`crate::sql`] runs statements on its connections, and what
//! is particular to one database is in the file of that name.

use crate::sql::{Row, Value};
use crate::{StoreError, postgres, sqlite};
use portcullis_verify::Version;
use sqlx::SqlStr;
use tokio::sync::watch;

/// An open database.
#[derive(Debug)]
pub(crate) enum Database {
    Sqlite(sqlite::Database),
    Postgres(postgres::Database),
}

impl Database {
    /// Opens the store at `url`, creates what is missing, and brings its schema up to date.
    pub(crate) async fn open(url: &str) -> Result<Database, StoreError> {
        if postgres::is_url(url) {
            postgres::Database::open(url).await.map(Database::Postgres)
        } else {
            sqlite::Database::open(url).await.map(Database::Sqlite)
        }
    }

    /// Has `committed` raised when another process commits, where the database can tell.
    pub(crate) fn listen(&self, committed: watch::Sender<u64>) {
        match self {
            Database::Sqlite(_) => {}
            Database::Postgres(database) => database.listen(committed),
        }
    }

    /// Starts a write transaction. From here on no other one in any process makes progress, so that it never has to
    /// give up half-way because another one came first. Dropped, it is rolled back.
    pub(crate) async fn begin_write(&self) -> Result<Connection, StoreError> {
        match self {
            Database::Sqlite(database) => database.begin_write().await.map(Connection::Sqlite),
            Database::Postgres(database) => database.begin_write().await.map(Connection::Postgres),
        }
    }

    /// Starts a transaction for what is no part of the change log. Such transactions wait for each other; where the database can do
    /// it, no write waits for one. Dropped, it is rolled back.
    pub(crate) async fn begin_aside(&self) -> Result<Connection, StoreError> {
        match self {
            Database::Sqlite(database) => database.begin_write().await.map(Connection::Sqlite),
            Database::Postgres(database) => database.begin_aside().await.map(Connection::Postgres),
        }
    }

    /// A connection that sees everything committed before its next statement.
    pub(crate) async fn reader(&self) -> Result<Connection, StoreError> {
        match self {
            Database::Sqlite(database) => database.reader().await.map(Connection::Sqlite),
            Database::Postgres(database) => database.reader().await.map(Connection::Postgres),
        }
    }

    /// Why this is not the history that was last written here, at `head` of which a write transaction stands; `None` if it is.
    pub(crate) async fn why_moved(
        &self,
        transaction: &mut Connection,
        head: Version,
    ) -> Result<Option<&'static str>, StoreError> {
        match self {
            Database::Sqlite(database) => database.why_moved(head),
            Database::Postgres(_) => postgres::home::why_moved(transaction).await,
        }
    }

    /// Notes, with the transaction or before it, that the history at `head` is at home here.
    pub(crate) async fn settle(&self, transaction: &mut Connection, head: Version) -> Result<(), StoreError> {
        match self {
            Database::Sqlite(database) => database.settle(head),
            Database::Postgres(_) => postgres::home::settle(transaction).await,
        }
    }

    /// Hears how far the log has come, as often as that is known.
    pub(crate) fn note(&self, head: Version) {
        match self {
            Database::Sqlite(database) => database.note(head),
            Database::Postgres(_) => {}
        }
    }

    /// Whether the database can be another one from one call to the next, behind the same address.
    pub(crate) fn may_move(&self) -> bool {
        matches!(self, Database::Postgres(_))
    }

    /// Waits for running calls and closes the database.
    pub(crate) async fn close(&self) {
        match self {
            Database::Sqlite(database) => database.close().await,
            Database::Postgres(database) => database.close().await,
        }
    }
}

/// A connection, or a write transaction that owns its connection.
pub(crate) enum Connection {
    Sqlite(sqlite::Session),
    Postgres(postgres::Session),
}

impl Connection {
    /// Commits a write transaction; `revision` is the last one it wrote. After an error the outcome is unknown.
    pub(crate) async fn commit(self, revision: u64) -> Result<(), StoreError> {
        match self {
            Connection::Sqlite(session) => session.commit().await,
            Connection::Postgres(session) => session.commit(Some(revision)).await,
        }
    }

    /// Commits a transaction that wrote nothing to the change log. After an error the outcome is unknown.
    pub(crate) async fn commit_aside(self) -> Result<(), StoreError> {
        match self {
            Connection::Sqlite(session) => session.commit().await,
            Connection::Postgres(session) => session.commit(None).await,
        }
    }

    pub(crate) async fn execute(&mut self, text: SqlStr, values: &[Value]) -> Result<u64, sqlx::Error> {
        match self {
            Connection::Sqlite(session) => session.execute(text, values).await,
            Connection::Postgres(session) => session.execute(text, values).await,
        }
    }

    pub(crate) async fn fetch_all(&mut self, text: SqlStr, values: &[Value]) -> Result<Vec<Row>, sqlx::Error> {
        match self {
            Connection::Sqlite(session) => session.fetch_all(text, values).await,
            Connection::Postgres(session) => session.fetch_all(text, values).await,
        }
    }
}
