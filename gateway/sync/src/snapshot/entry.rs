//! What stands in the frames of a snapshot.
//!
//! Shapes and their bytes: numbers are little-endian, everything else is JSON, of which unknown fields are ignored. Never a secret:
//! keys are there by their hashes. What follows from an entry is decided where it is read.

use super::boot::Boot;
use crate::message::{Changes, Touches};
use portcullis_verify::{AppId, DeploymentId, KeyHash, KeyRecord, Moment, SchemeId, Version};
use serde::{Deserialize, Serialize};

/// Whose keys these are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Origin {
    /// Which gateway token they were read with: a hash of it.
    pub(super) scope: String,
    pub(super) deployment_id: DeploymentId,
    pub(super) deployment_name: String,
    /// As [`crate::message::Welcome::apps`].
    pub(super) apps: Vec<String>,
}

/// When everything was known to have been heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FreshAt {
    /// What had been applied then.
    pub(super) version: Version,
    /// Which clock the monotonic time is of.
    pub(super) boot: Boot,
    pub(super) time: Moment,
}

/// Changes that were applied before a base was written, for what is told late.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct FenceList {
    /// What was read before this revision is outdated.
    pub(super) floor: u64,
    /// What was read before its change is, too.
    pub(super) changes: Vec<(u64, Touches)>,
}

/// What of a key's frame is looked at without reading the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PutHead {
    pub(super) hash: KeyHash,
    pub(super) as_of: Version,
    pub(super) app: AppId,
    pub(super) scheme: Option<SchemeId>,
}

/// An entry that was read.
#[derive(Debug)]
pub(super) enum Entry {
    Origin(Origin),
    /// The changes that were applied when the base was written.
    Position(Version),
    Fences(FenceList),
    Fresh(FreshAt),
    /// The record is left as it is in the frame.
    Put(PutHead),
    Changes(Changes),
    Reset(Version),
    /// A base ends here, after so many keys.
    End(u64),
}

pub(super) const ORIGIN: u8 = 1;
pub(super) const POSITION: u8 = 2;
pub(super) const FENCES: u8 = 3;
pub(super) const FRESH: u8 = 4;
pub(super) const PUT: u8 = 5;
pub(super) const CHANGES: u8 = 6;
pub(super) const RESET: u8 = 7;
pub(super) const END: u8 = 8;

/// Of these it is promised to nobody that they are safe, and losing the last of them brings nothing back.
pub(super) const UNSAFE: &[u8] = &[FRESH, PUT];

const PUT_HEAD_BYTES: usize = 32 + 8 + 8 + 8 + 1 + 8;
const AS_OF: std::ops::Range<usize> = 32..48;

impl Entry {
    /// The entry in a frame; `None` when it makes no sense.
    pub(super) fn read(kind: u8, bytes: &[u8]) -> Option<Entry> {
        let mut fields = Fields(bytes);
        Some(match kind {
            ORIGIN => Entry::Origin(serde_json::from_slice(bytes).ok()?),
            POSITION => Entry::Position(fields.version()?),
            FENCES => Entry::Fences(serde_json::from_slice(bytes).ok()?),
            FRESH => Entry::Fresh(FreshAt {
                version: fields.version()?,
                boot: Boot(fields.bytes()?),
                time: Moment {
                    monotonic_us: fields.u64()?,
                    wall_us: i64::from_le_bytes(fields.bytes()?),
                },
            }),
            PUT => Entry::Put(PutHead::read(&mut fields)?),
            CHANGES => Entry::Changes(serde_json::from_slice(bytes).ok()?),
            RESET => Entry::Reset(fields.version()?),
            END => Entry::End(fields.u64()?),
            _ => return None,
        })
    }
}

impl PutHead {
    fn read(fields: &mut Fields<'_>) -> Option<PutHead> {
        let hash = KeyHash(fields.bytes()?);
        let as_of = fields.version()?;
        let app = AppId(i64::from_le_bytes(fields.bytes()?));
        let [has_scheme] = fields.bytes()?;
        let scheme = SchemeId(i64::from_le_bytes(fields.bytes()?));
        Some(PutHead {
            hash,
            as_of,
            app,
            scheme: (has_scheme != 0).then_some(scheme),
        })
    }
}

/// The bytes of a key's entry; `None` if it cannot be written as JSON.
pub(super) fn put_bytes(hash: &KeyHash, as_of: Version, record: &KeyRecord) -> Option<Vec<u8>> {
    let scheme = record.scheme.as_ref().map(|scheme| scheme.id);
    let mut out = Vec::with_capacity(PUT_HEAD_BYTES + 512);
    out.extend(hash.0);
    out.extend(version_bytes(as_of));
    out.extend(record.app.id.0.to_le_bytes());
    out.push(u8::from(scheme.is_some()));
    out.extend(scheme.map_or(0, |scheme| scheme.0).to_le_bytes());
    serde_json::to_writer(&mut out, record).ok()?;
    Some(out)
}

/// The record of a key's entry; `None` when another version of Portcullis wrote it that knew other records.
pub(super) fn put_record(bytes: &[u8]) -> Option<KeyRecord> {
    serde_json::from_slice(bytes.get(PUT_HEAD_BYTES..)?).ok()
}

/// Writes over the version at which a key's entry was read.
pub(super) fn set_as_of(bytes: &mut [u8], as_of: Version) {
    if let Some(place) = bytes.get_mut(AS_OF) {
        place.copy_from_slice(&version_bytes(as_of));
    }
}

/// The bytes of [`Entry::Position`] and [`Entry::Reset`].
pub(super) fn version_bytes(version: Version) -> [u8; 16] {
    let mut out = [0; 16];
    out[..8].copy_from_slice(&version.epoch.to_le_bytes());
    out[8..].copy_from_slice(&version.revision.to_le_bytes());
    out
}

/// The bytes of [`Entry::Fresh`].
pub(super) fn fresh_bytes(fresh: &FreshAt) -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    out.extend(version_bytes(fresh.version));
    out.extend(fresh.boot.0);
    out.extend(fresh.time.monotonic_us.to_le_bytes());
    out.extend(fresh.time.wall_us.to_le_bytes());
    out
}

/// What is left to read.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.bytes().map(u64::from_le_bytes)
    }

    fn version(&mut self) -> Option<Version> {
        Some(Version {
            epoch: self.u64()?,
            revision: self.u64()?,
        })
    }
}
