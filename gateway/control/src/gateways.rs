//! The gateways elsewhere: what they watch, ask and report, and which of them a change must wait for.
//!
//! Knows the protocol of `portcullis_sync` and nothing of administration. The tailer feeds the hub, the router mounts the calls,
//! mutating routes ask the fleet.

mod calls;
mod enforcement;
mod fleet;
mod hello;
mod hub;
mod lines;
mod live;
mod outlet;
mod registry;
mod ring;
mod session;
mod shown;
mod subscription;
mod watch;
mod watcher;

pub(crate) use calls::{key_page, look_up, record_usage};
pub(crate) use enforcement::{Change, Enforcement};
pub(crate) use fleet::Fleet;
pub(crate) use hub::Hub;
pub(crate) use registry::keep as keep_registry;
pub(crate) use shown::{Known, known};
pub(crate) use watch::watch;

use std::time::Duration;

/// The bounds on what gateways may take up. The defaults are for production; tests want less.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GatewayBounds {
    /// Most gateways that watch at once. Default 20 000.
    pub watchers_max: usize,
    /// How long a gateway may take no further line before its watch is ended. Default 10 s.
    pub line_timeout: Duration,
    /// For how long, beyond its `stale_max`, a gateway is waited for after the process that it watched was killed. Default 10 s,
    /// and more where there are thousands of gateways.
    pub lease: Duration,
}

impl Default for GatewayBounds {
    fn default() -> GatewayBounds {
        GatewayBounds {
            watchers_max: 20_000,
            line_timeout: Duration::from_secs(10),
            lease: Duration::from_secs(10),
        }
    }
}
