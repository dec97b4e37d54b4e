//! What the tables call every server, and what the peers' configurations have in common.
//!
//! Decides names; knows no configuration. Each peer has a module of its own.

use super::server::Setup;
use anyhow::{Context, Result};
use sha2::Digest;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The base of all ratios.
pub(crate) const NGINX_BARE: &str = "nginx bare";
/// The base over TLS.
pub(crate) const NGINX_TLS: &str = "nginx bare TLS";
/// nginx with a static file of keys.
pub(crate) const NGINX_MAP: &str = "nginx static map";
/// nginx with keys and counters in Lua.
pub(crate) const NGINX_LUA: &str = "nginx Lua";
/// nginx and Portcullis' decision API.
pub(crate) const NGINX_AUTH_REQUEST: &str = "nginx auth_request";
/// `HAProxy` without anything.
pub(crate) const HAPROXY_BARE: &str = "haproxy bare";
/// `HAProxy` with a static file of keys.
pub(crate) const HAPROXY_MAP: &str = "haproxy static map";
/// `HAProxy` with a static file of hashes.
pub(crate) const HAPROXY_HASHED: &str = "haproxy sha2";
/// Envoy without anything.
pub(crate) const ENVOY_BARE: &str = "envoy bare";
/// Envoy with a static list of keys.
pub(crate) const ENVOY_KEYS: &str = "envoy keys";
/// Copies bytes.
pub(crate) const RELAY: &str = "raw relay";

/// What stands before a key in its header.
pub(crate) const BEARER: &str = "Bearer ";

/// A folder of its own for each server.
pub(crate) fn folder(setup: &Setup, name: &str) -> Result<PathBuf> {
    let plain: String = name
        .chars()
        .map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' })
        .collect();
    let folder = setup.folder.join(plain);
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}

/// A file of the certificates that the proxy's tests use: for `localhost`, by an authority of their own.
pub(crate) fn certificate(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../gateway/proxy/tests/certificates")
        .join(name)
}

/// The SHA-256 of some bytes, as `HAProxy` makes it.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    sha2::Sha256::digest(bytes).into()
}

/// The first line that a program tells of itself, on either output; empty when it is not there.
pub(crate) fn version(command: &mut Command) -> String {
    let Ok(told) = command.output() else {
        return String::new();
    };
    let told = [told.stdout, told.stderr].concat();
    let told = String::from_utf8_lossy(&told);
    told.lines()
        .map(str::trim)
        .find(|line| !line.is_empty())
        .unwrap_or_default()
        .to_owned()
}
