//! `[log]`: how log lines look and which are written.

use crate::fault::quoted;
use crate::reader::Reader;
use crate::settings::{Log, LogFormat};

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

pub(crate) fn read(section: &mut Reader<'_>, log: &mut Log) {
    section.read("format", &mut log.format, |field| {
        field.choice(&[("human", LogFormat::Human), ("json", LogFormat::Json)])
    });
    section.read("level", &mut log.level, |field| field.parse(level));
    section.read("requests", &mut log.requests, |field| field.boolean());
}

/// Directives between commas: a level, or `target=level`.
fn level(text: &str) -> Result<String, String> {
    for directive in text.split(',').map(str::trim) {
        let (target, level) = directive
            .split_once('=')
            .map_or((None, directive), |(target, level)| (Some(target), level));
        let is_path = |target: &str| {
            !target.is_empty()
                && target
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b':' | b'-'))
        };
        if !target.is_none_or(is_path) || !LEVELS.contains(&level) {
            return Err(format!(
                "{} is not a log filter: write a level ({}), then exceptions such as \"info,portcullis_proxy=debug\"",
                quoted(directive),
                LEVELS.join(", ")
            ));
        }
    }
    Ok(text.to_owned())
}
