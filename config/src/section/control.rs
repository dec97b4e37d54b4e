//! `[control]` and `[admin]`: the control API, and the listener of metrics and health.
//!
//! A store's URL may hold a password, so no fault quotes one.

use super::{DAY, HOUR, KIB, MIB};
use crate::reader::Reader;
use crate::scalar;
use crate::settings::{Admin, Control, StoreUrl};
use std::time::Duration;

pub(crate) fn read(section: &mut Reader<'_>, control: &mut Control) {
    section.read("listen", &mut control.listen, |field| {
        field.parse(scalar::socket_address)
    });
    section.read("store", &mut control.store, |field| field.parse(store).map(StoreUrl));
    section.read("body_bytes_max", &mut control.body_bytes_max, |field| {
        field.size(KIB..=64 * MIB)
    });
    section.read("request_timeout", &mut control.request_timeout, |field| {
        field.duration(Duration::from_millis(100)..=HOUR)
    });
    section.read("change_log_rows_max", &mut control.change_log_rows_max, |field| {
        field.integer(1..=1_000_000_000)
    });
    section.read("change_log_keep", &mut control.change_log_keep, |field| {
        field.duration(Duration::from_secs(1)..=366 * DAY)
    });
}

pub(crate) fn read_admin(section: &mut Reader<'_>, admin: &mut Admin) {
    section.read("listen", &mut admin.listen, |field| field.parse(scalar::socket_address));
}

fn store(text: &str) -> Result<String, String> {
    let server = ["postgres://", "postgresql://"]
        .iter()
        .find_map(|scheme| text.strip_prefix(scheme));
    match (text.strip_prefix("sqlite://"), server) {
        (Some(file), _) => sqlite(file)?,
        (None, Some(server)) => postgres(server)?,
        (None, None) => {
            return Err(
                "is not a store: write \"sqlite://FILE\", such as \"sqlite://portcullis.db\", or \
                        \"postgres://USER:PASSWORD@HOST/DATABASE\""
                    .to_owned(),
            );
        }
    }
    Ok(text.to_owned())
}

fn sqlite(file: &str) -> Result<(), String> {
    if file.is_empty() || file.starts_with(':') {
        return Err("names no file: write \"sqlite://FILE\"; keys must outlive the process".to_owned());
    }
    if file.contains(['?', '#', '\0']) {
        return Err("takes no parameters: write \"sqlite://FILE\" and nothing behind it".to_owned());
    }
    Ok(())
}

fn postgres(server: &str) -> Result<(), String> {
    let (path, _) = server.split_once('?').unwrap_or((server, ""));
    let (_, database) = path.split_once('/').unwrap_or((path, ""));
    if database.is_empty() {
        return Err("names no database: write \"postgres://USER:PASSWORD@HOST/DATABASE\"".to_owned());
    }
    // Such a character in a password cuts it short, and the rest would be taken, and told, as something else.
    if server.contains(['#', '\0']) || database.contains(['/', '@', ':']) {
        return Err(
            "is cut short by a character in the user or password: percent-encode all there that is no letter or \
                    digit"
                .to_owned(),
        );
    }
    Ok(())
}
