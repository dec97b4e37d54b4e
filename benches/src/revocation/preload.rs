//! How long a gateway takes to hold every key, and how much memory each key takes it.
//!
//! The keys differ from real ones only in that nobody has their secrets.

use super::Effort;
use super::fleet::Fleet;
use super::latency::{make_key, until_admitted};
use crate::caller::Caller;
use crate::many_keys::{self, Keys};
use crate::process::{milliseconds, now_us, resident_bytes, until};
use anyhow::{Result, ensure};

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
    many_keys::write(&fleet.store(), &Keys::Nobodys(effort.keys))?;
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
