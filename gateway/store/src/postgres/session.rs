//! One lent connection: runs statements with a bound on each, and knows whether it can be lent again.
//!
//! A connection on which a call failed half-way, timed out or was abandoned is closed, never reused. Only
//! [`crate::database`] and the files beside this one call it.

use super::pool::Pool;
use super::server::{ANSWER_WAIT, Connected, WAIT};
use crate::StoreError;
use crate::sql::{self, Row, Value};
use sqlx::postgres::{PgArguments, PgConnection, PgDatabaseError, PgRow, PgSeverity};
use sqlx::{AssertSqlSafe, SqlSafeStr as _, SqlStr};
use std::io;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

/// The channel on which commits are told.
pub(super) const CHANNEL: &str = "portcullis_committed";

/// A connection in use.
pub(crate) struct Session {
    /// `None` only on the way out.
    lent: Option<(Connected, OwnedSemaphorePermit)>,
    pool: Pool,
    /// It was used before, and not yet since it was lent: it may have died meanwhile.
    is_untried: bool,
    /// Nothing is under way on it.
    is_quiet: bool,
    /// A write transaction is open on it.
    is_writing: bool,
}

impl Session {
    /// One that has just connected.
    pub(super) fn new(connected: Connected, pool: Pool, place: OwnedSemaphorePermit) -> Session {
        Session {
            lent: Some((connected, place)),
            pool,
            is_untried: false,
            is_quiet: true,
            is_writing: false,
        }
    }

    /// One that was used before.
    pub(super) fn reused(connected: Connected, pool: Pool, place: OwnedSemaphorePermit) -> Session {
        let mut session = Session::new(connected, pool, place);
        session.is_untried = true;
        session
    }

    /// Opens a write transaction with `text`.
    pub(super) async fn begin(&mut self, text: &'static str) -> Result<(), StoreError> {
        self.is_writing = true;
        self.call(Call::Simple(text.into_sql_str())).await?;
        Ok(())
    }

    /// Commits the write transaction and, if it took a revision, tells every process that listens.
    pub(crate) async fn commit(mut self, revision: Option<u64>) -> Result<(), StoreError> {
        // If the first statement fails, the second is not run: a transaction that failed is not taken for committed.
        let text = match revision {
            Some(revision) => {
                AssertSqlSafe(format!("SELECT pg_notify('{CHANNEL}', '{revision}'); COMMIT")).into_sql_str()
            }
            None => "SELECT 1; COMMIT".into_sql_str(),
        };
        self.call(Call::Simple(text)).await?;
        self.is_writing = false;
        Ok(())
    }

    pub(crate) async fn execute(&mut self, text: SqlStr, values: &[Value]) -> Result<u64, sqlx::Error> {
        Ok(self.call(Call::Execute(text, values)).await?.rows_written)
    }

    pub(crate) async fn fetch_all(&mut self, text: SqlStr, values: &[Value]) -> Result<Vec<Row>, sqlx::Error> {
        let rows = self.call(Call::Fetch(text, values)).await?.rows;
        Ok(rows.into_iter().map(Row::Postgres).collect())
    }

    /// Runs a call within [`ANSWER_WAIT`]. What finds its connection dead before it was used once runs again on a new
    /// one: nothing can have come of it.
    async fn call(&mut self, call: Call<'_>) -> Result<Answer, sqlx::Error> {
        let was_untried = std::mem::take(&mut self.is_untried);
        let outcome = self.attempt(&call).await;
        let is_silent = matches!(&outcome, Err(sqlx::Error::Io(error)) if error.kind() == io::ErrorKind::TimedOut);
        let is_dead = matches!(&outcome, Err(error) if matches!(error, sqlx::Error::Io(_)) || was_ended(error));
        if is_dead {
            self.pool.note_loss();
        }
        if is_dead && was_untried && !is_silent && self.connect_again().await? {
            return self.attempt(&call).await;
        }
        outcome
    }

    async fn connect_again(&mut self) -> Result<bool, sqlx::Error> {
        let Some((connected, _)) = &mut self.lent else {
            return Ok(false);
        };
        *connected = self.pool.connect().await.map_err(|error| match error {
            StoreError::Unavailable(cause) => io::Error::other(cause),
            error => io::Error::other(error),
        })?;
        Ok(true)
    }

    async fn attempt(&mut self, call: &Call<'_>) -> Result<Answer, sqlx::Error> {
        let Some((connected, _)) = &mut self.lent else {
            return Err(io::Error::from(io::ErrorKind::NotConnected).into());
        };
        self.is_quiet = false;
        let outcome = match timeout(ANSWER_WAIT, call.run(&mut connected.connection)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the server does not answer").into()),
        };
        self.is_quiet = match &outcome {
            Ok(_) => true,
            Err(error) => matches!(error, sqlx::Error::Database(_)) && !was_ended(error),
        };
        outcome
    }
}

/// What a session is asked to run.
enum Call<'c> {
    /// Statements without values, in one message.
    Simple(SqlStr),
    /// A prepared statement, for what it writes.
    Execute(SqlStr, &'c [Value]),
    /// A prepared statement, for its rows.
    Fetch(SqlStr, &'c [Value]),
}

/// What came of it.
#[derive(Default)]
struct Answer {
    rows: Vec<PgRow>,
    rows_written: u64,
}

impl Call<'_> {
    async fn run(&self, connection: &mut PgConnection) -> Result<Answer, sqlx::Error> {
        let mut answer = Answer::default();
        match self {
            Call::Simple(text) => {
                sqlx::raw_sql(text.clone()).execute(connection).await?;
            }
            Call::Execute(text, values) => {
                let query = sqlx::query_with(text.clone(), sql::arguments::<PgArguments>(values)?);
                answer.rows_written = query.execute(connection).await?.rows_affected();
            }
            Call::Fetch(text, values) => {
                let query = sqlx::query_with(text.clone(), sql::arguments::<PgArguments>(values)?);
                answer.rows = query.fetch_all(connection).await?;
            }
        }
        Ok(answer)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let Some((mut connected, place)) = self.lent.take() else {
            return;
        };
        let pool = self.pool.clone();
        if !self.is_quiet {
            // Dropped, the socket closes, and the server rolls back.
            return;
        }
        if !self.is_writing {
            return pool.give_back(connected, place);
        }
        // The next writer waits until this is through, or else would find the lock taken.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let rollback = sqlx::raw_sql("ROLLBACK").execute(&mut connected.connection);
                if let Ok(Ok(_)) = timeout(WAIT, rollback).await {
                    pool.give_back(connected, place);
                }
            });
        }
    }
}

/// Whether the server ended the connection with this error, as it does when it is shut down; after others it goes on.
fn was_ended(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(error) = error else {
        return false;
    };
    error
        .try_downcast_ref::<PgDatabaseError>()
        .is_none_or(|error| matches!(error.severity(), PgSeverity::Fatal | PgSeverity::Panic))
}
