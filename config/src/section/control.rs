//! `[control]` and `[admin]`: the control API, and the listener of metrics and health.
//!
//! A store's URL may hold a password, so no fault quotes one.

use super::{HOUR, KIB, MIB};
use crate::reader::Reader;
use crate::scalar;
use crate::settings::{Admin, Control};
use std::time::Duration;

pub(crate) fn read(section: &mut Reader<'_>, control: &mut Control) {
    section.read("listen", &mut control.listen, |field| {
        field.parse(scalar::socket_address)
    });
    section.read("store", &mut control.store, |field| field.parse(store));
    section.read("body_bytes_max", &mut control.body_bytes_max, |field| {
        field.size(KIB..=64 * MIB)
    });
    section.read("request_timeout", &mut control.request_timeout, |field| {
        field.duration(Duration::from_millis(100)..=HOUR)
    });
}

pub(crate) fn read_admin(section: &mut Reader<'_>, admin: &mut Admin) {
    section.read("listen", &mut admin.listen, |field| field.parse(scalar::socket_address));
}

fn store(text: &str) -> Result<String, String> {
    let Some(file) = text.strip_prefix("sqlite://") else {
        let other = ["postgres://", "postgresql://"]
            .iter()
            .any(|scheme| text.starts_with(scheme));
        return Err(if other {
            "PostgreSQL is not in this version: write \"sqlite://FILE\"".to_owned()
        } else {
            "is not a store: write \"sqlite://FILE\", such as \"sqlite://portcullis.db\"".to_owned()
        });
    };
    if file.is_empty() || file.starts_with(':') {
        return Err("names no file: write \"sqlite://FILE\"; keys must outlive the process".to_owned());
    }
    if file.contains(['?', '#', '\0']) {
        return Err("takes no parameters: write \"sqlite://FILE\" and nothing behind it".to_owned());
    }
    Ok(text.to_owned())
}
