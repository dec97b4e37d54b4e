//! What keys were used for: counts by key, minute and outcome, and the batches they are reported in.
//!
//! Knows nothing of where a batch goes, of HTTP or of SQL; never holds a secret, an address or a path.
//! The proxy and the decision API note, a reporter sends, the control API and the store take the same rows.

mod cell;
mod ledger;
mod meter;
mod reporter;
mod sink;
#[cfg(test)]
mod stored_keys;
mod tally;

pub use meter::{METER_ROWS_MAX, UsageMeter};
pub use reporter::{BATCHES_MAX, ReporterParts, UsageReporter};
pub use sink::{SinkError, UsageSink};

use portcullis_verify::KeyId;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// For how long a batch that was not answered may be sent again. Whoever records batches remembers their ids for longer.
pub const RESEND_TIME_MAX: Duration = Duration::from_secs(6 * 24 * 3_600);

/// Most rows in one [`UsageBatch`].
pub const USAGE_ROWS_MAX: usize = 5_000;

/// What keys were used for: counts, to be added up exactly once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UsageBatch {
    /// 32 hexadecimal digits. A batch with an id that was recorded before is not counted again.
    pub batch_id: String,
    /// At most [`USAGE_ROWS_MAX`].
    pub rows: Vec<UsageRow>,
}

/// Requests of one key in one minute that ended the same way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageRow {
    /// The key.
    pub key_id: KeyId,
    /// The minute, in whole minutes since the Unix epoch.
    pub minute: i64,
    /// How they ended.
    pub outcome: UsageOutcome,
    /// How many.
    pub count: u64,
    /// Microseconds since the Unix epoch of the last of them.
    pub last_at_us: i64,
}

/// How a request with a known key ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UsageOutcome {
    /// It passed.
    Allowed,
    /// This rule had no room.
    RateLimited(String),
    /// It was denied for this reason, as [`portcullis_verify::DenialReason::name`] calls it.
    Denied(String),
}

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// False: it had been recorded before.
    pub is_new: bool,
}
