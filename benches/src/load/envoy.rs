//! Envoy: bare, and with keys in its API-key filter and counters in its local rate limit.
//!
//! Decides its configurations; measures nothing. It runs as a single process of one worker; the program comes from a folder below
//! `target/`, where `.ci/setup bench-load` puts it.

use super::peers;
use super::server::{Server, Setup, free_address};
use anyhow::Result;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const FILTERS: &str = "type.googleapis.com/envoy.extensions.filters";

/// A reverse proxy that keeps its connections, and nothing else.
pub(crate) async fn bare(setup: &Setup) -> Result<Server> {
    start(setup, peers::ENVOY_BARE, "kept connections", &[]).await
}

/// Plain keys in the API-key filter, a local limit per key, address and app.
pub(crate) async fn keys(setup: &Setup) -> Result<Server> {
    let credentials: Vec<Value> = setup
        .keys
        .texts()
        .enumerate()
        .map(|(number, key)| json!({"key": key, "client": (number + 1).to_string()}))
        .collect();
    let filters = [
        json!({
            "name": "envoy.filters.http.api_key_auth",
            "typed_config": {
                "@type": format!("{FILTERS}.http.api_key_auth.v3.ApiKeyAuth"),
                "credentials": credentials,
                "key_sources": [{"header": "Authorization"}],
                "forwarding": {"header": "X-Wacht-Key-ID", "hide_credentials": true}
            }
        }),
        limits(),
    ];
    let does = "static list of plain keys, local limits per key, address and app, identity headers, key stripped";
    start(setup, peers::ENVOY_KEYS, does, &filters).await
}

/// Buckets that are made for each key and address as they come, too large to be spent.
fn limits() -> Value {
    let bucket = json!({"max_tokens": 2_000_000_000, "tokens_per_fill": 2_000_000_000, "fill_interval": "60s"});
    let descriptor = |key: &str| json!({"entries": [{"key": key}], "token_bucket": bucket});
    json!({
        "name": "envoy.filters.http.local_ratelimit",
        "typed_config": {
            "@type": format!("{FILTERS}.http.local_ratelimit.v3.LocalRateLimit"),
            "stat_prefix": "limits",
            "token_bucket": bucket,
            "filter_enabled": {"default_value": {"numerator": 100}},
            "filter_enforced": {"default_value": {"numerator": 100}},
            "max_dynamic_descriptors": 200_000,
            "descriptors": [descriptor("key"), descriptor("remote_address"), descriptor("app")],
            "rate_limits": [
                {"actions": [{"request_headers": {"header_name": "X-Wacht-Key-ID", "descriptor_key": "key"}}]},
                {"actions": [{"remote_address": {}}]},
                {"actions": [{"generic_key": {"descriptor_key": "app", "descriptor_value": "benchmark"}}]}
            ]
        }
    })
}

async fn start(setup: &Setup, name: &str, does: &'static str, filters: &[Value]) -> Result<Server> {
    let address = free_address()?;
    let router = json!({
        "name": "envoy.filters.http.router",
        "typed_config": {"@type": format!("{FILTERS}.http.router.v3.Router")}
    });
    let mut chain = filters.to_vec();
    chain.push(router);
    let said = |name: &str, value: &str| json!({"header": {"key": name, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"});
    let identity = if filters.is_empty() {
        Vec::new()
    } else {
        vec![
            said("X-Wacht-Deployment-ID", "1"),
            said("X-Wacht-App-Slug", "benchmark"),
            said("X-Wacht-Key-Name", "bench"),
            said("X-Wacht-Permissions", "things:read"),
            said("X-Forwarded-For", "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"),
            said("X-Forwarded-Host", "%REQ(:AUTHORITY)%"),
        ]
    };
    let configuration = json!({"static_resources": {
        "listeners": [{
            "address": socket(address),
            "filter_chains": [{"filters": [{
                "name": "envoy.filters.network.http_connection_manager",
                "typed_config": {
                    "@type": format!("{FILTERS}.network.http_connection_manager.v3.HttpConnectionManager"),
                    "stat_prefix": "callers",
                    "route_config": {"virtual_hosts": [{
                        "name": "api",
                        "domains": ["*"],
                        "request_headers_to_add": identity,
                        "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "api", "timeout": "0s"}}]
                    }]},
                    "http_filters": chain
                }
            }]}]
        }],
        "clusters": [{
            "name": "api",
            "connect_timeout": "5s",
            "type": "STATIC",
            "circuit_breakers": {"thresholds": [{"max_connections": 8_000, "max_pending_requests": 8_000, "max_requests": 8_000}]},
            "load_assignment": {
                "cluster_name": "api",
                "endpoints": [{"lb_endpoints": [{"endpoint": {"address": socket(setup.upstream)}}]}]
            }
        }]
    }});
    let file = peers::folder(setup, name)?.join("envoy.json");
    std::fs::write(&file, configuration.to_string())?;
    let mut command = Command::new(program());
    command
        .arg("-c")
        .arg(&file)
        .args(["--concurrency", "1", "--disable-hot-restart", "-l", "error"]);
    command.stdout(Stdio::null());
    Server::foreign(setup, name, does, address, &mut command).await
}

fn socket(address: std::net::SocketAddr) -> Value {
    json!({"socket_address": {"address": address.ip().to_string(), "port_value": address.port()}})
}

/// Where `.ci/setup bench-load` puts it.
pub(crate) fn program() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bench-load/envoy/envoy/_bin/envoy")
}

/// Its version, as it tells it.
pub(crate) fn version() -> String {
    peers::version(Command::new(program()).arg("--version"))
}
