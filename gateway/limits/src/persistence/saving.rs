//! Writing counters down, shard by shard.
//!
//! Decides which counters are worth a record: those over long windows that are not idle. A shard is locked while its counters
//! are copied, never while bytes are hashed or written, so that no request waits for a disk.

use super::clock_identity::ClockIdentity;
use super::format::{Entry, Header, Record};
use crate::subject::Subject;
use crate::table::{CounterTable, SHARDS_PER_KIND};
use crate::tally::Tally;
use portcullis_verify::Moment;
use std::io::{self, Write};

/// Writes what `table` holds at `now`, a reading of `clock`, and answers how many counters that were.
///
/// The shards are copied one after the other: a request that is charged meanwhile may be in one of its counters and not in
/// another. Each counter by itself is as it stood at some time since `now`.
pub(crate) fn save(table: &CounterTable, clock: ClockIdentity, now: Moment, out: &mut impl Write) -> io::Result<u64> {
    let mut hasher = blake3::Hasher::new();
    let mut put = |bytes: &[u8]| {
        hasher.update(bytes);
        out.write_all(bytes)
    };
    let header = Header {
        clock,
        saved: now,
        hasher: *table.hasher(),
    };
    put(&header.to_bytes())?;
    let (mut records, mut counters): (u64, u64) = (0, 0);
    let mut bytes = Vec::new();
    // Taken before any lock is: enough for a shard, even if all subjects are of one kind.
    let per_shard = usize::try_from(table.counters()).unwrap_or(0) / (SHARDS_PER_KIND / 2);
    let mut tallies: Vec<(Subject, Tally)> = Vec::with_capacity(per_shard);
    for (shard, number) in table.shards().zip(0_u16..) {
        tallies.clear();
        tallies.extend(shard.tallies().filter(|(_, tally)| tally.is_long()));
        let mut floor = shard.floor();
        drop(shard);

        bytes.clear();
        // What is left out is forgotten.
        let idle = tallies.iter().filter(|(_, tally)| tally.is_idle(now));
        idle.for_each(|(_, tally)| floor.raise(tally, now));
        if !floor.is_none() {
            let entry = Entry::Floor(floor);
            Record { shard: number, entry }.put(&mut bytes);
            records += 1;
        }
        for (subject, tally) in tallies.iter().filter(|(_, tally)| !tally.is_idle(now)) {
            let entry = Entry::Counter(*subject, *tally);
            Record { shard: number, entry }.put(&mut bytes);
            records += 1;
            counters += 1;
        }
        put(&bytes)?;
    }
    put(&records.to_le_bytes())?;
    out.write_all(hasher.finalize().as_bytes())?;
    Ok(counters)
}
