//! Strict sliding windows: the decimated log, calendar periods, all-or-none charging.
//!
//! It decides whether the rules of a key have room for one more request, and counts it. It knows nothing of keys' rights,
//! of HTTP, or of where rules come from. The engine calls it last, through [`portcullis_verify::Limiter`].

mod local;

mod plan;

mod subject;

mod at_once;

mod charging;

mod usage;

mod persistence;

mod table;

mod shard;

mod tally;

mod quota;

mod log_table;

mod stamp_store;

mod decimated_log;

mod layout;

mod calendar;

mod sync;

#[cfg(test)]
mod proof;

pub use local::{LimiterSettings, LimiterStats, LocalLimiter};
pub use persistence::{CountersFile, CountersFileError, Restored, Taken, Unfit};
pub use usage::{CounterUsage, RuleUsage, Whose};
