//! How far this process has followed its control plane, as metrics.
//!
//! Knows nothing of how the change log is followed; the admin listener copies the state in at scrape time.

use super::{Registration, raise_to, set};
use portcullis_verify::Standing;
use prometheus::{Error, Gauge, IntCounter, IntGauge};
use std::time::Duration;

/// How far the change log was followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SyncTotals {
    /// The revision up to which every change was applied; 0 before the first news.
    pub applied_revision: u64,
    /// How long ago this process last knew that it was up to date. `None`: never yet.
    pub staleness: Option<Duration>,
    /// What may be decided by what is held.
    pub standing: Standing,
    /// Whether news come in now.
    pub is_following: bool,
    /// Times that the connection for news was made anew, since the start.
    pub reconnects: u64,
}

#[derive(Debug)]
pub(super) struct SyncMetrics {
    applied_revision: IntGauge,
    staleness_seconds: Gauge,
    refusing: IntGauge,
    following: IntGauge,
    reconnects: IntCounter,
}

impl SyncMetrics {
    pub(super) fn new(register: &Registration<'_>) -> Result<SyncMetrics, Error> {
        Ok(SyncMetrics {
            applied_revision: register.gauge(
                "portcullis_sync_applied_revision",
                "Revision of the change log up to which every change holds here.",
            )?,
            staleness_seconds: register.add(Gauge::new(
                "portcullis_sync_staleness_seconds",
                "How long ago this process last knew that it was up to date; +Inf if it never was.",
            )?)?,
            refusing: register.gauge(
                "portcullis_sync_refusing",
                "1 while nothing is decided because the last news are older than gateway.stale_max.",
            )?,
            following: register.gauge("portcullis_sync_following", "1 while the change log can be followed.")?,
            reconnects: register.counter(
                "portcullis_sync_reconnects_total",
                "Times that the connection to the control API was lost and made anew.",
            )?,
        })
    }

    pub(super) fn observe(&self, totals: &SyncTotals) {
        set(&self.applied_revision, totals.applied_revision);
        self.staleness_seconds
            .set(totals.staleness.map_or(f64::INFINITY, |age| age.as_secs_f64()));
        self.refusing.set(i64::from(totals.standing == Standing::TooStale));
        self.following.set(i64::from(totals.is_following));
        raise_to(&self.reconnects, totals.reconnects);
    }
}
