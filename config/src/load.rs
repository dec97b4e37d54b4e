//! Reads the file and the environment into [`Settings`], or says everything that is wrong.
//!
//! It decides precedence: environment over file over defaults. Called once, by `main` and by `portcullis check`.

use crate::document::{self, Table};
use crate::fault::{Collector, Fault, Faults, Origin, Place};
use crate::settings::Settings;
use crate::{cross_check, environment, reader, section};
use std::path::Path;

/// Reads the settings.
///
/// `environment` is all of the process's environment, or what [`crate::process_environment`] yields of it.
///
/// # Errors
/// Every fault of the file and the environment, with its place. A file that is not TOML has that one fault.
pub fn load(file: Option<&Path>, environment: impl Iterator<Item = (String, String)>) -> Result<Settings, Faults> {
    let Some(file) = file else {
        return parse(Path::new("defaults"), b"", environment);
    };
    match std::fs::read(file) {
        Ok(bytes) => parse(file, &bytes, environment),
        Err(error) => Err(Faults(vec![Fault {
            origin: Origin::File(file.to_owned()),
            line: None,
            column: None,
            key: String::new(),
            message: format!("cannot be read: {error}"),
        }])),
    }
}

/// As [`load`], from the bytes of a file that faults call `name`.
///
/// # Errors
/// As [`load`].
pub fn parse(
    name: &Path,
    bytes: &[u8],
    environment: impl Iterator<Item = (String, String)>,
) -> Result<Settings, Faults> {
    let collector = Collector::new();
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    let (text, table) = match std::str::from_utf8(bytes) {
        Ok(text) => match document::parse(text) {
            Ok(table) => (text, Some(table)),
            Err(error) => {
                collector.fault(Place::File(error.offset), "", format!("not TOML: {}", error.message));
                (text, None)
            }
        },
        Err(error) => {
            collector.fault(Place::File(error.valid_up_to()), "", "not UTF-8, which TOML must be");
            (
                std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default(),
                None,
            )
        }
    };
    // Without the file's tables, what the environment says beside them cannot be judged.
    let settings = table.map(|table| settings_of(table, environment, &collector));
    match (collector.into_faults(name, text), settings) {
        (None, Some(settings)) => Ok(settings),
        (faults, _) => Err(faults.unwrap_or(Faults(Vec::new()))),
    }
}

/// The settings that a tree and the environment make, their faults left in the collector.
pub(crate) fn settings_of(
    mut table: Table,
    environment: impl Iterator<Item = (String, String)>,
    collector: &Collector,
) -> Settings {
    environment::overlay(&mut table, environment, collector);
    let settings = reader::read_root(collector, table, section::settings);
    cross_check::check(&settings, collector);
    settings
}
