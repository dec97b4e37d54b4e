//! Spells single things as bytes: numbers, text in JSON.
//!
//! Knows no header and no answer. What it spells every day needs no memory of its own.
//! The modules that write header lines and whole answers call it.

use std::borrow::Cow;

/// Appends a whole number in decimal.
#[inline]
pub(crate) fn number(out: &mut Vec<u8>, number: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// What stands between the quotes of a JSON string. Borrowed when nothing in it needs escaping.
#[inline]
pub(crate) fn json_text(text: &str) -> Cow<'_, str> {
    // Without a branch a byte, so that it is done sixteen bytes at a time.
    let odd = text.bytes().fold(false, |found, byte| {
        found | (byte < b' ') | (byte == b'"') | (byte == b'\\')
    });
    if odd { escaped(text) } else { Cow::Borrowed(text) }
}

#[cold]
fn escaped(text: &str) -> Cow<'_, str> {
    let quoted = serde_json::to_string(text).unwrap_or_default();
    let inner = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    Cow::Owned(inner.unwrap_or_default().to_owned())
}
