//! HAProxy: bare, and with keys in a map and counters in stick tables.
//!
//! Decides its configurations; measures nothing. It runs as a single process of one thread, in the foreground.

use super::peers;
use super::server::{Server, Setup, free_address};
use anyhow::Result;
use std::fmt::Write as _;
use std::process::Command;

/// How keys are looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keys {
    Plain,
    Hashed,
}

/// A reverse proxy that keeps its connections, and nothing else.
pub(crate) async fn bare(setup: &Setup) -> Result<Server> {
    start(setup, peers::HAPROXY_BARE, "kept connections", "").await
}

/// Plain keys in a map, counters per key, address and app.
pub(crate) async fn map(setup: &Setup) -> Result<Server> {
    let does = "static file of plain keys, stick tables per key, address and app, identity headers, key stripped";
    start(setup, peers::HAPROXY_MAP, does, &rules(setup, Keys::Plain)?).await
}

/// The same by the SHA-256 of the key.
pub(crate) async fn hashed_map(setup: &Setup) -> Result<Server> {
    let does = "the same, by the SHA-256 of the key";
    start(setup, peers::HAPROXY_HASHED, does, &rules(setup, Keys::Hashed)?).await
}

async fn start(setup: &Setup, name: &str, does: &'static str, rules: &str) -> Result<Server> {
    let address = free_address()?;
    let file = peers::folder(setup, name)?.join("haproxy.cfg");
    std::fs::write(
        &file,
        format!(
            "global
    nbthread 1
    maxconn 8000
defaults
    mode http
    timeout client 1h
    timeout server 1h
    timeout connect 5s
    timeout http-keep-alive 1h
    http-reuse always
frontend callers
    bind {address} backlog 4096
    {rules}
    default_backend api
backend api
    server api {upstream}
backend keys
    stick-table type string len 64 size 200k expire 2m store http_req_rate(60s)
backend addresses
    stick-table type ip size 200k expire 2m store http_req_rate(60s)
backend apps
    stick-table type string len 64 size 200k expire 2m store http_req_rate(60s)
",
            upstream = setup.upstream
        ),
    )?;
    let mut command = Command::new("haproxy");
    command.arg("-db").arg("-q").arg("-f").arg(&file);
    Server::foreign(setup, name, does, address, &mut command).await
}

fn rules(setup: &Setup, keys: Keys) -> Result<String> {
    let (file, converters) = match keys {
        Keys::Plain => (setup.folder.join("haproxy-keys.map"), ""),
        Keys::Hashed => (setup.folder.join("haproxy-hashed-keys.map"), ",sha2(256),hex"),
    };
    let mut map = String::new();
    for (number, key) in setup.keys.texts().enumerate() {
        match keys {
            Keys::Plain => write!(map, "{key}")?,
            Keys::Hashed => peers::sha256(key.as_bytes())
                .iter()
                .try_for_each(|byte| write!(map, "{byte:02X}"))?,
        }
        writeln!(map, " {}", number + 1)?;
    }
    std::fs::write(&file, map)?;
    Ok(format!(
        "unique-id-format %[uuid()]
    unique-id-header X-Request-ID
    option forwardfor
    http-request set-var(txn.key) req.hdr(authorization),word(2,' '){converters}
    http-request set-var(txn.id) var(txn.key),map_str({file})
    http-request deny deny_status 403 unless {{ var(txn.id) -m found }}
    http-request track-sc0 var(txn.key) table keys
    http-request track-sc1 src table addresses
    http-request track-sc2 str(benchmark) table apps
    http-request deny deny_status 429 if {{ sc_http_req_rate(0,keys) gt 2000000000 }}
    http-request deny deny_status 429 if {{ sc_http_req_rate(1,addresses) gt 2000000000 }}
    http-request deny deny_status 429 if {{ sc_http_req_rate(2,apps) gt 2000000000 }}
    http-request del-header Authorization
    http-request set-header X-Wacht-Key-ID %[var(txn.id)]
    http-request set-header X-Wacht-Deployment-ID 1
    http-request set-header X-Wacht-App-Slug benchmark
    http-request set-header X-Wacht-Key-Name bench
    http-request set-header X-Wacht-Permissions things:read
    http-request set-header X-Forwarded-Proto http
    http-request set-header X-Forwarded-Host %[req.hdr(host)]",
        file = file.display()
    ))
}

/// Its version, as it tells it.
pub(crate) fn version() -> String {
    peers::version(Command::new("haproxy").arg("-v"))
}
