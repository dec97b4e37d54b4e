//! The good customer: requests at a fixed rate over kept connections, and now and then a connection that is new.

use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Kept connections.
const CONNECTIONS: u32 = 8;
/// Requests a second, over all of them.
const RATE: u32 = 250;
/// How often somebody comes anew.
const NEWCOMER_EVERY: Duration = Duration::from_millis(150);
/// How long a request may take before it counts as not answered.
const PATIENCE: Duration = Duration::from_secs(10);

/// One slice as the customer felt it.
#[derive(Debug, Default)]
pub(crate) struct Felt {
    /// Latencies of answered requests, sorted.
    latencies: Vec<Duration>,
    /// Requests that were not answered with 200.
    pub(crate) failed: Vec<String>,
}

impl Felt {
    /// The time within which 99 of 100 requests were answered.
    pub(crate) fn p99(&self) -> Duration {
        let rank = (self.latencies.len() * 99).div_ceil(100).saturating_sub(1);
        self.latencies.get(rank).copied().unwrap_or(PATIENCE)
    }
}

/// A customer with its connections, on a thread of its own.
pub(crate) struct Customer {
    gateway: SocketAddr,
    request: Vec<u8>,
    runtime: tokio::runtime::Runtime,
    connections: Vec<Option<TcpStream>>,
}

impl Customer {
    /// A customer with this key.
    pub(crate) fn new(gateway: SocketAddr, key: &str) -> Customer {
        Customer {
            gateway,
            request: format!("GET / HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n\r\n").into_bytes(),
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime"),
            connections: (0..CONNECTIONS).map(|_| None).collect(),
        }
    }

    /// Sends for so long, and tells how it went. Blocks; not to be called within a runtime.
    pub(crate) fn feel(&mut self, slice: Duration) -> Felt {
        let connections = std::mem::take(&mut self.connections);
        let (gateway, request) = (self.gateway, self.request.clone());
        let (kept, mut felt) = self.runtime.block_on(async move {
            let start = Instant::now();
            let mut all = JoinSet::new();
            for (place, connection) in (0..).zip(connections) {
                let request = request.clone();
                all.spawn(async move { one(gateway, &request, connection, start, place, slice).await });
            }
            let newcomers = tokio::spawn(newcomers(gateway, request, start + slice));
            let mut kept = Vec::new();
            let mut felt = newcomers.await.expect("no panic");
            for (connection, mut part) in all.join_all().await {
                kept.push(connection);
                felt.latencies.append(&mut part.latencies);
                felt.failed.append(&mut part.failed);
            }
            (kept, felt)
        });
        self.connections = kept;
        felt.latencies.sort_unstable();
        felt
    }
}

/// One kept connection and its share of the rate. What is late because the last answer was counts as waiting.
async fn one(
    gateway: SocketAddr,
    request: &[u8],
    mut connection: Option<TcpStream>,
    start: Instant,
    place: u32,
    slice: Duration,
) -> (Option<TcpStream>, Felt) {
    let mut felt = Felt::default();
    let mut due = start + Duration::from_secs(1) * place / RATE;
    // Where not even this rate can be kept up, what was not sent is left out: the slice is bad enough.
    while due < start + slice && Instant::now() < start + slice * 2 {
        let is_late = Instant::now() > due;
        tokio::time::sleep_until(due.into()).await;
        let since = if is_late { due } else { Instant::now() };
        match tokio::time::timeout(PATIENCE, ask(gateway, request, &mut connection)).await {
            Ok(Ok(())) => felt.latencies.push(since.elapsed()),
            Ok(Err(error)) => felt.failed.push(error),
            Err(_) => felt.failed.push("no answer".to_owned()),
        }
        due += Duration::from_secs(1) * CONNECTIONS / RATE;
    }
    (connection, felt)
}

/// Asks once. A kept connection may have been closed at the very moment of its use: then, once more on a new one.
async fn ask(gateway: SocketAddr, request: &[u8], connection: &mut Option<TcpStream>) -> Result<(), String> {
    if let Some(mut kept) = connection.take()
        && let Ok(keeps) = exchange(&mut kept, request).await?
    {
        *connection = keeps.then_some(kept);
        return Ok(());
    }
    let mut new = TcpStream::connect(gateway).await.map_err(|error| error.to_string())?;
    new.set_nodelay(true).map_err(|error| error.to_string())?;
    let keeps = exchange(&mut new, request)
        .await?
        .map_err(|()| "closed unanswered".to_owned())?;
    *connection = keeps.then_some(new);
    Ok(())
}

/// One request and its answer: whether the connection is kept. `Ok(Err(()))` if it was closed without a word.
async fn exchange(stream: &mut TcpStream, request: &[u8]) -> Result<Result<bool, ()>, String> {
    if stream.write_all(request).await.is_err() {
        return Ok(Err(()));
    }
    let mut answer = Vec::with_capacity(1024);
    while !answer.ends_with(b"\r\n\r\nok") {
        if stream.read_buf(&mut answer).await.unwrap_or(0) == 0 {
            return if answer.is_empty() {
                Ok(Err(()))
            } else {
                Err(first_line(&answer))
            };
        }
    }
    if !answer.starts_with(b"HTTP/1.1 200") {
        return Err(first_line(&answer));
    }
    Ok(Ok(!String::from_utf8_lossy(&answer).contains("connection: close")))
}

fn first_line(answer: &[u8]) -> String {
    String::from_utf8_lossy(answer)
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned()
}

/// Somebody new now and then.
async fn newcomers(gateway: SocketAddr, request: Vec<u8>, end: Instant) -> Felt {
    let mut felt = Felt::default();
    while Instant::now() < end {
        match tokio::time::timeout(PATIENCE, ask(gateway, &request, &mut None)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => felt.failed.push(format!("a newcomer: {error}")),
            Err(_) => felt.failed.push("a newcomer: no answer".to_owned()),
        }
        tokio::time::sleep(NEWCOMER_EVERY).await;
    }
    felt
}
