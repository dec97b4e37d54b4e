//! How counters lie in a file, byte by byte.
//!
//! Decides which bytes are a header or a record that this version can go on with. Knows no file and no table; saving and
//! restoring call it.

use super::clock_identity::ClockIdentity;
use super::fields::Fields;
use crate::calendar::CalendarCount;
use crate::decimated_log::DecimatedLog;
use crate::subject::{RuleDigest, Subject, SubjectHasher};
use crate::tally::{Floor, Tally};
use portcullis_verify::Moment;

/// What every such file begins with.
const MAGIC: [u8; 16] = *b"portcullis.limit";

/// The version of the format, of the number of shards, and of the hash of subjects.
pub(crate) const VERSION: u32 = 3;

/// Magic, version, clock, two times, two keys.
pub(crate) const HEADER_BYTES: usize = 16 + 4 + 32 + 8 + 8 + 16;

/// One floor or one counter.
pub(crate) const RECORD_BYTES: usize = 128;

/// The count of the records, and the hash.
pub(crate) const FOOTER_BYTES: usize = 8 + blake3::OUT_LEN;

const FLOOR: u8 = 0;
const LOG: u8 = 1;
const CALENDAR: u8 = 2;

/// Why a file cannot be gone on with. None of its counters are used.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] std::io::Error),
    /// It is a folder, a pipe or the like.
    #[error("it is not a regular file")]
    NotAFile,
    /// It does not begin as such a file does.
    #[error("it is not a file of saved counters")]
    Foreign,
    /// A version of Portcullis wrote it that lays counters out in another way.
    #[error("it is of format {found}, and this version of Portcullis reads format {VERSION}")]
    OtherVersion {
        /// The format's version in the file.
        found: u32,
    },
    /// Its length is not that of a whole file.
    #[error("it is cut off or too long: {bytes} bytes")]
    Length {
        /// The file's length.
        bytes: u64,
    },
    /// No process ever writes such a record.
    #[error("record {record} of it makes no sense")]
    Record {
        /// Which, counted from 0.
        record: u64,
    },
    /// The bytes are not those that were written.
    #[error("its checksum does not match")]
    Checksum,
}

/// Everything that holds for all records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    /// The clock that the monotonic times were read from.
    pub(crate) clock: ClockIdentity,
    /// When saving began.
    pub(crate) saved: Moment,
    /// How subjects hash, which decides who shares a counter with whom.
    pub(crate) hasher: SubjectHasher,
}

/// One record.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record {
    /// The number of the shard.
    pub(crate) shard: u16,
    /// What of it.
    pub(crate) entry: Entry,
}

/// What a record holds.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Entry {
    /// Up to when the shard has forgotten counters.
    Floor(Floor),
    /// A counter of the shard.
    Counter(Subject, Tally),
}

impl Header {
    /// The header's bytes.
    pub(crate) fn to_bytes(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_BYTES);
        out.extend(MAGIC);
        out.extend(VERSION.to_le_bytes());
        out.extend(self.clock.0);
        put_moment(self.saved, &mut out);
        out.extend(self.hasher.keys().iter().flat_map(|key| key.to_le_bytes()));
        out
    }

    /// The header in these bytes.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Header, Unfit> {
        let mut fields = Fields(bytes);
        if fields.bytes() != Some(MAGIC) {
            return Err(Unfit::Foreign);
        }
        let found = fields.u32().ok_or(Unfit::Foreign)?;
        if found != VERSION {
            return Err(Unfit::OtherVersion { found });
        }
        Header::fields(&mut fields).ok_or(Unfit::Foreign)
    }

    fn fields(fields: &mut Fields<'_>) -> Option<Header> {
        Some(Header {
            clock: ClockIdentity(fields.bytes()?),
            saved: moment(fields)?,
            hasher: SubjectHasher::of_keys([fields.u64()?, fields.u64()?]),
        })
    }
}

impl Record {
    /// Appends the record's bytes.
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        let end = out.len() + RECORD_BYTES;
        out.extend(self.shard.to_le_bytes());
        match &self.entry {
            Entry::Floor(floor) => {
                put_kind(FLOOR, &Subject::default(), out);
                out.extend(floor.rolling_us.to_le_bytes());
                if let Some(at) = floor.calendar {
                    out.extend(1_u64.to_le_bytes());
                    put_moment(at, out);
                }
            }
            Entry::Counter(subject, Tally::Rolling(log)) => {
                put_kind(LOG, subject, out);
                log.put(out);
            }
            Entry::Counter(subject, Tally::Calendar(count)) => {
                put_kind(CALENDAR, subject, out);
                count.put(out);
            }
        }
        out.resize(end, 0);
    }

    /// The record in these bytes; `None` when nothing writes such a one.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Record> {
        let mut fields = Fields(bytes);
        let shard = fields.u16()?;
        let [kind, ..] = fields.bytes::<6>()?;
        let subject = Subject {
            rule: RuleDigest([fields.u64()?, fields.u64()?]),
            owner: fields.u64()?,
            network: fields.u64()?,
        };
        let entry = match kind {
            FLOOR => Entry::Floor(Floor {
                rolling_us: fields.u64()?,
                calendar: match fields.u64()? {
                    0 => None,
                    1 => Some(moment(&mut fields)?),
                    _ => return None,
                },
            }),
            LOG => Entry::Counter(subject, Tally::Rolling(DecimatedLog::take(&mut fields)?)),
            CALENDAR => Entry::Counter(subject, Tally::Calendar(CalendarCount::take(&mut fields)?)),
            _ => return None,
        };
        Some(Record { shard, entry })
    }
}

fn put_kind(kind: u8, subject: &Subject, out: &mut Vec<u8>) {
    out.extend([kind, 0, 0, 0, 0, 0]);
    let [low, high] = subject.rule.0;
    for number in [low, high, subject.owner, subject.network] {
        out.extend(number.to_le_bytes());
    }
}

fn put_moment(moment: Moment, out: &mut Vec<u8>) {
    out.extend(moment.monotonic_us.to_le_bytes());
    out.extend(moment.wall_us.to_le_bytes());
}

fn moment(fields: &mut Fields<'_>) -> Option<Moment> {
    Some(Moment {
        monotonic_us: fields.u64()?,
        wall_us: fields.i64()?,
    })
}
