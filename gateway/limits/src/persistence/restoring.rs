//! Taking up counters that an earlier process wrote down.
//!
//! Decides which of them still count, and what becomes of those that there is no room for. A table is handed out only once every
//! byte was found to be as it was written.

use super::clock_identity::ClockIdentity;
use super::format::{Entry, FOOTER_BYTES, HEADER_BYTES, Header, RECORD_BYTES, Record, Unfit};
use super::passage::Passage;
use crate::table::{CounterTable, ShardIndex};
use crate::tally::Floor;
use portcullis_verify::Moment;
use std::io::Read;

/// Records read at once.
const RECORDS_PER_READ: usize = 512;

/// What came of the counters in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Taken {
    /// Went on counting by themselves, shared ones included.
    pub counters: u64,
    /// Became part of a shared counter of their rule, because the table holds fewer than the file.
    pub shared: u64,
    /// Were left out, because their window passed meanwhile.
    pub passed: u64,
    /// Microseconds from the saving to the restoring, as far as it is known.
    pub elapsed_us: u64,
}

/// A table of at most `own_max` counters with what `input`, which is `bytes` long, holds; at `now`, a reading of `clock`.
pub(crate) fn restore(
    input: &mut impl Read,
    bytes: u64,
    own_max: usize,
    clock: ClockIdentity,
    now: Moment,
) -> Result<(CounterTable, Taken), Unfit> {
    let mut hasher = blake3::Hasher::new();
    let mut header = Vec::new();
    input.take(as_u64(HEADER_BYTES)).read_to_end(&mut header)?;
    hasher.update(&header);
    let header = Header::from_bytes(&header)?;
    let records = records_in(bytes).ok_or(Unfit::Length { bytes })?;

    let mut restoring = Restoring {
        table: CounterTable::with_hasher(own_max, header.hasher),
        passage: Passage::since(&header, clock, now),
        taken: Taken::default(),
        now,
    };
    restoring.taken.elapsed_us = restoring.passage.elapsed_us;
    let mut chunk = vec![0; RECORDS_PER_READ * RECORD_BYTES];
    let mut record = 0;
    while record < records {
        let count = usize::try_from(records - record)
            .unwrap_or(usize::MAX)
            .min(RECORDS_PER_READ);
        let chunk = &mut chunk[..count * RECORD_BYTES];
        input.read_exact(chunk)?;
        hasher.update(chunk);
        for bytes in chunk.chunks_exact(RECORD_BYTES) {
            let taken = Record::from_bytes(bytes).and_then(|record| restoring.take(&record));
            taken.ok_or(Unfit::Record { record })?;
            record += 1;
        }
    }
    let mut footer = [0; FOOTER_BYTES];
    input.read_exact(&mut footer)?;
    let (count, checksum) = footer.split_at(size_of::<u64>());
    hasher.update(count);
    if hasher.finalize().as_bytes() != checksum || count != records.to_le_bytes() {
        return Err(Unfit::Checksum);
    }
    Ok((restoring.table, restoring.taken))
}

struct Restoring {
    table: CounterTable,
    passage: Passage,
    taken: Taken,
    now: Moment,
}

impl Restoring {
    /// Takes up one record; `None` when it belongs elsewhere.
    fn take(&mut self, record: &Record) -> Option<()> {
        let index = ShardIndex::of_number(record.shard)?;
        match &record.entry {
            Entry::Floor(floor) => {
                let floor = Floor {
                    rolling_us: self.passage.carry_us(floor.rolling_us).min(self.now.monotonic_us),
                    calendar: floor.calendar.map(|at| Moment {
                        monotonic_us: self.passage.carry_us(at.monotonic_us),
                        wall_us: at.wall_us,
                    }),
                };
                self.table.lock(index).set_floor(floor);
            }
            Entry::Counter(subject, tally) => {
                if !self.table.counts(index, subject) {
                    return None;
                }
                let tally = tally.moved(self.passage.by_us);
                if tally.is_idle(self.now) {
                    self.table.lock(index).raise_floor(&tally, self.now);
                    self.taken.passed += 1;
                } else if self.table.restore(index, subject, &tally, self.now) {
                    self.taken.counters += 1;
                } else {
                    self.taken.shared += 1;
                }
            }
        }
        Some(())
    }
}

/// How many records a file of this length holds; `None` when it does not end where one does.
fn records_in(bytes: u64) -> Option<u64> {
    let body = bytes.checked_sub(as_u64(HEADER_BYTES + FOOTER_BYTES))?;
    let size = as_u64(RECORD_BYTES);
    body.is_multiple_of(size).then_some(body / size)
}

fn as_u64(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
