//! Spells who a key belongs to as `X-Wacht-*` headers, and knows every spelling under which a stranger might forge one.
//!
//! It reads a [`StoredKey`] and nothing else: no request, no route, no secret.
//! The proxy sets these on the upstream request, the decision API hands them to its caller.

use http::{HeaderName, HeaderValue};
use portcullis_verify::StoredKey;

mod fields;
#[cfg(test)]
mod tests;

use fields::{FIELDS, Field};

/// Longest metadata sent, in bytes of ASCII JSON; longer ones are left out, never cut.
pub const METADATA_BYTES_MAX: usize = 4096;

/// Room for the lines of most keys.
const USUAL_BYTES: usize = 512;

/// The identity headers of a key.
///
/// Ids that are not set are left out. Permissions and metadata are always sent, as an empty value and as `{}` where there
/// are none: behind a server that copies these headers from a decision, a missing one would let the client's own through.
/// They are spelled anew each time: that costs less than a copy for every key that is held would take of memory.
#[must_use]
pub fn of(key: &StoredKey) -> Vec<(HeaderName, HeaderValue)> {
    let mut text = Vec::with_capacity(64);
    let mut headers = Vec::with_capacity(FIELDS.len());
    for field in FIELDS {
        text.clear();
        if field.render(key, &mut text) {
            // Nothing is left in these texts that a header value refuses.
            headers.extend(HeaderValue::from_bytes(&text).map(|value| (field.name(), value)));
        }
    }
    headers
}

/// Appends them as header lines, each with the end of its line. Allocates nothing beyond `out`.
pub fn write(key: &StoredKey, out: &mut Vec<u8>) {
    out.reserve(USUAL_BYTES);
    // One by one, so that each is compiled for what it is.
    let [a, b, c, d, e, f, g, h, i] = FIELDS;
    line(a, key, out);
    line(b, key, out);
    line(c, key, out);
    line(d, key, out);
    line(e, key, out);
    line(f, key, out);
    line(g, key, out);
    line(h, key, out);
    line(i, key, out);
}

#[inline(always)]
fn line(field: Field, key: &StoredKey, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(field.line_start());
    if field.render(key, out) {
        out.extend_from_slice(b"\r\n");
    } else {
        out.truncate(start);
    }
}

/// Whether a header name is ours to set, in any spelling that some server maps to the same variable: any case, and `_`,
/// `.` or any other character that is no letter or digit in the place of a dash (CVE-2025-64484, CVE-2026-88011).
#[must_use]
pub fn is_identity_header(name: &str) -> bool {
    const PREFIX: &[u8] = b"x-wacht-";
    name.len() >= PREFIX.len()
        && name.bytes().zip(PREFIX).all(|(byte, expected)| match expected {
            b'-' => !byte.is_ascii_alphanumeric(),
            letter => byte.eq_ignore_ascii_case(letter),
        })
}
