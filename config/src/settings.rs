//! Every setting, typed, with its default. What the rest of the program uses; never changes after it is read.
//!
//! Where values come from (file, environment) is [`crate::load`]'s business, what they do is their users'.

use ipnet::IpNet;
use portcullis_verify::{PermissionExpression, Rule};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// All settings.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// `[control]`
    pub control: Control,
    /// `[gateway]`
    pub gateway: Gateway,
    /// `[authz]`
    pub authz: Authz,
    /// `[admin]`
    pub admin: Admin,
    /// `[limits]`
    pub limits: Limits,
    /// `[cache]`
    pub cache: Cache,
    /// `[failures]`
    pub failures: Failures,
    /// `[log]`
    pub log: Log,
    /// `[[routes]]`, in the order of the file.
    pub routes: Vec<Route>,
}

/// `[control]`: the control API.
#[derive(Debug, Clone, PartialEq)]
pub struct Control {
    /// Where it listens. Default `127.0.0.1:7070`; port 0 takes a free one.
    pub listen: SocketAddr,
    /// `sqlite://FILE`, or `postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=…`. Default `sqlite://portcullis.db`.
    pub store: StoreUrl,
    /// Largest request body in bytes. Default 1 MiB.
    pub body_bytes_max: usize,
    /// How long one request may take. Default 10 s.
    pub request_timeout: Duration,
    /// How many changes the log keeps for gateways that were away. Default 1 000 000.
    pub change_log_rows_max: u64,
    /// How long it keeps them. Default 7 days.
    pub change_log_keep: Duration,
}

/// `[gateway]`: the data plane.
#[derive(Debug, Clone, PartialEq)]
pub struct Gateway {
    /// Where the reverse proxy listens. Default one plain listener on `127.0.0.1:7080`.
    pub listen: Vec<Listener>,
    /// Where the decision API listens. Default `127.0.0.1:7081`.
    pub authz_listen: SocketAddr,
    /// What the gateway is called in lists. Default: the name of its host.
    pub name: Option<String>,
    /// Role `gateway` only: the control API. Default `http://127.0.0.1:7070`.
    pub control_url: String,
    /// Role `gateway` only: the gateway token. Printed nowhere.
    pub control_token: Option<SecretText>,
    /// Role `gateway` only: a file that holds the gateway token.
    pub control_token_file: Option<PathBuf>,
    /// Hold every key of the deployment, follow changes. Default false.
    pub preload: bool,
    /// Staleness up to which everything is normal. Default 1 s.
    pub stale_soft: Duration,
    /// Staleness past which nothing is served. Default 30 s.
    pub stale_max: Duration,
    /// What happens past `stale_max`. Default refuse.
    pub on_stale: OnStale,
    /// Where known keys are kept for a restart during an outage. Default none.
    pub snapshot: Option<PathBuf>,
    /// How often what keys were used for is reported to the control API. Default 5 s.
    pub usage_interval: Duration,
    /// Worker threads of the data plane. Default one per core.
    pub workers: Option<usize>,
    /// Ordinary HTTP/1.1 requests are forwarded by the gateway's own loop; false sends every request through pingora-proxy.
    /// Default true.
    pub fast_path: bool,
    /// Peers whose forwarding headers are believed. Default none.
    pub trusted_proxies: Vec<IpNet>,
    /// Total time in which a request's head must arrive. Default 10 s.
    pub header_timeout: Duration,
    /// Longest silence while a request body arrives. Default 30 s.
    pub body_timeout: Duration,
    /// How long an idle keep-alive connection is held, and, if longer than `body_timeout`, how long a client may take nothing of its
    /// answer. Default 60 s.
    pub keepalive_timeout: Duration,
    /// Requests after which a keep-alive connection is closed; 0 means never. Default 10 000.
    pub keepalive_requests: u32,
    /// Largest request head in bytes. Default 32 KiB.
    pub header_bytes_max: usize,
    /// Most header fields. Default 100.
    pub header_count_max: usize,
    /// Longest request target in bytes. Default 8 KiB.
    pub uri_bytes_max: usize,
    /// Largest request body in bytes; `None` means no limit. Default none.
    pub body_bytes_max: Option<u64>,
    /// Least bytes per second of a request body, on average, once `body_timeout` is over; 0 means any pace. Default 240.
    pub body_rate_min: u64,
    /// Most connections at once; past it those that wait for a request make room, longest first. Default 20 000.
    pub connections_max: usize,
    /// Most connections of one client address (IPv6: of its /64) at once; 0 means no limit. Default 4 096.
    pub connections_per_address_max: usize,
    /// How long a drain may take after SIGTERM. Default 30 s.
    pub drain_timeout: Duration,
    /// Age from which whatever a key no longer opens is cut, bodies under way included; upgraded connections, event streams and
    /// gRPC streams are cut at any age. `None` means that nothing is cut. Default 5 s.
    pub cut_streams_after: Option<Duration>,
}

/// One listener of the reverse proxy.
#[derive(Debug, Clone, PartialEq)]
pub struct Listener {
    /// Where it listens.
    pub address: SocketAddr,
    /// Certificate chain and private key in PEM files. `None`: plain.
    pub tls: Option<ListenerTls>,
    /// Every connection starts with a PROXY protocol v1 or v2 header. Default false.
    pub proxy_protocol: bool,
    /// HTTP/2 with prior knowledge on a plain listener. Default false.
    pub h2c: bool,
}

/// The certificate of a TLS listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerTls {
    /// PEM file of the certificate chain.
    pub cert: PathBuf,
    /// PEM file of the private key.
    pub key: PathBuf,
}

/// What a gateway does past `stale_max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnStale {
    /// Answer 503.
    Refuse,
    /// Serve what is known.
    Serve,
}

/// `[authz]`: the decision API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authz {
    /// The deployment it answers for, by id or name. Default: the first.
    pub deployment: Option<String>,
    /// Slugs of the apps it answers for; `None` means all of the deployment's.
    pub apps: Option<Vec<String>>,
    /// Largest request body in bytes. Default 64 KiB.
    pub body_bytes_max: usize,
}

/// `[admin]`: metrics and health.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// Where it listens. Default `127.0.0.1:7090`.
    pub listen: SocketAddr,
}

/// `[limits]`
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// `local`, the only store of this version. Default `local`.
    pub store: String,
    /// Rules for keys that neither have a scheme nor an app with one. Default 1 000 per minute per app.
    pub default_rules: Vec<Rule>,
    /// Most counters kept at once. Default 1 000 000.
    pub counters_max: usize,
    /// Answers tell of limits in `X-RateLimit-*` headers too. Default false.
    pub legacy_headers: bool,
    /// Counters of long windows outlive the process. Default false.
    pub persist: bool,
    /// Where they are kept meanwhile. Default `portcullis.limits`.
    pub persist_file: PathBuf,
    /// How often they are written while the process runs. Default 1 min.
    pub persist_interval: Duration,
}

/// `[cache]`: the hot key cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    /// Most known keys held. Default 1 000 000.
    pub keys_max: u64,
    /// Most unknown hashes remembered. Default 100 000.
    pub unknown_keys_max: u64,
    /// How long an unknown hash is remembered. Default 10 s.
    pub unknown_ttl: Duration,
    /// Look-ups that may be under way at the source at once. Default 64.
    pub fills_max: usize,
    /// How long one look-up may take. Default 2 s.
    pub fill_timeout: Duration,
}

/// `[failures]`: the throttle on addresses that ask for unknown keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failures {
    /// Failed look-ups an address may make in one go. Default 50.
    pub burst: u32,
    /// Failed look-ups per minute it may make after that. Default 60.
    pub per_minute: u32,
    /// Most addresses tracked. Default 100 000.
    pub addresses_max: usize,
}

/// `[log]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// `human` or `json`. Default human.
    pub format: LogFormat,
    /// A `tracing` filter such as `info` or `portcullis_proxy=debug`. Default `info`. Pingora is never below info.
    pub level: String,
    /// Log every request that the gateway decides. Default false.
    pub requests: bool,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For a terminal.
    Human,
    /// One JSON object a line.
    Json,
}

/// One `[[routes]]` entry.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// Whose slugs these are, by id or name. Default: the first deployment.
    pub deployment: Option<String>,
    /// Exact name, `*.example.com`, or `*`. Lower case, without port. Default `*`.
    pub host: String,
    /// Prefix on segment boundaries. Default `/`.
    pub path: String,
    /// Where requests go. At least one.
    pub upstreams: Vec<Upstream>,
    /// Slugs of the apps whose keys open this route. Empty: nobody's.
    pub apps: Vec<String>,
    /// All of these are needed.
    pub permissions: Vec<PermissionExpression>,
    /// Where the key is looked for, in order. Default `Authorization: Bearer`, then `X-API-Key`.
    pub credentials: Vec<CredentialPlace>,
    /// Forward the credential too. Default false.
    pub keep_credential: bool,
    /// Answer a missing key with 401 and `WWW-Authenticate: Bearer`. Default false.
    pub challenge: bool,
    /// Time to connect to an upstream. Default 2 s.
    pub connect_timeout: Duration,
    /// Longest silence of an upstream. Default 60 s.
    pub read_timeout: Duration,
    /// Longest time an upstream may take no byte. Default 30 s.
    pub write_timeout: Duration,
    /// How long an idle upstream connection is kept. Default 60 s.
    pub idle_timeout: Duration,
    /// PEM file of the certificate authorities trusted for `https` upstreams. Default the system's.
    pub upstream_ca: Option<PathBuf>,
}

/// One upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// True for `https`: the certificate is always verified.
    pub tls: bool,
    /// Host name or address in lower case; IPv6 without brackets.
    pub host: String,
    /// Port; 80 or 443 by default.
    pub port: u16,
}

/// A place a credential can be in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialPlace {
    /// `bearer`: `Authorization: Bearer KEY`.
    Bearer,
    /// `basic`: the password of `Authorization: Basic`.
    BasicPassword,
    /// `header:NAME`: the whole value of a header; lower case.
    Header(String),
    /// `query:NAME`: a query parameter.
    Query(String),
    /// `cookie:NAME`: a cookie.
    Cookie(String),
}

/// A secret setting. Its `Debug` says nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(pub String);

impl std::fmt::Debug for SecretText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretText(…)")
    }
}

/// Where a store is, which may take a password. Its `Debug` says no more of a server than what kind it is.
#[derive(Clone, PartialEq, Eq)]
pub struct StoreUrl(pub String);

impl std::ops::Deref for StoreUrl {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.split_once("://") {
            Some(("sqlite", _)) => f.debug_tuple("StoreUrl").field(&self.0).finish(),
            Some((kind, _)) => write!(f, "StoreUrl({kind}://…)"),
            None => f.write_str("StoreUrl(…)"),
        }
    }
}
