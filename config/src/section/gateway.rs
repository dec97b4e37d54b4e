//! `[gateway]`: the data plane's listeners, its control API, staleness, time and size limits.
//!
//! The token is a secret: no fault quotes it.

use super::{DAY, GIB, HOUR, INSTANT, KIB, MIB, listener, upstream};
use crate::reader::Reader;
use crate::scalar;
use crate::settings::{Gateway, OnStale, SecretText};
use std::time::Duration;

pub(crate) fn read(section: &mut Reader<'_>, gateway: &mut Gateway) {
    section.read("listen", &mut gateway.listen, listener::read_all);
    section.read("authz_listen", &mut gateway.authz_listen, |field| {
        field.parse(scalar::socket_address)
    });
    read_control(section, gateway);
    read_staleness(section, gateway);
    read_limits(section, gateway);
}

fn read_control(section: &mut Reader<'_>, gateway: &mut Gateway) {
    section.read("name", &mut gateway.name, |field| field.parse(name).map(Some));
    section.read("control_url", &mut gateway.control_url, |field| {
        field.parse(|text| upstream::parse(text).map(|url| upstream::text(&url)))
    });
    section.read("control_token", &mut gateway.control_token, |field| {
        field.parse(token).map(Some)
    });
    section.read("control_token_file", &mut gateway.control_token_file, |field| {
        field.readable_file().map(Some)
    });
    if gateway.control_token.is_some() && gateway.control_token_file.is_some() {
        section.fault("control_token_file", "control_token is set too: keep one of them");
    }
}

fn read_staleness(section: &mut Reader<'_>, gateway: &mut Gateway) {
    section.read("preload", &mut gateway.preload, |field| field.boolean());
    let age = || Duration::from_millis(100)..=7 * DAY;
    section.read("stale_soft", &mut gateway.stale_soft, |field| field.duration(age()));
    section.read("stale_max", &mut gateway.stale_max, |field| field.duration(age()));
    section.read("on_stale", &mut gateway.on_stale, |field| {
        field.choice(&[("refuse", OnStale::Refuse), ("serve", OnStale::Serve)])
    });
    section.read("snapshot", &mut gateway.snapshot, |field| {
        field.parse(scalar::path).map(Some)
    });
    section.read("usage_interval", &mut gateway.usage_interval, |field| {
        field.duration(Duration::from_millis(100)..=HOUR)
    });
}

fn read_limits(section: &mut Reader<'_>, gateway: &mut Gateway) {
    section.read("workers", &mut gateway.workers, |field| {
        field.integer(1..=1_024).map(Some)
    });
    section.read("fast_path", &mut gateway.fast_path, |field| field.boolean());
    section.read("trusted_proxies", &mut gateway.trusted_proxies, |field| {
        field.list(|field| field.parse(scalar::network))
    });
    section.read("header_timeout", &mut gateway.header_timeout, |field| {
        field.duration(INSTANT..=HOUR)
    });
    section.read("body_timeout", &mut gateway.body_timeout, |field| {
        field.duration(INSTANT..=HOUR)
    });
    section.read("keepalive_timeout", &mut gateway.keepalive_timeout, |field| {
        field.duration(INSTANT..=DAY)
    });
    section.read("keepalive_requests", &mut gateway.keepalive_requests, |field| {
        field.integer(0..=i64::from(u32::MAX))
    });
    section.read("header_bytes_max", &mut gateway.header_bytes_max, |field| {
        field.size(KIB..=MIB)
    });
    section.read("header_count_max", &mut gateway.header_count_max, |field| {
        field.integer(8..=256)
    });
    section.read("uri_bytes_max", &mut gateway.uri_bytes_max, |field| {
        field.size(64..=MIB)
    });
    section.read("body_bytes_max", &mut gateway.body_bytes_max, |field| {
        if field.is_word("none") {
            Some(None)
        } else {
            field.size(1..=1_024 * GIB).map(Some)
        }
    });
    section.read("body_rate_min", &mut gateway.body_rate_min, |field| {
        field.integer(0..=1_000_000_000)
    });
    section.read("connections_max", &mut gateway.connections_max, |field| {
        field.integer(1..=10_000_000)
    });
    section.read(
        "connections_per_address_max",
        &mut gateway.connections_per_address_max,
        |field| field.integer(0..=10_000_000),
    );
    section.read("drain_timeout", &mut gateway.drain_timeout, |field| {
        field.duration(Duration::ZERO..=DAY)
    });
    section.read("cut_streams_after", &mut gateway.cut_streams_after, |field| {
        if field.is_word("never") {
            Some(None)
        } else {
            field.duration(Duration::ZERO..=DAY).map(Some)
        }
    });
}

/// Longest name, in bytes.
const NAME_BYTES_MAX: usize = 128;

fn name(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > NAME_BYTES_MAX {
        return Err(format!("must have 1 to {NAME_BYTES_MAX} bytes"));
    }
    if text.chars().any(char::is_control) {
        return Err("has a control character in it".to_owned());
    }
    Ok(text.to_owned())
}

fn token(text: &str) -> Result<SecretText, String> {
    if text.is_empty() {
        return Err("is empty".to_owned());
    }
    if !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("is not a token: a space, a line end or a character that is not ASCII is in it".to_owned());
    }
    Ok(SecretText(text.to_owned()))
}
