//! Whether a request's body comes fast enough, taken over all of it.
//!
//! A bound on silence alone lets one byte now and then hold a connection for ever. It knows bytes and time, no HTTP;
//! [`crate::flow`] asks it at every piece of a body.

use crate::flow::between;
use portcullis_config::settings;
use portcullis_verify::Moment;
use std::time::Duration;

#[cfg(test)]
mod tests;

/// How fast bodies have to be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// How much later than at the least rate a byte may be: as long as a silence may last.
    patience: Duration,
    /// Bytes per second; 0 is any pace.
    rate_min: u64,
}

impl From<&settings::Gateway> for Pace {
    fn from(gateway: &settings::Gateway) -> Pace {
        Pace {
            patience: gateway.body_timeout,
            rate_min: gateway.body_rate_min,
        }
    }
}

impl Pace {
    /// Whether a body that began at `since` and has brought `bytes` so far is fast enough at `now`.
    pub(crate) fn is_kept(&self, since: Moment, bytes: u64, now: Moment) -> bool {
        let late = between(since, now).saturating_sub(self.patience);
        let due = late.as_micros().saturating_mul(u128::from(self.rate_min)) / 1_000_000;
        u128::from(bytes) >= due
    }
}
