//! The schema of a PostgreSQL database, brought up to date.
//!
//! One transaction under an advisory lock, so that of several processes that start together one works and the others
//! find nothing to do. Called once by each opening of a store.

use super::server::Server;
use crate::StoreError;
use crate::migration::migration;
use sqlx::Connection as _;
use sqlx::migrate::Migrator;

/// Held while a process migrates; the number is "portcull" in ASCII.
const LOCK: &str = "SELECT pg_advisory_xact_lock(8101827606990679148)";
/// A large table takes its time, and so may another process that is migrating.
const PATIENCE: &str = "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = '60s'";

/// Applies what is missing.
pub(super) async fn migrate(server: &Server) -> Result<(), StoreError> {
    let mut migrator = Migrator::with_migrations(vec![
        migration(1, "initial", include_str!("../../migrations/postgres/0001_initial.sql")),
        migration(
            2,
            "two planes",
            include_str!("../../migrations/postgres/0002_two_planes.sql"),
        ),
    ]);
    migrator.set_locking(false);
    let mut connection = server.connect().await?.connection;
    let mut transaction = connection.begin().await?;
    for statement in [PATIENCE, LOCK] {
        sqlx::raw_sql(statement)
            .execute(&mut *transaction)
            .await
            .map_err(|error| server.lost(error))?;
    }
    // `run` does the same, but its future cannot move between threads; see the comment on `run_direct` in sqlx.
    migrator
        .run_direct(None, &mut *transaction, false)
        .await
        .map_err(|error| server.lost(error))?;
    transaction.commit().await?;
    // A polite goodbye only; what was committed is committed.
    drop(connection.close().await);
    Ok(())
}
