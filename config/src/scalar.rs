//! The small grammars of single values: durations, sizes, addresses, networks, slugs, words.
//!
//! Each function takes text and returns the value or the fault's words: what is wrong and what would be right.
//! They know no key and no bounds; the reader adds those.

use crate::fault::quoted;
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

const DURATION_UNITS: [(&str, u64); 4] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];
const SIZE_UNITS: [(&str, u64); 4] = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

/// A whole number and a unit: `500ms`, `30s`, `2m`, `1h`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = number_and_unit(text);
    let factor = DURATION_UNITS
        .iter()
        .find(|(name, _)| *name == unit)
        .map(|(_, factor)| *factor);
    match (number, factor) {
        (Some(number), Some(factor)) => number
            .checked_mul(factor)
            .map(Duration::from_millis)
            .ok_or_else(|| format!("{} is longer than any duration", quoted(text))),
        _ => Err(format!(
            "{} is not a duration: write a whole number and its unit, such as \"500ms\", \"30s\", \"2m\" or \"1h\"",
            quoted(text)
        )),
    }
}

/// The shortest exact text of a duration of whole milliseconds; [`duration`] reads it back.
pub(crate) fn duration_text(duration: Duration) -> String {
    let ms = duration.as_millis();
    let (name, factor) = DURATION_UNITS
        .iter()
        .rev()
        .map(|(name, factor)| (*name, u128::from(*factor)))
        .find(|(_, factor)| ms > 0 && ms.is_multiple_of(*factor))
        .unwrap_or(("s", 1_000));
    format!("{}{name}", ms / factor)
}

/// Bytes: `4096`, `512B`, `32KiB`, `1MiB`, `1GiB`.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let (number, unit) = number_and_unit(text);
    let factor = match unit {
        "" => Some(1),
        _ => SIZE_UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .map(|(_, factor)| *factor),
    };
    match (number, factor) {
        (Some(number), Some(factor)) => number
            .checked_mul(factor)
            .ok_or_else(|| format!("{} is more than any size", quoted(text))),
        _ => Err(format!(
            "{} is not a size: write bytes as a whole number, or with a unit of 1024: \"32KiB\", \"1MiB\", \"2GiB\"",
            quoted(text)
        )),
    }
}

/// The shortest exact text of a size; [`size`] reads it back.
pub(crate) fn size_text(bytes: u64) -> String {
    let unit = SIZE_UNITS
        .iter()
        .skip(1)
        .rev()
        .find(|(_, factor)| bytes > 0 && bytes.is_multiple_of(*factor));
    match unit {
        Some((name, factor)) => format!("{}{name}", bytes / factor),
        None => format!("{bytes} bytes"),
    }
}

fn number_and_unit(text: &str) -> (Option<u64>, &str) {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    (number.parse().ok(), unit.trim_start_matches(' '))
}

/// Where a listener listens: an IP address and a port.
pub(crate) fn socket_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        let hint = if let Some(port) = text.strip_prefix(':') {
            format!("for every interface write \"0.0.0.0:{port}\" or \"[::]:{port}\"")
        } else if text.parse::<IpAddr>().is_ok() {
            "the port is missing, as in \"127.0.0.1:7080\"".to_owned()
        } else if text.starts_with("localhost:") {
            format!(
                "write the address, not the name: \"127.0.0.1{}\"",
                &text["localhost".len()..]
            )
        } else {
            "write an IP address and a port, such as \"127.0.0.1:7080\" or \"[::1]:7080\"".to_owned()
        };
        format!("{} is not a listen address: {hint}", quoted(text))
    })
}

/// A network in CIDR notation, or a bare address for itself alone.
pub(crate) fn network(text: &str) -> Result<IpNet, String> {
    let network = text
        .parse::<IpNet>()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| {
            format!(
                "{} is not a network: write CIDR such as \"10.0.0.0/8\", or one address",
                quoted(text)
            )
        })?;
    if network.trunc() != network {
        return Err(format!(
            "{} has bits set behind its prefix: write \"{}\"",
            quoted(text),
            network.trunc()
        ));
    }
    if let IpNet::V6(v6) = network
        && v6.network().to_ipv4_mapped().is_some()
        && v6.prefix_len() >= 96
    {
        return Err(format!(
            "{} is an IPv4-mapped network: write it as IPv4, which is how peers are compared",
            quoted(text)
        ));
    }
    Ok(network)
}

/// The slug of an app, or the name of a deployment (an id is one too).
pub(crate) fn slug(text: &str) -> Result<String, String> {
    let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    let is_slug = (1..=64).contains(&bytes.len())
        && bytes.first().is_some_and(|b| legal(*b))
        && bytes.iter().all(|b| legal(*b) || matches!(b, b'-' | b'_'));
    if is_slug {
        return Ok(text.to_owned());
    }
    Err(format!(
        "{} is not a slug: 1 to 64 of a-z, 0-9, `-` and `_`, starting with a letter or digit",
        quoted(text)
    ))
}

/// One of a few words.
pub(crate) fn choice<T: Copy>(text: &str, choices: &[(&str, T)]) -> Result<T, String> {
    choices
        .iter()
        .find(|(word, _)| *word == text)
        .map(|(_, value)| *value)
        .ok_or_else(|| {
            let words: Vec<String> = choices.iter().map(|(word, _)| format!("\"{word}\"")).collect();
            format!("{} is none of {}", quoted(text), words.join(", "))
        })
}

/// A path of the file system.
pub(crate) fn path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() {
        return Err("is empty: name a file, or leave the key out".to_owned());
    }
    if text.contains('\0') {
        return Err(format!("{} is not a path: it holds a NUL byte", quoted(text)));
    }
    Ok(PathBuf::from(text))
}

/// Whether the file is there and this process may read it. Never opens anything but a regular file, so it cannot block.
pub(crate) fn check_readable(path: &Path) -> Result<(), String> {
    let shown = quoted(&path.to_string_lossy());
    let metadata = std::fs::metadata(path).map_err(|error| format!("{shown} cannot be read: {error}"))?;
    if !metadata.is_file() {
        return Err(format!("{shown} is not a file"));
    }
    std::fs::File::open(path)
        .map(drop)
        .map_err(|error| format!("{shown} cannot be read: {error}"))
}
