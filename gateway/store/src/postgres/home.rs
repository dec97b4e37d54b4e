//! Where a PostgreSQL database is at home: the cluster, its timeline, the database, and the very table.
//!
//! A base backup that is rolled forward to a point in time and a standby that is promoted begin a new timeline; what is dumped and
//! loaded, or filled again, has other object numbers. A crash changes none of them. Asked by [`crate::database`].

use crate::StoreError;
use crate::database::Connection;
use crate::sql::sql;

/// Says where the database is, beside where it was when its history was last settled.
const HOMES: &str = "SELECT head.home, concat_ws('/', control.system_identifier,
                        substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8),
                        (SELECT oid FROM pg_database WHERE datname = current_database()),
                        'log_head'::regclass::oid, pg_relation_filenode('log_head')) AS here
     FROM log_head AS head, pg_control_system() AS control";

/// Why the database is not the one that was last settled; `None` if it is.
pub(crate) async fn why_moved(connection: &mut Connection) -> Result<Option<&'static str>, StoreError> {
    let row = sql(HOMES).fetch_one(connection).await?;
    let (home, here): (Option<String>, String) = (row.try_get("home")?, row.try_get("here")?);
    Ok(match home {
        None => Some("there is no note of where this database was"),
        Some(home) if home != here => Some("this is another server, timeline, database or table than the last"),
        Some(_) => None,
    })
}

/// Notes where the database is, as a part of the caller's transaction.
pub(crate) async fn settle(connection: &mut Connection) -> Result<(), StoreError> {
    let row = sql(HOMES).fetch_one(connection).await?;
    let here: String = row.try_get("here")?;
    sql("UPDATE log_head SET home = $1")
        .bind(here)
        .execute(connection)
        .await?;
    Ok(())
}
