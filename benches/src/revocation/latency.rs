//! From the control API's answer to a revocation until each gateway refuses the key; and how long a revocation takes that waits for
//! all of them.
//!
//! Every gateway is asked with the key over a connection of its own, two milliseconds after its last answer; what is measured is
//! therefore up to so much too long.

use super::Effort;
use super::fleet::{APP, Fleet};
use super::quantiles::Latencies;
use crate::caller::Caller;
use crate::process::{milliseconds, now_us, until};
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Between two requests with one key to one gateway.
const ASK_EVERY: Duration = Duration::from_millis(2);
/// Requests are sent for so long before the key is revoked.
const BEFORE: Duration = Duration::from_millis(20);
/// Between two revocations.
const BETWEEN: Duration = Duration::from_millis(30);

/// What was measured with one load.
pub(crate) struct Revocations {
    /// To the first refusal, for each gateway and revocation.
    pub(crate) each: Latencies,
    /// To the first refusal of the last gateway, for each revocation.
    pub(crate) last: Latencies,
    /// How long after the answer the last request was sent that was still let through; those sent before it left out.
    pub(crate) exposed: Latencies,
    /// Of the revocation's call.
    pub(crate) call: Latencies,
    /// Of the call that waits for the fleet.
    pub(crate) fleet_call: Latencies,
    /// Requests per second that the load came to.
    pub(crate) load_per_second: f64,
}

/// Measures with a load of so many requests per second over all gateways.
pub(crate) async fn measure(effort: Effort, load_per_second: u32) -> Result<Revocations> {
    let mut fleet = Fleet::start().await?;
    let mut proxies = Vec::new();
    for _ in 0..effort.gateways {
        proxies.push(fleet.start_gateway(false).await?.0);
    }
    let mut api = fleet.api();
    let stop = CancellationToken::new();
    let served = Arc::new(AtomicU64::new(0));
    let key = make_key(&mut api).await?;
    for &proxy in &proxies {
        until_admitted(proxy, &key.secret).await?;
    }
    let begun = now_us();
    let load = start_load(&proxies, &key.secret, load_per_second, &served, &stop);

    let (mut each, mut last, mut exposed, mut call) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..effort.revocations {
        let one = revoke(&mut api, &proxies).await?;
        call.push(milliseconds(one.sent_us, one.answered_us));
        let to_refusal = |refused_us: &u64| milliseconds(one.answered_us, *refused_us);
        each.extend(one.refused_us.iter().map(to_refusal));
        last.extend(one.refused_us.iter().max().map(to_refusal));
        exposed.push(milliseconds(one.answered_us, one.admitted_last_us));
        tokio::time::sleep(BETWEEN).await;
    }
    let mut fleet_call = Vec::new();
    for _ in 0..effort.revocations {
        let key = make_key(&mut api).await?;
        let sent = now_us();
        let answer = api
            .must(&format!("{}?wait=fleet", key.revoke_path()), &json!({}))
            .await?;
        fleet_call.push(milliseconds(sent, now_us()));
        if answer["enforced"] != json!(effort.gateways) {
            bail!("not all gateways enforce it: {answer}");
        }
        tokio::time::sleep(BETWEEN).await;
    }
    let seconds = milliseconds(begun, now_us()) / 1e3;
    stop.cancel();
    for ended in load.join_all().await {
        ended?;
    }
    let served = u32::try_from(served.load(Ordering::Relaxed)).context("too many requests")?;
    Ok(Revocations {
        each: Latencies::of(each),
        last: Latencies::of(last),
        exposed: Latencies::of(exposed),
        call: Latencies::of(call),
        fleet_call: Latencies::of(fleet_call),
        load_per_second: f64::from(served) / seconds,
    })
}

/// A key.
pub(crate) struct Key {
    id: String,
    /// What its owner shows.
    pub(crate) secret: String,
}

impl Key {
    /// Where it is revoked.
    pub(crate) fn revoke_path(&self) -> String {
        format!("/api-auth/apps/{APP}/keys/{}/revoke", self.id)
    }
}

/// Makes a key.
pub(crate) async fn make_key(api: &mut Caller) -> Result<Key> {
    let made = api
        .must(&format!("/api-auth/apps/{APP}/keys"), &json!({"name": "bench"}))
        .await?;
    let text = |name: &str| {
        made[name]
            .as_str()
            .map(ToOwned::to_owned)
            .context("a key with its secret")
    };
    Ok(Key {
        id: text("id")?,
        secret: text("secret")?,
    })
}

/// Waits until a gateway lets a key through.
pub(crate) async fn until_admitted(proxy: SocketAddr, secret: &str) -> Result<()> {
    let mut caller = Caller::new(proxy, secret);
    until("a gateway lets a good key through", async || {
        Ok((caller.status("/").await? == 200).then_some(()))
    })
    .await
}

/// What became of one revocation.
struct One {
    sent_us: u64,
    answered_us: u64,
    /// When each gateway's first refusal came.
    refused_us: Vec<u64>,
    /// When the last request was sent that any gateway let through.
    admitted_last_us: u64,
}

async fn revoke(api: &mut Caller, proxies: &[SocketAddr]) -> Result<One> {
    let key = make_key(api).await?;
    let mut asking = JoinSet::new();
    for &proxy in proxies {
        let secret = key.secret.clone();
        asking.spawn(async move { until_refused(proxy, &secret).await });
    }
    tokio::time::sleep(BEFORE).await;
    let sent_us = now_us();
    let _: Value = api.must(&key.revoke_path(), &json!({})).await?;
    let answered_us = now_us();
    let (mut refused_us, mut admitted_last_us) = (Vec::new(), 0);
    for asked in asking.join_all().await {
        let (admitted, refused) = asked?;
        admitted_last_us = admitted_last_us.max(admitted);
        refused_us.push(refused);
    }
    Ok(One {
        sent_us,
        answered_us,
        refused_us,
        admitted_last_us,
    })
}

/// Asks until the key is refused: when the last request was sent that was let through, and when the refusal came.
async fn until_refused(proxy: SocketAddr, secret: &str) -> Result<(u64, u64)> {
    let mut caller = Caller::new(proxy, secret);
    let mut admitted_us = 0;
    loop {
        let sent = now_us();
        match caller.status("/").await? {
            200 => admitted_us = sent,
            403 => return Ok((admitted_us, now_us())),
            other => bail!("a gateway answered {other}"),
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

/// Two connections to each gateway, each of which asks at its share of the rate.
fn start_load(
    proxies: &[SocketAddr],
    secret: &str,
    per_second: u32,
    served: &Arc<AtomicU64>,
    stop: &CancellationToken,
) -> JoinSet<Result<()>> {
    let mut load = JoinSet::new();
    if per_second == 0 {
        return load;
    }
    let connections = u32::try_from(2 * proxies.len()).unwrap_or(u32::MAX);
    let every = Duration::from_secs(1) * connections / per_second;
    for &proxy in proxies.iter().chain(proxies) {
        let (secret, served, stop) = (secret.to_owned(), Arc::clone(served), stop.clone());
        load.spawn(async move {
            let mut caller = Caller::new(proxy, &secret);
            let mut ticks = tokio::time::interval(every);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            while !stop.is_cancelled() {
                ticks.tick().await;
                let status = caller.status("/").await?;
                if status != 200 {
                    bail!("a good key was answered {status}");
                }
                served.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        });
    }
    load
}
