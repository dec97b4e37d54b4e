//! What a fleet is made of, and the configuration that each of its processes is given.
//!
//! Starts nothing; the cluster does.

use super::checker::{GatewayTerms, Terms};
use std::net::SocketAddr;
use std::time::Duration;

/// The gateway token of every gateway.
pub const GATEWAY_TOKEN: &str = "test-gateway-token-0123456789abcdef";

/// How many apps the gateways' one route names. Apps take their slugs from these in turn.
pub const APPS_MAX: usize = 256;

/// The slug of an app.
pub fn slug(number: usize) -> String {
    format!("app-{number}")
}

/// What a fleet is made of.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Control APIs. More than one need PostgreSQL.
    pub controls: usize,
    /// `control.store`; `None`: a SQLite file.
    pub store: Option<String>,
    /// Further settings of `[control]`.
    pub control_settings: String,
    /// The gateways.
    pub gateways: Vec<GatewaySetup>,
    /// `stale_soft` of all.
    pub stale_soft: Duration,
    /// `stale_max` of all.
    pub stale_max: Duration,
}

/// How one gateway is set up.
#[derive(Debug, Clone, Copy, Default)]
pub struct GatewaySetup {
    /// It holds every key.
    pub preloads: bool,
    /// It keeps what it knows in a file.
    pub keeps_snapshot: bool,
    /// Past `stale_max` it goes on.
    pub serves_stale: bool,
    /// `cache.keys_max`, where it is not the default.
    pub keys_max: Option<u32>,
}

impl Setup {
    /// One control API on SQLite, and gateways with 300 ms and 2 s of patience.
    pub fn with(gateways: Vec<GatewaySetup>) -> Setup {
        Setup {
            controls: 1,
            store: None,
            control_settings: String::new(),
            gateways,
            stale_soft: Duration::from_millis(300),
            stale_max: Duration::from_secs(2),
        }
    }

    /// The same, with control APIs that share a PostgreSQL database.
    pub fn sharing(self, controls: usize, database: String) -> Setup {
        Setup {
            controls,
            store: Some(database),
            ..self
        }
    }

    /// What the checker must know of it.
    pub fn terms(&self) -> Terms {
        let us = |duration: Duration| u64::try_from(duration.as_micros()).expect("a short time");
        Terms {
            stale_soft: us(self.stale_soft),
            stale_max: us(self.stale_max),
            gateways: self
                .gateways
                .iter()
                .map(|gateway| GatewayTerms {
                    serves_stale: gateway.serves_stale,
                    preloads: gateway.preloads,
                })
                .collect(),
        }
    }

    /// The configuration of a gateway whose control API and upstream are at these addresses.
    pub fn gateway_config(&self, number: usize, control: SocketAddr, upstream: SocketAddr) -> String {
        let setup = self.gateways[number];
        let slugs: Vec<String> = (0..APPS_MAX).map(slug).collect();
        let snapshot = if setup.keeps_snapshot {
            "snapshot = \"gateway.snapshot\"\n"
        } else {
            ""
        };
        let cache = setup
            .keys_max
            .map_or_else(String::new, |most| format!("[cache]\nkeys_max = {most}\n"));
        format!(
            "[gateway]\ncontrol_url = \"http://{}\"\ncontrol_token = \"{GATEWAY_TOKEN}\"\npreload = {}\n\
             stale_soft = \"{}ms\"\nstale_max = \"{}ms\"\non_stale = \"{}\"\n{snapshot}{cache}\
             [limits]\ndefault_rules = []\n[failures]\nburst = 1000000\nper_minute = 1000000\n\
             [[routes]]\nupstreams = [\"http://{}\"]\napps = {slugs:?}\n",
            control,
            setup.preloads,
            self.stale_soft.as_millis(),
            self.stale_max.as_millis(),
            if setup.serves_stale { "serve" } else { "refuse" },
            upstream,
        )
    }
}
