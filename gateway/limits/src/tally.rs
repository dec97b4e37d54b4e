//! What one counter has admitted, under whatever quota it was last charged with.
//!
//! Decides how admissions survive an edit of their rule: what is remembered is replayed into the new shape. Knows no subject
//! and no lock; shards hand it about when a counter changes its shape or its place.

use crate::calendar::{CalendarCount, PERIOD_US_MAX};
use crate::decimated_log::{Batches, DecimatedLog, Standing};
use crate::quota::Quota;
use portcullis_verify::Moment;

mod carried;

/// Admissions, in the shape of a quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tally {
    /// Under a rolling window.
    Rolling(DecimatedLog),
    /// Under a calendar period.
    Calendar(CalendarCount),
}

/// The times up to which counters were forgotten. A counter that begins again must not begin before that.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Floor {
    /// Of counters over rolling windows, monotonic.
    pub(crate) rolling_us: u64,
    /// Of counters over calendar periods.
    pub(crate) calendar: Option<Moment>,
}

impl Floor {
    /// Notes that `tally`, which nothing is lost with, is forgotten at `now`.
    pub(crate) fn raise(&mut self, tally: &Tally, now: Moment) {
        match tally {
            Tally::Rolling(..) => self.rolling_us = self.rolling_us.max(now.monotonic_us),
            Tally::Calendar(_) => {
                // A wall clock that stepped back lowers nothing, until the longest period has passed: see `CalendarCount`.
                let stands = |floor: Moment| {
                    now.wall_us < floor.wall_us && now.monotonic_us < floor.monotonic_us.saturating_add(PERIOD_US_MAX)
                };
                if !self.calendar.is_some_and(stands) {
                    self.calendar = Some(now);
                }
            }
        }
    }
}

impl Tally {
    /// A tally that has admitted nothing.
    pub(crate) fn fresh(quota: &Quota, floor: &Floor) -> Tally {
        match *quota {
            Quota::Rolling(layout) => Tally::Rolling(DecimatedLog::starting_at(&layout, floor.rolling_us)),
            Quota::Calendar { period, .. } => Tally::Calendar(
                floor
                    .calendar
                    .map_or_else(|| CalendarCount::new(period), |at| CalendarCount::entered(period, at)),
            ),
        }
    }

    /// Whether it is in the shape of `quota`.
    pub(crate) fn fits(&self, quota: &Quota) -> bool {
        match (self, quota) {
            (Tally::Rolling(log), Quota::Rolling(layout)) => log.head.fits(layout),
            (Tally::Calendar(count), Quota::Calendar { period, .. }) => count.period() == *period,
            _ => false,
        }
    }

    /// The same admissions in the shape of `quota`.
    #[cold]
    pub(crate) fn reshaped(&self, quota: &Quota, now: Moment) -> Tally {
        if self.fits(quota) {
            return *self;
        }
        let batches = self.batches();
        match *quota {
            Quota::Rolling(layout) => Tally::Rolling(DecimatedLog::replay(&layout, &batches, now.monotonic_us)),
            Quota::Calendar { period, .. } => Tally::Calendar(CalendarCount::replay(period, &batches, now)),
        }
    }

    fn batches(&self) -> Batches {
        match self {
            Tally::Rolling(log) => log.head.batches(&log.stamps, &log.head.layout()),
            Tally::Calendar(count) => count.batches(),
        }
    }

    /// Microseconds until `quota` has room for one more request; `None` when it has room now.
    pub(crate) fn wait_us(&self, quota: &Quota, now: Moment) -> Option<u64> {
        match self.reshaped(quota, now) {
            Tally::Calendar(count) => count.wait_us(quota.limit(), now),
            Tally::Rolling(_) => {
                let standing = self.standing(quota, now);
                (standing.remaining == 0).then_some(standing.grows_in_us)
            }
        }
    }

    /// Where `quota` stands.
    pub(crate) fn standing(&self, quota: &Quota, now: Moment) -> Standing {
        match (self.reshaped(quota, now), quota) {
            (Tally::Rolling(log), Quota::Rolling(layout)) => {
                let standing = log.head.standing(&log.stamps, layout, now.monotonic_us);
                if self.fits(quota) {
                    return standing;
                }
                // Until an admission makes the new shape last, every look replays anew.
                Standing {
                    grows_in_us: DecimatedLog::replay_grows_in_us(layout, &self.batches(), now.monotonic_us),
                    ..standing
                }
            }
            (Tally::Calendar(count), quota) => count.standing(quota.limit(), now),
            // A tally that was reshaped to a calendar quota is no log.
            (Tally::Rolling(_), Quota::Calendar { limit, .. }) => Standing {
                remaining: *limit,
                grows_in_us: 0,
            },
        }
    }

    /// Whether forgetting it loses nothing.
    pub(crate) fn is_idle(&self, now: Moment) -> bool {
        match self {
            Tally::Rolling(log) => log.head.is_idle(&log.head.layout(), now.monotonic_us),
            Tally::Calendar(count) => count.is_over(now),
        }
    }

    /// Counts an admission for which [`Tally::wait_us`] said there is room, and tells where `quota` then stands.
    #[cfg(test)]
    pub(crate) fn admit(&mut self, quota: &Quota, now: Moment) -> Standing {
        *self = self.reshaped(quota, now);
        match self {
            Tally::Rolling(log) => log.head.admit(&mut log.stamps, &log.head.layout(), now.monotonic_us),
            Tally::Calendar(count) => count.admit(quota.limit(), now),
        }
    }
}

#[cfg(test)]
mod tests;
