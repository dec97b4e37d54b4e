//! Counters of long windows that outlive the process, in a file.
//!
//! Decides what is saved, how it is laid out, and what a file that cannot be trusted means: nothing of it is used. Charges
//! nothing and reads no clock. Whoever runs the limiter restores it once at the start, then saves it on a timer and at the end.
//!
//! The file, all numbers little-endian: a header (magic, version, clock, both times, the keys of the hash), records of 136 bytes
//! (floors and counters, shard by shard), their count, and a BLAKE3 hash of all before it. What a record means depends on the
//! number of shards and on how subjects hash, so that a change of either is a new version.

mod clock_identity;

mod fields;

mod file;

mod format;

mod passage;

mod restoring;

mod saving;

pub use file::{CountersFile, CountersFileError, Restored};
pub use format::Unfit;
pub use restoring::Taken;

pub(crate) use fields::Fields;

#[cfg(test)]
mod tests;
