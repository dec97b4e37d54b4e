//! Any bytes may stand in a configuration file or a variable: they are read or refused with faults, never with a panic.
//!
//! The first line, if any, is the value of one variable; the rest is the file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::path::Path;

fuzz_target!(|bytes: &[u8]| {
    let (value, file) = bytes
        .iter()
        .position(|b| *b == b'\n')
        .map_or((None, bytes), |at| (Some(&bytes[..at]), &bytes[at + 1..]));
    let environment = value.into_iter().flat_map(|value| {
        let value = String::from_utf8_lossy(value);
        ["ROUTES", "GATEWAY__LISTEN", "LIMITS__DEFAULT_RULES"]
            .map(|key| (format!("PORTCULLIS__{key}"), value.to_string()))
    });
    match portcullis_config::parse(Path::new("fuzzed.toml"), file, environment) {
        Ok(settings) => drop(format!("{settings:?}")),
        Err(faults) => {
            assert!(!faults.0.is_empty());
            for fault in &faults.0 {
                // One fault is one line, whatever stood in the file.
                assert!(!fault.to_string().contains('\n'));
            }
        }
    }
});
