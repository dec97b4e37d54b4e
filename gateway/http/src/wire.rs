//! Spells single things as bytes: numbers, text in JSON, text that may need escaping.
//!
//! Knows no header and no answer. What it spells every day needs no memory of its own.
//! The modules that write header lines and whole answers call it.

use std::borrow::Cow;

/// Appends a whole number in decimal.
#[inline]
pub(crate) fn number(out: &mut Vec<u8>, number: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// A set of bytes. Texts are short: a look at a table for each byte is quicker than what needs sixteen of them to begin.
pub(crate) struct ByteSet([bool; 256]);

impl ByteSet {
    /// What is no visible ASCII and no space.
    pub(crate) const CONTROLS_AND_NOT_ASCII: ByteSet = ByteSet([true; 256]).without(b' ', b'~');

    /// The same set with these bytes in it.
    pub(crate) const fn with(mut self, bytes: &[u8]) -> ByteSet {
        let mut at = 0;
        while at < bytes.len() {
            self.0[bytes[at] as usize] = true;
            at += 1;
        }
        self
    }

    /// The same set without the bytes from `first` to `last`.
    pub(crate) const fn without(mut self, first: u8, last: u8) -> ByteSet {
        let mut at = first as usize;
        while at <= last as usize {
            self.0[at] = false;
            at += 1;
        }
        self
    }

    /// Whether any of the bytes is in the set.
    #[inline]
    pub(crate) fn meets(&self, bytes: &[u8]) -> bool {
        bytes
            .iter()
            .fold(false, |found, byte| found | self.0[usize::from(*byte)])
    }
}

/// What JSON escapes.
const ODD_IN_JSON: ByteSet = ByteSet([false; 256])
    .with(b"\"\\")
    .with(b"\0\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f")
    .with(b"\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f");

/// What stands between the quotes of a JSON string. Borrowed when nothing in it needs escaping.
#[inline]
pub(crate) fn json_text(text: &str) -> Cow<'_, str> {
    if ODD_IN_JSON.meets(text.as_bytes()) {
        escaped(text)
    } else {
        Cow::Borrowed(text)
    }
}

#[cold]
fn escaped(text: &str) -> Cow<'_, str> {
    let quoted = serde_json::to_string(text).unwrap_or_default();
    let inner = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    Cow::Owned(inner.unwrap_or_default().to_owned())
}
