//! What two settings must agree on.
//!
//! It decides nothing about a single value, and passes over settings that are faulty by themselves. Runs once everything
//! is read; a fault is put where one of the two was set.

use crate::fault::{Collector, Place};
use crate::settings::Settings;
use std::net::SocketAddr;
use std::path::{Component, Path, PathBuf};

pub(crate) fn check(settings: &Settings, collector: &Collector) {
    staleness(settings, collector);
    request_head(settings, collector);
    listeners(settings, collector);
    saved_limits(settings, collector);
}

/// The file of saved counters is replaced time and again, and one in its place that is no such file is put aside.
fn saved_limits(settings: &Settings, collector: &Collector) {
    let (limits, gateway) = (&settings.limits, &settings.gateway);
    let store = settings.control.store.strip_prefix("sqlite://").map(Path::new);
    let others = [
        ("control.store", store),
        ("gateway.snapshot", gateway.snapshot.as_deref()),
        ("gateway.control_token_file", gateway.control_token_file.as_deref()),
    ];
    for (other_key, other) in others {
        let keys = ["limits.persist_file", other_key];
        let is_same = other.is_some_and(|other| plain(other) == plain(&limits.persist_file));
        if limits.persist && is_same && are_sound(collector, &keys) {
            let message = format!("limits.persist_file and {other_key} name one file: give each its own");
            collector.fault_at_key(first_set(collector, keys), message);
        }
    }
}

/// A path without its `./`.
fn plain(path: &Path) -> PathBuf {
    let named = path.components().filter(|part| *part != Component::CurDir);
    named.collect()
}

fn staleness(settings: &Settings, collector: &Collector) {
    let gateway = &settings.gateway;
    let keys = ["gateway.stale_soft", "gateway.stale_max"];
    if gateway.stale_soft > gateway.stale_max && are_sound(collector, &keys) {
        let key = first_set(collector, keys);
        let [soft, max] = [gateway.stale_soft, gateway.stale_max].map(crate::scalar::duration_text);
        collector.fault_at_key(key, format!("stale_soft ({soft}) must not be above stale_max ({max})"));
    }
}

fn request_head(settings: &Settings, collector: &Collector) {
    let gateway = &settings.gateway;
    let keys = ["gateway.uri_bytes_max", "gateway.header_bytes_max"];
    if gateway.uri_bytes_max > gateway.header_bytes_max && are_sound(collector, &keys) {
        let key = first_set(collector, keys);
        collector.fault_at_key(
            key,
            format!(
                "uri_bytes_max ({}) must not be above header_bytes_max ({}), which it is a part of",
                gateway.uri_bytes_max, gateway.header_bytes_max
            ),
        );
    }
}

/// Two listeners must not want one port. A wildcard address takes the port on every address of its family.
fn listeners(settings: &Settings, collector: &Collector) {
    let mut all: Vec<(String, SocketAddr)> = vec![("control.listen".to_owned(), settings.control.listen)];
    let proxy = settings.gateway.listen.iter().enumerate();
    all.extend(proxy.map(|(index, listener)| (format!("gateway.listen[{index}]"), listener.address)));
    all.push(("gateway.authz_listen".to_owned(), settings.gateway.authz_listen));
    all.push(("admin.listen".to_owned(), settings.admin.listen));
    all.retain(|(key, _)| {
        are_sound(
            collector,
            &[key.trim_end_matches(|c: char| c == '[' || c == ']' || c.is_ascii_digit())],
        )
    });
    for (index, (key, address)) in all.iter().enumerate() {
        for (other_key, other) in all.iter().take(index) {
            if clash(*address, *other) {
                let (at, taken_by) = match (collector.place_of(key), collector.place_of(other_key)) {
                    (Place::Default, place) if place != Place::Default => (other_key, key),
                    _ => (key, other_key),
                };
                let message = format!("{address} is taken by {taken_by}: give every listener a port of its own");
                collector.fault_at_key(at, message);
            }
        }
    }
}

fn clash(left: SocketAddr, right: SocketAddr) -> bool {
    let same_family = left.is_ipv4() == right.is_ipv4();
    let overlap = left.ip() == right.ip() || left.ip().is_unspecified() || right.ip().is_unspecified();
    left.port() != 0 && left.port() == right.port() && same_family && overlap
}

fn are_sound(collector: &Collector, keys: &[&str]) -> bool {
    !keys.iter().any(|key| collector.is_faulty(key))
}

/// The first of two keys that was set at all.
fn first_set<'a>(collector: &Collector, [left, right]: [&'a str; 2]) -> &'a str {
    if collector.place_of(left) == Place::Default {
        right
    } else {
        left
    }
}
