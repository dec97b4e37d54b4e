//! Spells who a key belongs to as `X-Wacht-*` headers, and knows every spelling under which a stranger might forge one.
//!
//! It reads a [`StoredKey`] and nothing else: no request, no route, no secret.
//! The proxy sets these on the upstream request, the decision API hands them to its caller.

use http::{HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use portcullis_verify::StoredKey;
use std::borrow::Cow;
use std::fmt::Write;

#[cfg(test)]
mod tests;

/// Longest metadata sent, in bytes of ASCII JSON; longer ones are left out, never cut.
pub const METADATA_BYTES_MAX: usize = 4096;

const KEY_ID: HeaderName = HeaderName::from_static("x-wacht-key-id");
const DEPLOYMENT_ID: HeaderName = HeaderName::from_static("x-wacht-deployment-id");
const APP_SLUG: HeaderName = HeaderName::from_static("x-wacht-app-slug");
const KEY_NAME: HeaderName = HeaderName::from_static("x-wacht-key-name");
const OWNER_USER_ID: HeaderName = HeaderName::from_static("x-wacht-owner-user-id");
const ORGANIZATION_ID: HeaderName = HeaderName::from_static("x-wacht-organization-id");
const WORKSPACE_ID: HeaderName = HeaderName::from_static("x-wacht-workspace-id");
const PERMISSIONS: HeaderName = HeaderName::from_static("x-wacht-permissions");
const METADATA: HeaderName = HeaderName::from_static("x-wacht-metadata");

/// Controls, and the percent sign itself, so that decoding gives back exactly what was stored.
const TEXT: &AsciiSet = &CONTROLS.add(b'%');
/// The comma too, so that no permission can pass for two.
const LIST_ENTRY: &AsciiSet = &TEXT.add(b',');

/// The identity headers of a key, computed once and kept beside it.
///
/// Ids that are not set are left out. Permissions and metadata are always sent, as an empty value and as `{}` where there
/// are none: behind a server that copies these headers from a decision, a missing one would let the client's own through.
#[must_use]
pub fn of(key: &StoredKey) -> &[(HeaderName, HeaderValue)] {
    let compiled = key.identity_view.get_or_init(|| Compiled::from(key));
    compiled.map_or(&[], |compiled| &compiled.0)
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

struct Compiled(Box<[(HeaderName, HeaderValue)]>);

impl From<&StoredKey> for Compiled {
    fn from(key: &StoredKey) -> Compiled {
        let permissions: Vec<_> = key
            .permissions
            .iter()
            .map(|permission| encoded(permission, LIST_ENTRY))
            .collect();
        let fields = [
            (KEY_ID, Some(key.key_id.to_string())),
            (DEPLOYMENT_ID, Some(key.deployment_id.to_string())),
            (APP_SLUG, Some(encoded(&key.app.slug, TEXT))),
            (KEY_NAME, Some(encoded(&key.name, TEXT))),
            (OWNER_USER_ID, key.owner_user_id.map(|id| id.to_string())),
            (ORGANIZATION_ID, key.organization_id.map(|id| id.to_string())),
            (WORKSPACE_ID, key.workspace_id.map(|id| id.to_string())),
            (PERMISSIONS, Some(permissions.join(","))),
            (METADATA, metadata(key)),
        ];
        let headers = fields.into_iter().filter_map(|(name, text)| {
            // Nothing is left in these texts that a header value refuses.
            Some((name, HeaderValue::try_from(text?).ok()?))
        });
        Compiled(headers.collect())
    }
}

/// The text with its controls, its non-ASCII characters and the set's own escaped; spaces at its ends too, because a
/// header's receiver drops those.
fn encoded(text: &str, set: &'static AsciiSet) -> String {
    let body = text.trim_matches(' ');
    if body.len() == text.len() {
        return Cow::from(utf8_percent_encode(text, set)).into_owned();
    }
    let leading = text.len() - text.trim_start_matches(' ').len();
    let trailing = text.len() - leading - body.len();
    format!(
        "{}{}{}",
        "%20".repeat(leading),
        utf8_percent_encode(body, set),
        "%20".repeat(trailing)
    )
}

/// The metadata as JSON that needs no byte above `0x7e`, or `None` when it is too long.
fn metadata(key: &StoredKey) -> Option<String> {
    let json = serde_json::to_string(&key.metadata).ok()?;
    let mut ascii = String::with_capacity(json.len());
    for character in json.chars() {
        if matches!(character, ' '..='~') {
            ascii.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                write!(ascii, "\\u{unit:04x}").ok()?;
            }
        }
        if ascii.len() > METADATA_BYTES_MAX {
            return None;
        }
    }
    Some(ascii)
}
