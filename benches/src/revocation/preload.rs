//! How long a gateway takes to hold every key, and how much memory each key takes it.
//!
//! The keys are written into the store by `sqlite3`, past the control API, which would take minutes; they differ from real ones only in
//! that nobody has their secrets.

use super::Effort;
use super::caller::Caller;
use super::fleet::{Fleet, milliseconds, now_us, resident_bytes, until};
use super::latency::{make_key, until_admitted};
use anyhow::{Context, Result, ensure};
use std::process::Command;

/// What was measured.
pub(crate) struct Preloaded {
    /// Keys that were held.
    pub(crate) keys: u32,
    /// From the process's start until it was ready, in seconds.
    pub(crate) seconds: f64,
    /// The same without those keys.
    pub(crate) seconds_empty: f64,
    /// Growth of the resident set by each key.
    pub(crate) bytes_per_key: f64,
}

/// Measures it.
pub(crate) async fn measure(effort: Effort) -> Result<Preloaded> {
    let mut fleet = Fleet::start().await?;
    let key = make_key(&mut fleet.api()).await?;
    let (seconds_empty, bytes_empty) = ready(&mut fleet).await?;
    fleet.stop_last_gateway();

    fleet.stop_control();
    fill(&fleet, effort.keys)?;
    fleet.start_control().await?;
    let (seconds, bytes) = ready(&mut fleet).await?;
    ensure!(bytes > bytes_empty, "no key took any memory");
    // What it holds it knows without asking.
    fleet.stop_control();
    let proxy = fleet.last_proxy()?;
    until_admitted(proxy, &key.secret).await?;
    Ok(Preloaded {
        keys: effort.keys,
        seconds,
        seconds_empty,
        bytes_per_key: (bytes - bytes_empty) / f64::from(effort.keys),
    })
}

/// Seconds until a new gateway that holds all keys is ready, and its resident set then.
async fn ready(fleet: &mut Fleet) -> Result<(f64, f64)> {
    let begun = now_us();
    let (_, admin) = fleet.start_gateway(true).await?;
    let mut caller = Caller::new(admin, "none");
    until("a gateway holds every key", async || {
        Ok((caller.status("/readyz").await? == 200).then_some(()))
    })
    .await?;
    let seconds = milliseconds(begun, now_us()) / 1e3;
    Ok((seconds, resident_bytes(fleet.last_gateway_pid()?)?))
}

/// Copies the one key that is there, under new ids and hashes.
fn fill(fleet: &Fleet, keys: u32) -> Result<()> {
    let columns = "rotated_from, rotated_to, deployment_id, app_id, name, key_prefix, key_suffix, permissions, metadata, owner, \
                   owner_user_id, environment, scheme_id, expires_at_us, last_used_at_us, created_at_us, updated_at_us, \
                   revoked_at_us, revoked_reason";
    let sql = format!(
        "BEGIN; WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {keys}) \
         INSERT INTO keys (id, hash, lineage_id, {columns}) \
         SELECT last_id + i, randomblob(32), last_id + i, {columns} FROM n, id_head, (SELECT * FROM keys LIMIT 1) AS first; \
         UPDATE id_head SET last_id = last_id + {keys}; COMMIT;"
    );
    let done = Command::new("sqlite3")
        .arg("-bail")
        .arg(fleet.store())
        .arg(sql)
        .output();
    let done = done.context("sqlite3 must be installed")?;
    let said = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "sqlite3 failed: {said}");
    Ok(())
}
