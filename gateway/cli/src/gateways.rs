//! `portcullis gateways`: who enforces what is decided here, and how far behind each is.
//!
//! Decides how a fleet is shown to somebody who must be sure that a key is dead everywhere. The control API knows the gateways.

use crate::connection::Connection;
use crate::failure::Failure;
use crate::instant;
use crate::surroundings::Surroundings;
use crate::table;
use clap::Args;
use jiff::Timestamp;
use reqwest::Method;
use serde::Deserialize;

/// The gateways that follow the control API.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
        portcullis gateways\n  \
        portcullis gateways --output json\n\n\
        The management token comes from PORTCULLIS_TOKEN, or from a file named with --token-file.")]
pub struct Gateways {
    #[command(flatten)]
    connection: Connection,
}

#[derive(Deserialize)]
struct Fleet {
    gateways: Vec<Gateway>,
}

#[derive(Deserialize)]
struct Gateway {
    id: String,
    name: String,
    version: String,
    address: String,
    connected: bool,
    applied_revision: String,
    lag: u64,
    staleness_ms: u64,
    stale_max_ms: u64,
    on_stale: String,
    last_seen_at: String,
}

impl Gateways {
    pub(crate) async fn run(self, surroundings: &mut Surroundings<'_>) -> Result<u8, Failure> {
        let client = self.connection.client(surroundings)?;
        let answer = client.call(Method::GET, &["gateways"], &[], None).await?;
        if self.connection.as_json() {
            surroundings.print(&answer.indented())?;
            return Ok(0);
        }
        let gateways = answer.read::<Fleet>()?.gateways;
        if gateways.is_empty() {
            surroundings.tell(
                "no gateway follows this control API; `portcullis tokens create --kind gateway` makes the token that one needs",
            );
            return Ok(0);
        }
        let now = surroundings.now();
        let rows = gateways.into_iter().map(|gateway| row(gateway, now)).collect();
        let headings = [
            "NAME",
            "ID",
            "ADDRESS",
            "VERSION",
            "STATE",
            "APPLIED",
            "TRUSTS FOR",
            "LAST SEEN",
        ];
        surroundings.print(&table::grid(&headings, rows))?;
        Ok(0)
    }
}

fn row(gateway: Gateway, now: Timestamp) -> Vec<String> {
    let state = state(&gateway);
    let trusts_for = if gateway.on_stale == "serve" {
        "ever".to_owned()
    } else {
        milliseconds(gateway.stale_max_ms)
    };
    // The first digits tell gateways of one name apart.
    let id = gateway.id.chars().take(8).collect();
    vec![
        gateway.name,
        id,
        gateway.address,
        gateway.version,
        state,
        gateway.applied_revision,
        trusts_for,
        instant::distance(&gateway.last_seen_at, now),
    ]
}

fn state(gateway: &Gateway) -> String {
    let behind = match gateway.lag {
        0 => "up to date".to_owned(),
        1 => "1 change behind".to_owned(),
        lag => format!("{lag} changes behind"),
    };
    if gateway.connected {
        format!("{behind} ({})", milliseconds(gateway.staleness_ms))
    } else if gateway.lag == 0 {
        "away".to_owned()
    } else {
        format!("away, {behind}")
    }
}

fn milliseconds(ms: u64) -> String {
    if ms < 10_000 {
        format!("{ms} ms")
    } else {
        instant::span(ms / 1_000)
    }
}
