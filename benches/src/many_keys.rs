//! Writes many keys into a SQLite store at once, past the control API, which would take minutes.
//!
//! Decides which columns are copied from the one key that must be there already; knows nothing of what the keys are for.

use anyhow::{Context, Result, ensure};
use portcullis_verify::KeyHash;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// Hashes in one statement.
const HASHES_AT_ONCE: usize = 500;

/// Which keys are written.
pub(crate) enum Keys<'a> {
    /// So many that nobody has the secrets of.
    Nobodys(u32),
    /// Those of these hashes.
    Of(&'a [KeyHash]),
}

/// Copies the first key of the store under new ids and hashes. Nobody may have the store open.
pub(crate) fn write(store: &Path, keys: &Keys<'_>) -> Result<()> {
    let mut child = Command::new("sqlite3")
        .arg("-bail")
        .arg(store)
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("sqlite3 must be installed")?;
    let mut stdin = child.stdin.take().context("standard input is piped")?;
    let written = stdin.write_all(sql(keys)?.as_bytes());
    drop(stdin);
    let done = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "sqlite3 failed: {said}");
    Ok(written?)
}

fn sql(keys: &Keys<'_>) -> Result<String> {
    let columns = "rotated_from, rotated_to, deployment_id, app_id, name, key_prefix, key_suffix, permissions, metadata, owner, \
                   owner_user_id, environment, scheme_id, expires_at_us, last_used_at_us, created_at_us, updated_at_us, \
                   revoked_at_us, revoked_reason";
    let mut sql = "BEGIN; CREATE TEMP TABLE more (i INTEGER PRIMARY KEY, hash BLOB);\n".to_owned();
    match keys {
        Keys::Nobodys(count) => writeln!(
            sql,
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) \
             INSERT INTO more SELECT i, randomblob(32) FROM n;"
        )?,
        Keys::Of(hashes) => {
            for some in hashes.chunks(HASHES_AT_ONCE) {
                sql.push_str("INSERT INTO more (hash) VALUES ");
                for (index, hash) in some.iter().enumerate() {
                    sql.push_str(if index == 0 { "(x'" } else { ",(x'" });
                    hash.0.iter().try_for_each(|byte| write!(sql, "{byte:02x}"))?;
                    sql.push_str("')");
                }
                sql.push_str(";\n");
            }
        }
    }
    writeln!(
        sql,
        "INSERT INTO keys (id, hash, lineage_id, {columns}) \
         SELECT last_id + i, more.hash, last_id + i, {columns} FROM more, id_head, (SELECT * FROM keys ORDER BY id LIMIT 1) AS first; \
         UPDATE id_head SET last_id = last_id + (SELECT count(*) FROM more); COMMIT;"
    )?;
    Ok(sql)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hash_is_named_once_in_statements_of_a_bounded_length() {
        let hashes: Vec<KeyHash> = (0..=255).cycle().take(1_100).map(|byte| KeyHash([byte; 32])).collect();
        let sql = sql(&Keys::Of(&hashes)).expect("it is written");
        assert_eq!(sql.matches("INSERT INTO more").count(), 3);
        assert_eq!(sql.matches("x'").count(), 1_100);
        assert!(sql.contains(&format!("(x'{}')", "07".repeat(32))));
    }
}
