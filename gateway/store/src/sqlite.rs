//! What is particular to SQLite: the file, its pragmas, its locks, its migrations.
//!
//! Knows no entity. Durability: WAL with `synchronous = FULL` syncs the log on every commit, so that what was answered
//! survives `kill -9` and power loss alike. Only [`crate::database`] calls this.

mod history_file;

use crate::StoreError;
use crate::migration::migration;
use crate::sql::{self, Row, Value};
use history_file::HistoryFile;
use portcullis_verify::Version;
use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection as _, SqlStr, Sqlite, SqliteConnection, SqlitePool};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a statement waits for another process's lock, and a call for a free connection.
const WAIT: Duration = Duration::from_secs(5);
/// The pause between attempts to switch a new file to WAL, a lock for which SQLite itself does not wait.
const OPEN_PAUSE: Duration = Duration::from_millis(20);
const OPEN_ATTEMPTS: u32 = 250;
/// The write-ahead log is cut back to this after a checkpoint.
const WAL_BYTES_MAX: &str = "67108864";
/// Page cache per connection, in KiB (negative, as the pragma wants it).
const CACHE_KIB: &str = "-16384";

/// An open database.
#[derive(Debug)]
pub(crate) struct Database {
    /// One connection: writers queue here, in order of arrival, instead of on the file's lock.
    writer: SqlitePool,
    readers: SqlitePool,
    history: HistoryFile,
}

impl Database {
    /// Opens the file of `sqlite://FILE`, creates it if it is missing, and brings its schema up to date.
    pub(crate) async fn open(url: &str) -> Result<Database, StoreError> {
        let path = path_of(url)?;
        create_private(&path).map_err(|error| in_file(&path, error))?;
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .foreign_keys(true)
            .synchronous(SqliteSynchronous::Full)
            // Without effect except on macOS, where a plain fsync stops at the drive's cache.
            .pragma("fullfsync", "ON")
            .pragma("checkpoint_fullfsync", "ON")
            .pragma("journal_size_limit", WAL_BYTES_MAX)
            .pragma("cache_size", CACHE_KIB)
            .busy_timeout(WAIT);
        let pool = || {
            SqlitePoolOptions::new()
                .acquire_timeout(WAIT)
                .idle_timeout(None)
                .max_lifetime(None)
                // A file does not hang up; a ping per call would only cost.
                .test_before_acquire(false)
        };

        let mut attempts = 1;
        let writer = loop {
            let opened = pool()
                .max_connections(1)
                .connect_with(options.clone().journal_mode(SqliteJournalMode::Wal));
            match opened.await {
                Err(error) if is_busy(&error) && attempts < OPEN_ATTEMPTS => {
                    attempts += 1;
                    tokio::time::sleep(OPEN_PAUSE).await;
                }
                opened => break opened.map_err(|error| in_file(&path, error))?,
            }
        };
        migrate(&writer).await.map_err(|error| in_file(&path, error))?;

        let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        let readers = pool()
            .max_connections(u32::try_from(cores).unwrap_or(u32::MAX).clamp(2, 8))
            .connect_with(options.pragma("query_only", "ON"))
            .await
            .map_err(|error| in_file(&path, error))?;
        let history = HistoryFile::beside(&path);
        history.open().map_err(|error| in_file(history.path(), error))?;
        Ok(Database {
            writer,
            readers,
            history,
        })
    }

    /// Why this file, whose log stands at `head`, is not the one that was last written here; `None` if it is. Asked and answered
    /// under the write lock.
    pub(crate) fn why_moved(&self, head: Version) -> Result<Option<&'static str>, StoreError> {
        self.history
            .why_moved(head)
            .map_err(|error| in_file(self.history.path(), error))
    }

    /// Notes that this history is at home here; under the write lock, too.
    pub(crate) fn settle(&self, head: Version) -> Result<(), StoreError> {
        self.history
            .settle(head)
            .map_err(|error| in_file(self.history.path(), error))
    }

    /// Notes how far the log came, so that a copy that came less far can be told.
    pub(crate) fn note(&self, head: Version) {
        if let Err(error) = self.history.note(head) {
            tracing::debug!(%error, "it cannot be noted how far the change log came");
        }
    }

    /// Starts a write transaction, which holds the file's write lock from here on: it never has to give up half-way
    /// because another one came first.
    pub(crate) async fn begin_write(&self) -> Result<Session, StoreError> {
        Ok(Session::Writer(self.writer.begin_with("BEGIN IMMEDIATE").await?))
    }

    /// A connection that sees everything committed before its next statement.
    pub(crate) async fn reader(&self) -> Result<Session, StoreError> {
        Ok(Session::Reader(self.readers.acquire().await?))
    }

    /// Waits for running calls and closes the file.
    pub(crate) async fn close(&self) {
        self.writer.close().await;
        self.readers.close().await;
    }
}

/// A connection in use.
pub(crate) enum Session {
    /// One that only reads.
    Reader(sqlx::pool::PoolConnection<Sqlite>),
    /// A write transaction that owns its connection.
    Writer(sqlx::Transaction<'static, Sqlite>),
}

impl Session {
    /// Commits what was written.
    pub(crate) async fn commit(self) -> Result<(), StoreError> {
        match self {
            Session::Reader(_) => Ok(()),
            Session::Writer(transaction) => Ok(transaction.commit().await?),
        }
    }

    pub(crate) async fn execute(&mut self, text: SqlStr, values: &[Value]) -> Result<u64, sqlx::Error> {
        let arguments: SqliteArguments = sql::arguments(values)?;
        let done = sqlx::query_with(text, arguments).execute(self.raw()).await?;
        Ok(done.rows_affected())
    }

    pub(crate) async fn fetch_all(&mut self, text: SqlStr, values: &[Value]) -> Result<Vec<Row>, sqlx::Error> {
        let arguments: SqliteArguments = sql::arguments(values)?;
        let rows = sqlx::query_with(text, arguments).fetch_all(self.raw()).await?;
        Ok(rows.into_iter().map(Row::Sqlite).collect())
    }

    fn raw(&mut self) -> &mut SqliteConnection {
        match self {
            Session::Reader(connection) => connection,
            Session::Writer(transaction) => transaction,
        }
    }
}

fn path_of(url: &str) -> Result<PathBuf, StoreError> {
    let path = url.strip_prefix("sqlite://").ok_or_else(|| {
        StoreError::invalid(format!(
            "`{}…` is not a store: it must be sqlite://FILE or postgres://USER:PASSWORD@HOST:PORT/DATABASE",
            scheme_of(url)
        ))
    })?;
    if path.contains('?') {
        return Err(StoreError::invalid(
            "the store's URL takes no parameters: it must be sqlite://FILE",
        ));
    }
    if path.is_empty() || path.starts_with(':') || path.starts_with("file:") {
        return Err(StoreError::invalid(
            "the store must be a file, or it would lose what it answered: sqlite://FILE",
        ));
    }
    Ok(PathBuf::from(path))
}

/// As much of a URL as can be repeated: what follows may hold a password.
fn scheme_of(url: &str) -> &str {
    url.split_once(':').map_or("", |(scheme, _)| scheme)
}

/// Creates the file if it is missing, readable by its owner only: it holds hashes and metadata. SQLite gives the files
/// it puts beside it the same mode.
fn create_private(path: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}

fn in_file(path: &Path, error: impl std::fmt::Display) -> StoreError {
    StoreError::unavailable(format!("{}: {error}", path.display()))
}

/// SQLITE_BUSY and its extended codes have 5 in their low byte.
fn is_busy(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .and_then(|error| error.code())
        .and_then(|code| code.parse::<i32>().ok())
        .is_some_and(|code| code & 0xff == 5)
}

/// Applies what is missing in one transaction under the write lock, so that of two processes that start together one
/// waits and then finds nothing to do.
async fn migrate(writer: &SqlitePool) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let migrator = Migrator::with_migrations(vec![
        migration(1, "initial", include_str!("../migrations/sqlite/0001_initial.sql")),
        migration(
            2,
            "two planes",
            include_str!("../migrations/sqlite/0002_two_planes.sql"),
        ),
    ]);
    let mut connection = writer.acquire().await?;
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    // `run` does the same, but its future cannot move between threads; see the comment on `run_direct` in sqlx.
    migrator.run_direct(None, &mut *transaction, false).await?;
    transaction.commit().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What durability and integrity rest on; every connection has its own pragmas.
    #[tokio::test]
    async fn connections_are_durable_checked_and_split() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&format!("sqlite://{}/store.db", folder.path().display()))
            .await
            .unwrap();
        let mut writer = database.begin_write().await.unwrap();
        let mut reader = database.reader().await.unwrap();
        for connection in [writer.raw(), reader.raw()] {
            let journal: String = sqlx::query_scalar("PRAGMA journal_mode")
                .fetch_one(&mut *connection)
                .await
                .unwrap();
            let synchronous: i64 = sqlx::query_scalar("PRAGMA synchronous")
                .fetch_one(&mut *connection)
                .await
                .unwrap();
            let foreign_keys: i64 = sqlx::query_scalar("PRAGMA foreign_keys")
                .fetch_one(&mut *connection)
                .await
                .unwrap();
            assert_eq!((journal.as_str(), synchronous, foreign_keys), ("wal", 2, 1));
        }
        let refusal = sqlx::query("DELETE FROM deployments")
            .execute(reader.raw())
            .await
            .unwrap_err();
        assert!(refusal.to_string().contains("readonly"), "{refusal}");
    }
}
