//! One step of a schema, as sqlx's migrator wants it.
//!
//! Knows no database; each of them lists its own steps. A step that was released is never edited: databases remember
//! its checksum.

use sqlx::SqlSafeStr as _;
use sqlx::migrate::{Migration, MigrationType};

/// A step that is taken once.
pub(crate) fn migration(version: i64, description: &'static str, sql: &'static str) -> Migration {
    Migration::new(
        version,
        description.into(),
        MigrationType::Simple,
        sql.into_sql_str(),
        false,
    )
}
