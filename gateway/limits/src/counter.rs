//! One tally behind its lock.
//!
//! Decides when a counter may no longer be charged. Tables own counters, cached keys hold handles to them, and a handle may
//! outlive the counter's place in its table: retiring it under its lock sends whoever still holds it back to the table, so
//! that one subject never has two.

use crate::tally::Tally;
use parking_lot::{Mutex, MutexGuard};
use portcullis_verify::Moment;

/// A counter. Its tally is gone once it is retired.
#[derive(Debug)]
pub(crate) struct Counter(Mutex<Option<Tally>>);

impl Counter {
    /// A counter that continues `tally`.
    pub(crate) fn new(tally: Tally) -> Counter {
        Counter(Mutex::new(Some(tally)))
    }

    /// The tally, to read or charge; `None` when the counter is retired.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Option<Tally>> {
        self.0.lock()
    }

    /// Whether forgetting it loses nothing.
    pub(crate) fn is_idle(&self, now: Moment) -> bool {
        self.0.lock().as_ref().is_some_and(|tally| tally.is_idle(now))
    }

    /// Takes the tally away. The caller removes or replaces the counter in its table before anyone can look there.
    pub(crate) fn retire(&self) -> Option<Tally> {
        self.0.lock().take()
    }

    /// Takes the tally away if that loses nothing.
    pub(crate) fn retire_if_idle(&self, now: Moment) -> Option<Tally> {
        self.0.lock().take_if(|tally| tally.is_idle(now))
    }
}
