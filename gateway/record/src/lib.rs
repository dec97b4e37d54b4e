//! What is recorded of decisions.
//!
//! It counts and measures; it never delays, fails or changes a request, and never holds a key, an address or a path.
//! The proxy and the decision API record, the admin listener renders.

pub mod metrics;
pub mod usage;

mod label;

pub use metrics::{ConnectionGuard, InFlightGuard, LimitTotals, Metrics, Surface, SyncTotals, UsageTotals};
pub use prometheus::Error as MetricsError;
