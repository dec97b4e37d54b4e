//! What thousands of gateways cost one control API: memory for each, and how long one revocation takes to reach all of them.
//!
//! Each is a task of this process with an HTTP/2 connection of its own, which says hello, pings and acknowledges as a gateway does. On one
//! machine they take most of the processor themselves, so that the times say at most how long it takes.

use super::Effort;
use super::fleet::Fleet;
use super::latency::make_key;
use super::quantiles::Latencies;
use crate::process::{GATEWAY_TOKEN, milliseconds, now_us, resident_bytes, until};
use anyhow::{Context, Result, bail, ensure};
use bytes::{Bytes, BytesMut};
use http::{Request, header};
use http_body_util::BodyExt;
use http_body_util::combinators::BoxBody;
use hyper::body::Frame;
use hyper_util::rt::{TokioExecutor, TokioIo};
use portcullis_sync::message::{FromControl, FromGateway, Hello, Ping, WATCH};
use portcullis_verify::Version;
use serde_json::json;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Poll, ready};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Connections that are made at once.
const CONNECTING_MAX: usize = 64;
/// As a gateway by default.
const STALE_MAX: Duration = Duration::from_secs(30);

/// What was measured.
pub(crate) struct Watched {
    /// Watchers at once.
    pub(crate) watchers: usize,
    /// How long it took until all watched, in seconds.
    pub(crate) seconds: f64,
    /// Growth of the control API's resident set by each.
    pub(crate) bytes_per_watcher: f64,
    /// From when a revocation was asked for until a watcher read of it, for each of them. So many share the processor with whoever asks that
    /// its answer may come after the last of them.
    pub(crate) each: Latencies,
    /// Until the last watcher did.
    pub(crate) last: Latencies,
    /// How long a revocation took that waited for all of them.
    pub(crate) fleet_call: Latencies,
}

/// Measures it.
pub(crate) async fn measure(effort: Effort) -> Result<Watched> {
    let fleet = Fleet::start().await?;
    let pid = fleet.control_pid()?;
    let bytes_before = resident_bytes(pid)?;
    let begun = now_us();
    let (heard, mut news) = mpsc::unbounded_channel();
    let welcomed = Arc::new(AtomicUsize::new(0));
    let connecting = Arc::new(tokio::sync::Semaphore::new(CONNECTING_MAX));
    let mut watching = JoinSet::new();
    for number in 0..effort.watchers {
        let watcher = Watcher {
            number,
            address: fleet.address,
            ping_every: effort.ping_every,
            heard: heard.clone(),
            welcomed: Arc::clone(&welcomed),
        };
        let connecting = Arc::clone(&connecting);
        watching.spawn(async move {
            let permit = connecting.acquire_owned().await?;
            watcher.watch(permit).await
        });
    }
    until("all watchers are welcome", async || {
        if let Some(ended) = watching.try_join_next() {
            ended??;
        }
        Ok((welcomed.load(Ordering::SeqCst) == effort.watchers).then_some(()))
    })
    .await?;
    let seconds = milliseconds(begun, now_us()) / 1e3;
    let bytes_per_watcher = (resident_bytes(pid)? - bytes_before) / count(effort.watchers)?;

    let mut api = fleet.api();
    let (mut each, mut last, mut fleet_call) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..effort.fan_outs {
        let key = make_key(&mut api).await?;
        let sent = now_us();
        let answer = api.must(&key.revoke_path(), &json!({})).await?;
        let revision = answer["revision"]
            .as_u64()
            .or_else(|| answer["revision"].as_str()?.parse().ok());
        let revision = revision.context("a revocation is answered with its revision")?;
        let mut reached = vec![None; effort.watchers];
        let mut missing = effort.watchers;
        while missing > 0 {
            let Heard { number, through, at_us } = news.recv().await.context("watchers listen")?;
            if through >= revision && reached[number].is_none() {
                reached[number] = Some(milliseconds(sent, at_us));
                missing -= 1;
            }
        }
        let reached: Vec<f64> = reached.into_iter().flatten().collect();
        last.push(reached.iter().copied().fold(0.0, f64::max));
        each.extend(reached);

        let key = make_key(&mut api).await?;
        let sent = now_us();
        let answer = api
            .must(&format!("{}?wait=fleet", key.revoke_path()), &json!({}))
            .await?;
        ensure!(answer["enforced"] == answer["gateways"], "not all enforce it: {answer}");
        fleet_call.push(milliseconds(sent, now_us()));
        while news.try_recv().is_ok() {}
    }
    Ok(Watched {
        watchers: effort.watchers,
        seconds,
        bytes_per_watcher,
        each: Latencies::of(each),
        last: Latencies::of(last),
        fleet_call: Latencies::of(fleet_call),
    })
}

fn count(number: usize) -> Result<f64> {
    Ok(f64::from(u32::try_from(number)?))
}

/// A watcher has read changes.
struct Heard {
    number: usize,
    through: u64,
    at_us: u64,
}

/// One client that watches.
struct Watcher {
    number: usize,
    address: SocketAddr,
    ping_every: Duration,
    heard: mpsc::UnboundedSender<Heard>,
    welcomed: Arc<AtomicUsize>,
}

impl Watcher {
    /// Watches until something breaks.
    async fn watch(self, permit: tokio::sync::OwnedSemaphorePermit) -> Result<()> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let handshake = hyper::client::conn::http2::Builder::new(TokioExecutor::new()).handshake(TokioIo::new(stream));
        let (mut sender, connection) = handshake.await?;
        tokio::spawn(async move {
            // Its watcher sees the same error.
            let _ = connection.await;
        });
        let (say, body) = lines();
        let hello = Hello {
            gateway_id: format!("{:032x}", self.number),
            name: format!("bench-{}", self.number),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            stale_max_ms: u64::try_from(STALE_MAX.as_millis())?,
            serves_stale: false,
            applied: None,
        };
        say.send(FromGateway::Hello(hello)).await?;
        let request = Request::post(format!("http://{}{WATCH}", self.address))
            .header(header::AUTHORIZATION, format!("Bearer {GATEWAY_TOKEN}"))
            .body(body)?;
        let answer = sender.send_request(request).await?;
        ensure!(
            answer.status().is_success(),
            "the watch was answered {}",
            answer.status()
        );
        let mut permit = Some(permit);
        let mut applied: Option<Version> = None;
        let mut number = 0;
        let mut body = answer.into_body();
        let mut unread = BytesMut::new();
        let mut ticks = tokio::time::interval(self.ping_every);
        loop {
            let must_ping = tokio::select! {
                frame = body.frame() => {
                    let frame = frame.context("the watch has ended")??;
                    unread.extend_from_slice(frame.data_ref().map_or(&[][..], |data| &data[..]));
                    let before = applied;
                    while let Some(end) = unread.iter().position(|byte| *byte == b'\n') {
                        let line = unread.split_to(end + 1);
                        self.hear(serde_json::from_slice(&line)?, &mut applied, &mut permit)?;
                    }
                    applied != before
                }
                _ = ticks.tick() => true,
            };
            if must_ping && let Some(applied) = applied {
                number += 1;
                let ping = Ping {
                    number,
                    applied,
                    staleness_ms: 0,
                };
                say.send(FromGateway::Ping(ping)).await?;
            }
        }
    }

    fn hear(
        &self,
        line: FromControl,
        applied: &mut Option<Version>,
        permit: &mut Option<tokio::sync::OwnedSemaphorePermit>,
    ) -> Result<()> {
        match line {
            FromControl::Welcome(_) => {}
            FromControl::Reset { to } => *applied = Some(to),
            FromControl::Changes(changes) => {
                let Some(at) = applied else {
                    bail!("changes follow nothing")
                };
                ensure!(
                    (at.epoch, at.revision) == (changes.epoch, changes.after),
                    "changes are missing"
                );
                at.revision = changes.through;
                let (number, through) = (self.number, changes.through);
                // Nobody listens any more at the end.
                let _ = self.heard.send(Heard {
                    number,
                    through,
                    at_us: now_us(),
                });
            }
            FromControl::Pong(_) => {
                if permit.take().is_some() {
                    self.welcomed.fetch_add(1, Ordering::SeqCst);
                }
            }
        }
        Ok(())
    }
}

/// A body that is said line by line.
fn lines() -> (mpsc::Sender<FromGateway>, BoxBody<Bytes, Infallible>) {
    let (say, said) = mpsc::channel(4);
    (say, BoxBody::new(Said(said)))
}

struct Said(mpsc::Receiver<FromGateway>);

impl hyper::body::Body for Said {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let line = ready!(self.0.poll_recv(context)).and_then(|line| serde_json::to_vec(&line).ok());
        Poll::Ready(line.map(|mut line| {
            line.push(b'\n');
            Ok(Frame::data(line.into()))
        }))
    }
}
