//! What every request records: counts and times in cells of the thread that records, folded into the metrics when they are read.
//!
//! Decides which cells there are and which words they stand for; names and helps are the parent's. Knows no request.
//! [`super::Metrics`] records through it and has it folded before it renders.

use super::lane::{Here, Lanes, own};
use super::times::{DECISION, EXCHANGE, Times};
use super::{Surface, raise_to};
use crate::label::{self, OUTCOMES, REFUSALS, STATUS_CLASSES, UPSTREAM_ERRORS};
use prometheus::{IntCounter, IntGauge};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What is held for a time and given back.
#[derive(Debug, Clone, Copy)]
pub(super) enum Holding {
    /// A request that is not answered.
    Request,
    /// A connection to this surface.
    Connection(Surface),
}

const HOLDINGS: [Holding; 3] = [
    Holding::Request,
    Holding::Connection(Surface::Proxy),
    Holding::Connection(Surface::Authz),
];

const SURFACES: [Surface; 2] = [Surface::Proxy, Surface::Authz];

/// What one thread has counted. Alone on its cache lines, and on those that a processor fetches beside them.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Cells {
    held: [Held; HOLDINGS.len()],
    decisions: [[AtomicU64; OUTCOMES.len()]; SURFACES.len()],
    pub(super) decision_times: Times<21>,
    pub(super) exchange_times: [Times<16>; STATUS_CLASSES.len()],
    refusals: [AtomicU64; REFUSALS.len()],
    upstream_errors: [AtomicU64; UPSTREAM_ERRORS.len()],
    streams_cut: AtomicU64,
    /// Given back by other threads, which add atomically.
    given_back_elsewhere: [AtomicU64; HOLDINGS.len()],
}

/// Taken, and given back by the thread of this lane.
#[derive(Debug, Default)]
struct Held {
    taken: AtomicU64,
    given_back: AtomicU64,
}

impl Default for Cells {
    fn default() -> Cells {
        fn zeros<const N: usize>() -> [AtomicU64; N] {
            std::array::from_fn(|_| AtomicU64::new(0))
        }
        Cells {
            held: Default::default(),
            decisions: std::array::from_fn(|_| zeros()),
            decision_times: Times::default(),
            exchange_times: Default::default(),
            refusals: zeros(),
            upstream_errors: zeros(),
            streams_cut: AtomicU64::new(0),
            given_back_elsewhere: zeros(),
        }
    }
}

/// The cells of all threads.
#[derive(Debug)]
pub(super) struct Recording {
    pub(super) lanes: Arc<Lanes<Cells>>,
}

impl Recording {
    pub(super) fn new() -> Recording {
        Recording {
            lanes: Arc::new(Lanes::new()),
        }
    }

    #[inline]
    pub(super) fn decision(&self, surface: Surface, outcome: &str, elapsed: Duration) {
        let here = self.lanes.here();
        let outcome = label::index(OUTCOMES, outcome);
        if let Some(cell) = here
            .cells
            .decisions
            .get(surface.index())
            .and_then(|cells| cells.get(outcome))
        {
            here.add(cell, 1);
        }
        let elapsed_ns = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        here.cells.decision_times.add(&here, &DECISION, elapsed_ns);
    }

    #[inline]
    pub(super) fn exchange(&self, status: u16, elapsed: Duration) {
        let here = self.lanes.here();
        // The classes stand in the order of their digit, and what has none of these last.
        let class = usize::from(status / 100).wrapping_sub(1).min(STATUS_CLASSES.len() - 1);
        let elapsed_us = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
        if let Some(times) = here.cells.exchange_times.get(class) {
            times.add(&here, &EXCHANGE, elapsed_us);
        }
    }

    pub(super) fn refused(&self, reason: &str) {
        let here = self.lanes.here();
        if let Some(cell) = here.cells.refusals.get(label::index(REFUSALS, reason)) {
            here.add(cell, 1);
        }
    }

    pub(super) fn upstream_error(&self, kind: &str) {
        let here = self.lanes.here();
        if let Some(cell) = here.cells.upstream_errors.get(label::index(UPSTREAM_ERRORS, kind)) {
            here.add(cell, 1);
        }
    }

    pub(super) fn stream_cut(&self) {
        let here = self.lanes.here();
        here.add(&here.cells.streams_cut, 1);
    }

    /// Counts it until the guard is dropped, on whatever thread.
    #[inline]
    pub(super) fn hold(&self, what: Holding) -> HeldGuard {
        let here = self.lanes.here();
        let what = what.index();
        if let Some(held) = here.cells.held.get(what) {
            here.add(&held.taken, 1);
        }
        HeldGuard {
            cells: Arc::clone(here.cells),
            lane: here.lane,
            what,
        }
    }

    /// Brings the metrics up to what the cells hold.
    pub(super) fn fold_into(&self, metrics: &Folded) {
        for (surface, counters) in SURFACES.into_iter().zip(&metrics.decisions) {
            self.raise(counters, |cells, outcome| &cells.decisions[surface.index()][outcome]);
        }
        self.raise(&metrics.refusals, |cells, reason| &cells.refusals[reason]);
        self.raise(&metrics.upstream_errors, |cells, kind| &cells.upstream_errors[kind]);
        raise_to(&metrics.streams_cut, self.lanes.sum(|cells| &cells.streams_cut));
        for (what, gauge) in metrics.held.iter().enumerate() {
            // In this order: what is given back in between was seen to be taken.
            let given_back = self.lanes.sum(|cells| &cells.held[what].given_back);
            let elsewhere = self.lanes.sum(|cells| &cells.given_back_elsewhere[what]);
            let taken = self.lanes.sum(|cells| &cells.held[what].taken);
            let held = taken.wrapping_sub(given_back).wrapping_sub(elsewhere);
            gauge.set(held.cast_signed());
        }
    }

    fn raise(&self, counters: &[IntCounter], cell: impl Fn(&Cells, usize) -> &AtomicU64) {
        for (index, counter) in counters.iter().enumerate() {
            raise_to(counter, self.lanes.sum(|cells| cell(cells, index)));
        }
    }
}

/// The metrics that the cells are shown as, in their order.
#[derive(Debug)]
pub(super) struct Folded {
    /// By surface, then by outcome.
    pub(super) decisions: [Vec<IntCounter>; SURFACES.len()],
    pub(super) refusals: Vec<IntCounter>,
    pub(super) upstream_errors: Vec<IntCounter>,
    pub(super) streams_cut: IntCounter,
    /// Requests, connections to the proxy, connections to the decision API.
    pub(super) held: [IntGauge; HOLDINGS.len()],
}

/// One more of something, until it is dropped.
#[derive(Debug)]
pub(super) struct HeldGuard {
    cells: Arc<Cells>,
    lane: Option<usize>,
    what: usize,
}

impl Drop for HeldGuard {
    #[inline]
    fn drop(&mut self) {
        if self.lane.is_some() && self.lane == own() {
            let here = Here {
                cells: &self.cells,
                lane: self.lane,
            };
            if let Some(held) = self.cells.held.get(self.what) {
                here.add(&held.given_back, 1);
            }
        } else if let Some(cell) = self.cells.given_back_elsewhere.get(self.what) {
            cell.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Holding {
    const fn index(self) -> usize {
        match self {
            Holding::Request => 0,
            Holding::Connection(Surface::Proxy) => 1,
            Holding::Connection(Surface::Authz) => 2,
        }
    }
}

impl Surface {
    const fn index(self) -> usize {
        match self {
            Surface::Proxy => 0,
            Surface::Authz => 1,
        }
    }
}
