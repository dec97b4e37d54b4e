//! What each value of a request may be: lengths, alphabets, shapes. One function per kind of value.
//!
//! Pure: no store, no request, no field names. [`crate::wire`] says which bound holds for which field.

#[cfg(test)]
mod tests;

use crate::fault::{Bounded, Broken};
use jiff::Timestamp;
use jiff::fmt::temporal::Pieces;
use portcullis_store::entity::JsonObject;
use portcullis_verify::PermissionExpression;

/// Longest slug.
const SLUG_CHARS_MAX: usize = 64;
/// Longest prefix of a secret.
pub(crate) const KEY_PREFIX_CHARS_MAX: usize = 32;
/// Longest name, owner and environment.
const NAME_CHARS_MAX: usize = 255;
/// Longest description.
const DESCRIPTION_CHARS_MAX: usize = 2_000;
/// Longest reason of a revocation.
const REASON_CHARS_MAX: usize = 500;
/// Most permissions, and most resources.
const LIST_ENTRIES_MAX: usize = 256;
/// Longest permission.
const PERMISSION_CHARS_MAX: usize = 128;
/// Longest comma-joined permissions of one key; they travel in one request header.
const PERMISSIONS_HEADER_BYTES_MAX: usize = 8_192;
/// Longest resource pattern.
const RESOURCE_CHARS_MAX: usize = 512;
/// Longest metadata as ASCII JSON; it travels in one request header.
const METADATA_BYTES_MAX: usize = 4_096;
/// Longest grace period of a rotation: 30 days.
const GRACE_PERIOD_S_MAX: i32 = 30 * 24 * 60 * 60;

/// A slug: `[a-z0-9][a-z0-9_-]{0,63}`.
pub(crate) fn slug(text: String) -> Bounded<String> {
    let mut bytes = text.bytes();
    let starts_well = bytes
        .next()
        .is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let goes_on_well = bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte));
    if starts_well && goes_on_well && text.len() <= SLUG_CHARS_MAX {
        return Ok(text);
    }
    Err(Broken::whole(
        "must be 1 to 64 of a-z, 0-9, _ and -, starting with a letter or a digit",
    ))
}

/// A key prefix: `[A-Za-z0-9][A-Za-z0-9_]{0,31}`, not ending in `_`.
pub(crate) fn key_prefix(text: String) -> Bounded<String> {
    let alphabet = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let ends = !text.is_empty() && !text.starts_with('_') && !text.ends_with('_');
    if alphabet && ends && text.len() <= KEY_PREFIX_CHARS_MAX {
        return Ok(text);
    }
    Err(Broken::whole(
        "must be 1 to 32 of A-Z, a-z, 0-9 and _, neither starting nor ending with _",
    ))
}

/// The key prefix of an app that was created without one.
pub(crate) fn key_prefix_of_slug(slug: &str) -> String {
    let mut prefix = slug.replace('-', "_");
    prefix.truncate(KEY_PREFIX_CHARS_MAX);
    prefix.truncate(prefix.trim_end_matches('_').len());
    prefix
}

/// A name for people: one line, not blank.
pub(crate) fn name(text: String) -> Bounded<String> {
    if text.trim().is_empty() {
        return Err(Broken::whole("must not be blank"));
    }
    line(text, NAME_CHARS_MAX)
}

/// A short free text such as an owner or an environment. Empty means none.
pub(crate) fn tag(text: String) -> Bounded<Option<String>> {
    line(text, NAME_CHARS_MAX).map(filled)
}

/// A description. Empty means none.
pub(crate) fn description(text: String) -> Bounded<Option<String>> {
    paragraph(text, DESCRIPTION_CHARS_MAX).map(filled)
}

/// The reason of a revocation. Empty means none.
pub(crate) fn reason(text: String) -> Bounded<Option<String>> {
    paragraph(text, REASON_CHARS_MAX).map(filled)
}

/// A slug that refers to something. Empty means none.
pub(crate) fn slug_or_none(text: String) -> Bounded<Option<String>> {
    if text.is_empty() {
        Ok(None)
    } else {
        slug(text).map(Some)
    }
}

fn filled(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

fn line(text: String, chars_max: usize) -> Bounded<String> {
    if text.chars().any(char::is_control) {
        return Err(Broken::whole("must not contain control characters"));
    }
    at_most(text, chars_max)
}

fn paragraph(text: String, chars_max: usize) -> Bounded<String> {
    if text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
        return Err(Broken::whole(
            "must not contain control characters other than line breaks and tabs",
        ));
    }
    at_most(text, chars_max)
}

fn at_most(text: String, chars_max: usize) -> Bounded<String> {
    if text.chars().count() > chars_max {
        return Err(Broken::whole(format!("must be at most {chars_max} characters long")));
    }
    Ok(text)
}

/// The permissions of an app. Repeated ones are kept once.
pub(crate) fn permissions(list: Vec<String>) -> Bounded<Vec<String>> {
    entries(list, |permission| {
        if permission.is_empty() || permission.chars().count() > PERMISSION_CHARS_MAX {
            return Some(format!("must be 1 to {PERMISSION_CHARS_MAX} characters long"));
        }
        let separators = |c: char| c.is_whitespace() || c.is_control() || matches!(c, ',' | '(' | ')');
        if permission.contains(separators) {
            return Some("must not contain spaces, control characters, commas or parentheses".to_owned());
        }
        // What an expression cannot name could never be asked for.
        let is_one_name = permission.parse::<PermissionExpression>().is_ok_and(|expression| {
            let mut names = expression.names();
            names.next() == Some(permission) && names.next().is_none()
        });
        (!is_one_name).then(|| "must not be a word of permission expressions (AND, OR)".to_owned())
    })
}

/// The permissions of a key: those travel to the upstream in one header.
pub(crate) fn key_permissions(list: Vec<String>) -> Bounded<Vec<String>> {
    let list = permissions(list)?;
    let bytes = |text: &String| {
        text.chars()
            .map(|c| if c.is_ascii() { 1 } else { 3 * c.len_utf8() })
            .sum::<usize>()
            + 1
    };
    if list.iter().map(bytes).sum::<usize>() > PERMISSIONS_HEADER_BYTES_MAX {
        return Err(Broken::whole(format!(
            "must be at most {PERMISSIONS_HEADER_BYTES_MAX} bytes long when joined, as they travel in one header"
        )));
    }
    Ok(list)
}

/// The resource patterns of an app: paths, exact, `*`, or ending in `/*`.
pub(crate) fn resources(list: Vec<String>) -> Bounded<Vec<String>> {
    entries(list, |pattern| {
        if pattern.is_empty() || pattern.chars().count() > RESOURCE_CHARS_MAX {
            return Some(format!("must be 1 to {RESOURCE_CHARS_MAX} characters long"));
        }
        if pattern.starts_with("//") {
            return Some("must not start with an empty segment".to_owned());
        }
        if pattern
            .chars()
            .any(|c| c.is_whitespace() || c.is_control() || matches!(c, '?' | '#'))
        {
            return Some("must be a path, without spaces, control characters, query or fragment".to_owned());
        }
        let fixed = if pattern == "*" {
            ""
        } else {
            pattern.strip_suffix("/*").unwrap_or(pattern)
        };
        fixed
            .contains('*')
            .then(|| "may hold * only alone or as its last segment".to_owned())
    })
}

fn entries(list: Vec<String>, fault_of: impl Fn(&str) -> Option<String>) -> Bounded<Vec<String>> {
    if list.len() > LIST_ENTRIES_MAX {
        return Err(Broken::whole(format!("must have at most {LIST_ENTRIES_MAX} entries")));
    }
    let broken: Vec<Broken> = list
        .iter()
        .enumerate()
        .filter_map(|(index, entry)| fault_of(entry).map(|what| Broken::entry(index, what)))
        .collect();
    if !broken.is_empty() {
        return Err(broken);
    }
    let mut kept: Vec<String> = Vec::with_capacity(list.len());
    let mut seen = std::collections::HashSet::with_capacity(list.len());
    kept.extend(list.into_iter().filter(|entry| seen.insert(entry.clone())));
    Ok(kept)
}

/// The metadata of a key.
pub(crate) fn metadata(object: JsonObject) -> Bounded<JsonObject> {
    let text = serde_json::to_string(&object).unwrap_or_default();
    // As ASCII JSON, each UTF-16 unit of a character beyond ASCII is written `\uXXXX`.
    let bytes: usize = text
        .chars()
        .map(|c| if c.is_ascii() { 1 } else { 6 * c.len_utf16() })
        .sum();
    if bytes > METADATA_BYTES_MAX {
        return Err(Broken::whole(format!(
            "must be at most {METADATA_BYTES_MAX} bytes long as ASCII JSON"
        )));
    }
    Ok(object)
}

/// A time after `now`, cut to microseconds as the store keeps it. Empty means none.
///
/// 9999-12-31T23:59:59Z, which many write for "never", is past the last time that can be counted, and means that one.
pub(crate) fn future_time(text: &str, now: Timestamp) -> Bounded<Option<Timestamp>> {
    if text.is_empty() {
        return Ok(None);
    }
    let last = Timestamp::MAX.as_second();
    let time = match text.parse::<Timestamp>() {
        Ok(time) if time.as_second() < last => Timestamp::from_microsecond(time.as_microsecond()).ok(),
        Ok(_) => Timestamp::from_second(last).ok(),
        Err(_) if is_past_the_last_time(text) => Timestamp::from_second(last).ok(),
        Err(_) => None,
    };
    match time {
        None => Err(Broken::whole(
            "must be a time as in RFC 3339, such as 2030-01-31T12:00:00Z",
        )),
        Some(time) if time <= now => Err(Broken::whole("must be in the future")),
        Some(time) => Ok(Some(time)),
    }
}

/// Whether this is a whole RFC 3339 time on one of the days that [`Timestamp`] ends in.
fn is_past_the_last_time(text: &str) -> bool {
    Pieces::parse(text).is_ok_and(|pieces| {
        let date = pieces.date();
        let is_whole = pieces.time().is_some() && pieces.to_numeric_offset().is_some();
        is_whole && (date.year(), date.month()) == (9999, 12) && date.day() >= 30
    })
}

/// How long a rotated secret lives on.
pub(crate) fn grace_period(seconds: i32) -> Bounded<std::time::Duration> {
    match u64::try_from(seconds) {
        Ok(in_range) if seconds <= GRACE_PERIOD_S_MAX => Ok(std::time::Duration::from_secs(in_range)),
        _ => Err(Broken::whole(format!(
            "must be between 0 and {GRACE_PERIOD_S_MAX} seconds (30 days)"
        ))),
    }
}

/// A key to ask about: anything but nothing.
pub(crate) fn presented_key(text: String) -> Bounded<String> {
    if text.is_empty() {
        Err(Broken::whole("must not be empty"))
    } else {
        Ok(text)
    }
}
