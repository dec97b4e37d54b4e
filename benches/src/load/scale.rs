//! What grows with keys and connections: memory for each, and how soon a process answers that holds nothing yet.
//!
//! Decides what is held when memory is read; knows nothing of throughput. Each figure is the growth of one process, or its first answer.

use super::http2::{self, Answer};
use super::portcullis::{Build, Mode};
use super::requests::{Keys, Order, Requests, Template};
use super::rotation;
use super::server::{Server, Setup};
use super::transport::{Endpoint, Transport};
use super::{progress, reply};
use crate::process::{milliseconds, now_us, resident_bytes};
use anyhow::{Context, Result, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::sync::Arc;

/// Connections while keys are used.
const CONNECTIONS: usize = 64;
/// What is asked for.
const PATH: &str = "/v1/things";
/// Descriptors that this process needs beside its connections.
const DESCRIPTORS_BESIDE: u64 = 200;

/// How much is measured.
#[derive(Debug, Clone)]
pub(crate) struct Sizes {
    pub(crate) keys: Vec<u32>,
    pub(crate) connections: usize,
    pub(crate) starts: usize,
}

impl Sizes {
    /// All that is published, or little, or only these numbers of keys.
    pub(crate) fn of(is_quick: bool, keys: &[u32]) -> Sizes {
        if !keys.is_empty() {
            return Sizes {
                keys: keys.to_vec(),
                ..Sizes::of(is_quick, &[])
            };
        }
        if is_quick {
            Sizes {
                keys: vec![1_000],
                connections: 100,
                starts: 1,
            }
        } else {
            Sizes {
                keys: vec![10_000, 100_000, 1_000_000],
                connections: 10_000,
                starts: 5,
            }
        }
    }
}

/// Memory for each key.
pub(crate) struct PerKey {
    pub(crate) keys: u32,
    /// Held, and never used.
    pub(crate) held_bytes: f64,
    /// Each was used once, under three limits.
    pub(crate) used_bytes: f64,
    /// The same of a gateway that held none before, and looked each up when it came.
    pub(crate) cached_bytes: f64,
    /// The resident set of the preloaded one then.
    pub(crate) resident_bytes: f64,
}

/// A sort of connection.
struct Kind {
    name: &'static str,
    mode: Mode,
    is_http2: bool,
}

impl Kind {
    const fn new(name: &'static str, mode: Mode, is_http2: bool) -> Kind {
        Kind { name, mode, is_http2 }
    }
}

const KINDS: [Kind; 4] = [
    Kind::new("plain", Mode::Proxy, false),
    Kind::new("TLS", Mode::Tls, false),
    Kind::new("HTTP/2", Mode::Http2, true),
    Kind::new("HTTP/2 over TLS", Mode::Tls, true),
];

/// Memory for each idle connection that has been answered once.
pub(crate) struct PerConnection {
    pub(crate) kind: &'static str,
    pub(crate) connections: usize,
    pub(crate) bytes: f64,
}

/// All of it.
pub(crate) struct Scale {
    pub(crate) per_key: Vec<PerKey>,
    pub(crate) per_connection: Vec<PerConnection>,
    /// Milliseconds from the start of a process to its first answer of a key, each time.
    pub(crate) first_answer: Vec<f64>,
}

/// Measures one build.
pub(crate) async fn measure(setup: &Setup, build: &Build, sizes: &Sizes) -> Result<Scale> {
    let most = sizes.keys.iter().copied().max().unwrap_or(1);
    let keys = Keys::generate(usize::try_from(most)?)?;
    let mut per_key = Vec::new();
    for &count in &sizes.keys {
        progress(&format!("scale: {count} keys"));
        per_key.push(measure_keys(setup, build, &keys, count).await?);
    }
    let setup = &setup.with_keys(&setup.keys, "scale");
    let mut per_connection = Vec::new();
    for kind in KINDS {
        progress(&format!("scale: idle connections, {}", kind.name));
        let server = build.start(setup, kind.mode).await?;
        per_connection.push(PerConnection {
            kind: kind.name,
            connections: sizes.connections,
            bytes: measure_connections(setup, &server, sizes.connections, kind.is_http2)?,
        });
    }
    let mut first_answer = Vec::new();
    for _ in 0..sizes.starts {
        progress("scale: first answer");
        first_answer.push(measure_start(setup, build).await?);
    }
    Ok(Scale {
        per_key,
        per_connection,
        first_answer,
    })
}

async fn measure_keys(setup: &Setup, build: &Build, all: &Keys, count: u32) -> Result<PerKey> {
    let keys = Arc::new(all.first(usize::try_from(count)?));
    let full = &setup.with_keys(&keys, "many");
    let empty_bytes = resident_with_one_key(setup, build, all, Mode::Preloaded).await?;
    let preloaded = build.start(full, Mode::Preloaded).await?;
    let held = resident(&preloaded)?;
    use_once(&preloaded, &keys, count)?;
    let used = resident(&preloaded)?;
    drop(preloaded);
    let nothing_cached = resident_with_one_key(setup, build, all, Mode::Proxy).await?;
    let caching = build.start(full, Mode::Proxy).await?;
    use_once(&caching, &keys, count)?;
    let cached = resident(&caching)?;
    let each = |bytes: f64| bytes / f64::from(count);
    Ok(PerKey {
        keys: count,
        held_bytes: each(held - empty_bytes),
        used_bytes: each(used - empty_bytes),
        cached_bytes: each(cached - nothing_cached),
        resident_bytes: used,
    })
}

/// One request is answered, so that what the first one needs is there.
async fn resident_with_one_key(setup: &Setup, build: &Build, all: &Keys, mode: Mode) -> Result<f64> {
    let one = Arc::new(all.first(1));
    let server = build.start(&setup.with_keys(&one, "one"), mode).await?;
    use_once(&server, &one, 1)?;
    resident(&server)
}

fn use_once(server: &Server, keys: &Arc<Keys>, count: u32) -> Result<()> {
    let requests = Requests::new(Template::get(PATH), keys, &Order::each(count));
    rotation::send_all(&server.endpoint, CONNECTIONS, requests)
}

/// The resident set of the gateway itself.
fn resident(server: &Server) -> Result<f64> {
    resident_bytes(*server.processes.first().context("a server has a process")?)
}

fn measure_connections(setup: &Setup, server: &Server, connections: usize, is_http2: bool) -> Result<f64> {
    let needed = u64::try_from(connections)? + DESCRIPTORS_BESIDE;
    ensure!(
        raise_descriptors()? >= needed,
        "{connections} connections need {needed} open files"
    );
    let mut out = Vec::new();
    Requests::new(Template::get(PATH), &setup.keys, &Order::one()).write(&mut out);
    let over_http2 = server.endpoint.with_http2();
    let over_http2 = (
        &over_http2,
        http2::request(PATH, setup.keys.key(0), over_http2.is_tls())?,
    );
    let used_once = || {
        if is_http2 {
            ask_once_over_http2(over_http2.0, &over_http2.1)
        } else {
            ask_once(&server.endpoint, &out)
        }
    };
    // The first few make what all share: buffers, threads, connections to the upstream.
    let few: Vec<Transport> = (0..CONNECTIONS).map(|_| used_once()).collect::<Result<_>>()?;
    let before = resident(server)?;
    let idle: Vec<Transport> = (0..connections).map(|_| used_once()).collect::<Result<_>>()?;
    let grown = resident(server)? - before;
    ensure!(idle.len() == connections && few.len() == CONNECTIONS, "all are open");
    Ok(grown / f64::from(u32::try_from(connections)?))
}

/// A connection on which one request has been answered.
fn ask_once(endpoint: &Endpoint, request: &[u8]) -> Result<Transport> {
    let mut transport = endpoint.connect()?;
    write_all(&mut transport, request)?;
    let (mut reply, mut buffer) = (reply::Reply::default(), vec![0; 16 * 1024]);
    loop {
        let read = read_some(&mut transport, &mut buffer, endpoint)?;
        if let Some(whole) = reply.take(&buffer[..read])? {
            ensure!(whole.status == 200, "{} answered {}", endpoint.address, whole.status);
            return Ok(transport);
        }
    }
}

/// The same over HTTP/2; the settings of both ends are known to the other, too.
fn ask_once_over_http2(endpoint: &Endpoint, request: &[u8]) -> Result<Transport> {
    let mut transport = endpoint.connect()?;
    write_all(&mut transport, request)?;
    let (mut answer, mut buffer) = (Answer::default(), vec![0; 16 * 1024]);
    while !(answer.is_whole && answer.has_settings) {
        let read = read_some(&mut transport, &mut buffer, endpoint)?;
        answer.take(&buffer[..read])?;
    }
    write_all(&mut transport, &http2::settings_taken()?)?;
    Ok(transport)
}

fn write_all(transport: &mut Transport, bytes: &[u8]) -> Result<()> {
    let mut written = 0;
    while written < bytes.len() {
        written += transport.write(&bytes[written..])?.unwrap_or(0);
    }
    Ok(())
}

/// Waits for more; an end is none.
fn read_some(transport: &mut Transport, buffer: &mut [u8], endpoint: &Endpoint) -> Result<usize> {
    loop {
        if let Some(read) = transport.read(buffer)? {
            ensure!(read > 0, "{} closed a connection", endpoint.address);
            return Ok(read);
        }
        // Nothing else is to be done here meanwhile.
        std::thread::yield_now();
    }
}

/// Takes as many open files as this process may have.
fn raise_descriptors() -> Result<u64> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    )?;
    Ok(limit.maximum.unwrap_or(u64::MAX))
}

async fn measure_start(setup: &Setup, build: &Build) -> Result<f64> {
    let mut requests = Requests::new(Template::get(PATH), &setup.keys, &Order::one());
    let mut out = Vec::new();
    requests.write(&mut out);
    let prepared = build.prepare(setup, Mode::Proxy).await?;
    let begun = now_us();
    let server = build.start_prepared(setup, &prepared, Mode::Proxy).await?;
    ask_once(&server.endpoint, &out)?;
    Ok(milliseconds(begun, now_us()))
}
