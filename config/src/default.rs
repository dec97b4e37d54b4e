//! What holds where nobody says otherwise.
//!
//! The one place of every default; `reference.toml` shows them to operators and a test holds it against these.

use crate::settings::{
    Admin, Authz, Cache, Control, CredentialPlace, Failures, Gateway, Limits, Listener, Log, LogFormat, OnStale, Route,
    Settings, StoreUrl,
};
use portcullis_verify::{Rule, Unit};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

const fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

impl Default for Settings {
    /// Every section's defaults and no route: nothing is let through.
    fn default() -> Settings {
        Settings {
            control: Control::default(),
            gateway: Gateway::default(),
            authz: Authz::default(),
            admin: Admin::default(),
            limits: Limits::default(),
            cache: Cache::default(),
            failures: Failures::default(),
            log: Log::default(),
            routes: Vec::new(),
        }
    }
}

impl Default for Control {
    fn default() -> Control {
        Control {
            listen: loopback(7070),
            store: StoreUrl("sqlite://portcullis.db".to_owned()),
            body_bytes_max: MIB,
            request_timeout: Duration::from_secs(10),
            change_log_rows_max: 1_000_000,
            change_log_keep: Duration::from_secs(7 * 24 * 60 * 60),
        }
    }
}

impl Default for Gateway {
    fn default() -> Gateway {
        Gateway {
            listen: vec![Listener::plain(loopback(7080))],
            authz_listen: loopback(7081),
            name: None,
            control_url: "http://127.0.0.1:7070".to_owned(),
            control_token: None,
            control_token_file: None,
            preload: false,
            stale_soft: Duration::from_secs(1),
            stale_max: Duration::from_secs(30),
            on_stale: OnStale::Refuse,
            snapshot: None,
            usage_interval: Duration::from_secs(5),
            workers: None,
            fast_path: true,
            trusted_proxies: Vec::new(),
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            keepalive_timeout: Duration::from_secs(60),
            keepalive_requests: 10_000,
            header_bytes_max: 32 * KIB,
            header_count_max: 100,
            uri_bytes_max: 8 * KIB,
            body_bytes_max: None,
            body_rate_min: 240,
            connections_max: 20_000,
            connections_per_address_max: 4_096,
            drain_timeout: Duration::from_secs(30),
            cut_streams_after: Some(Duration::from_secs(5)),
        }
    }
}

impl Listener {
    /// A listener without TLS, PROXY protocol or HTTP/2.
    #[must_use]
    pub fn plain(address: SocketAddr) -> Listener {
        Listener {
            address,
            tls: None,
            proxy_protocol: false,
            h2c: false,
        }
    }
}

impl Default for Authz {
    fn default() -> Authz {
        Authz {
            deployment: None,
            apps: None,
            body_bytes_max: 64 * KIB,
        }
    }
}

impl Default for Admin {
    fn default() -> Admin {
        Admin { listen: loopback(7090) }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        let thousand_a_minute = Rule {
            unit: Unit::Minute,
            duration: 1,
            max_requests: 1_000,
            mode: None,
            endpoints: None,
            priority: None,
        };
        Limits {
            store: "local".to_owned(),
            default_rules: vec![thousand_a_minute],
            counters_max: 1_000_000,
            legacy_headers: false,
            persist: false,
            persist_file: "portcullis.limits".into(),
            persist_interval: Duration::from_secs(60),
        }
    }
}

impl Default for Cache {
    fn default() -> Cache {
        Cache {
            keys_max: 1_000_000,
            unknown_keys_max: 100_000,
            unknown_ttl: Duration::from_secs(10),
            fills_max: 64,
            fill_timeout: Duration::from_secs(2),
        }
    }
}

impl Default for Failures {
    fn default() -> Failures {
        Failures {
            burst: 50,
            per_minute: 60,
            addresses_max: 100_000,
        }
    }
}

impl Default for Log {
    fn default() -> Log {
        Log {
            format: LogFormat::Human,
            level: "info".to_owned(),
            requests: false,
        }
    }
}

impl Default for Route {
    /// Every host and path, nowhere to go, open to nobody: `upstreams` and `apps` are for its author to fill.
    fn default() -> Route {
        Route {
            deployment: None,
            host: "*".to_owned(),
            path: "/".to_owned(),
            upstreams: Vec::new(),
            apps: Vec::new(),
            permissions: Vec::new(),
            credentials: vec![CredentialPlace::Bearer, CredentialPlace::Header("x-api-key".to_owned())],
            keep_credential: false,
            challenge: false,
            connect_timeout: Duration::from_secs(2),
            read_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(60),
            upstream_ca: None,
        }
    }
}
