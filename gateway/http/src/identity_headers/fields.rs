//! The fields of a key, each rendered as the text of its header.
//!
//! Decides the order and the escaping; text that needs none is copied. Knows neither header maps nor sockets.
//! Its parent makes headers or lines of what is rendered here.

use crate::wire::{ByteSet, number};
use http::HeaderName;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use portcullis_verify::StoredKey;
use serde::Serialize;
use serde_json::ser::Formatter;
use std::io;

use super::METADATA_BYTES_MAX;

/// Controls, and the percent sign itself, so that decoding gives back exactly what was stored.
const TEXT: &AsciiSet = &CONTROLS.add(b'%');
/// The comma too, so that no permission can pass for two.
const LIST_ENTRY: &AsciiSet = &TEXT.add(b',');

/// Every field, in the order in which they are sent.
pub(super) const FIELDS: [Field; 9] = [
    Field::KeyId,
    Field::DeploymentId,
    Field::AppSlug,
    Field::KeyName,
    Field::OwnerUserId,
    Field::OrganizationId,
    Field::WorkspaceId,
    Field::Permissions,
    Field::Metadata,
];

#[derive(Debug, Clone, Copy)]
pub(super) enum Field {
    KeyId,
    DeploymentId,
    AppSlug,
    KeyName,
    OwnerUserId,
    OrganizationId,
    WorkspaceId,
    Permissions,
    Metadata,
}

impl Field {
    pub(super) const fn name(self) -> HeaderName {
        HeaderName::from_static(match self {
            Field::KeyId => "x-wacht-key-id",
            Field::DeploymentId => "x-wacht-deployment-id",
            Field::AppSlug => "x-wacht-app-slug",
            Field::KeyName => "x-wacht-key-name",
            Field::OwnerUserId => "x-wacht-owner-user-id",
            Field::OrganizationId => "x-wacht-organization-id",
            Field::WorkspaceId => "x-wacht-workspace-id",
            Field::Permissions => "x-wacht-permissions",
            Field::Metadata => "x-wacht-metadata",
        })
    }

    /// The name, a colon and a space.
    #[inline(always)]
    pub(super) const fn line_start(self) -> &'static [u8] {
        match self {
            Field::KeyId => b"x-wacht-key-id: ",
            Field::DeploymentId => b"x-wacht-deployment-id: ",
            Field::AppSlug => b"x-wacht-app-slug: ",
            Field::KeyName => b"x-wacht-key-name: ",
            Field::OwnerUserId => b"x-wacht-owner-user-id: ",
            Field::OrganizationId => b"x-wacht-organization-id: ",
            Field::WorkspaceId => b"x-wacht-workspace-id: ",
            Field::Permissions => b"x-wacht-permissions: ",
            Field::Metadata => b"x-wacht-metadata: ",
        }
    }

    /// Appends the text of the header: visible ASCII and inner spaces. False: it is left out, and something may have been
    /// appended that must be taken off again.
    #[inline(always)]
    pub(super) fn render(self, key: &StoredKey, out: &mut Vec<u8>) -> bool {
        match self {
            Field::KeyId => number(out, key.key_id.0),
            Field::DeploymentId => number(out, key.deployment_id.0),
            Field::AppSlug => text(out, &key.app.slug, TEXT),
            Field::KeyName => text(out, &key.name, TEXT),
            Field::OwnerUserId => return id(out, key.owner_user_id()),
            Field::OrganizationId => return id(out, key.organization_id()),
            Field::WorkspaceId => return id(out, key.workspace_id()),
            Field::Permissions => {
                for (index, permission) in key.permissions.iter().enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    text(out, permission, LIST_ENTRY);
                }
            }
            Field::Metadata if key.metadata().is_empty() => out.extend_from_slice(b"{}"),
            Field::Metadata => return json(out, key.metadata()),
        }
        true
    }
}

#[inline]
fn id(out: &mut Vec<u8>, id: Option<i64>) -> bool {
    if let Some(id) = id {
        number(out, id);
    }
    id.is_some()
}

/// The text with its controls, its non-ASCII characters and the set's own escaped; spaces at its ends too, because a
/// header's receiver drops those.
#[inline]
fn text(out: &mut Vec<u8>, text: &str, set: &'static AsciiSet) {
    if is_plain(text) {
        out.extend_from_slice(text.as_bytes());
    } else {
        escaped(out, text, set);
    }
}

/// Whatever some set escapes.
const ODD: ByteSet = ByteSet::CONTROLS_AND_NOT_ASCII.with(b"%,");

/// Whether no set escapes any of it.
#[inline]
fn is_plain(text: &str) -> bool {
    !ODD.meets(text.as_bytes()) && !text.starts_with(' ') && !text.ends_with(' ')
}

#[cold]
fn escaped(out: &mut Vec<u8>, text: &str, set: &'static AsciiSet) {
    let body = text.trim_matches(' ');
    let leading = text.len() - text.trim_start_matches(' ').len();
    let trailing = text.len() - leading - body.len();
    for _ in 0..leading {
        out.extend_from_slice(b"%20");
    }
    for piece in utf8_percent_encode(body, set) {
        out.extend_from_slice(piece.as_bytes());
    }
    for _ in 0..trailing {
        out.extend_from_slice(b"%20");
    }
}

/// A value as JSON that needs no byte above `0x7e`. False when it is longer than [`METADATA_BYTES_MAX`].
fn json(out: &mut Vec<u8>, value: &impl Serialize) -> bool {
    let bounded = Bounded {
        out,
        left: METADATA_BYTES_MAX,
    };
    value
        .serialize(&mut serde_json::Serializer::with_formatter(bounded, Ascii))
        .is_ok()
}

/// A buffer that takes no more than so many bytes.
struct Bounded<'a> {
    out: &'a mut Vec<u8>,
    left: usize,
}

impl io::Write for Bounded<'_> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.left = self.left.checked_sub(bytes.len()).ok_or(io::ErrorKind::FileTooLarge)?;
        self.out.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// JSON without spaces, in which what is no visible ASCII is escaped.
struct Ascii;

impl Formatter for Ascii {
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut plain = 0;
        for (at, character) in fragment.char_indices().filter(|(_, c)| !matches!(c, ' '..='~')) {
            writer.write_all(fragment.get(plain..at).unwrap_or_default().as_bytes())?;
            for unit in character.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
            plain = at + character.len_utf8();
        }
        writer.write_all(fragment.get(plain..).unwrap_or_default().as_bytes())
    }
}
