//! What the machine's memory alone costs: one cache line per subject, and nothing done with it.
//!
//! Decides nothing and admits everything. Stands in the tables as the price below which no limiter can be that keeps its subjects
//! apart.

use super::contender::{Contender, Request, Rules, Settings};
use portcullis_verify::Moment;
use std::sync::atomic::{AtomicU64, Ordering};

/// How a line is touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Read and written. The processor may fetch the lines of many requests at once.
    Plain,
    /// Changed by one atomic instruction, as the lock on a shared counter needs at the least.
    Atomic,
}

/// Arrays of cache lines, as many as there are subjects.
pub(crate) struct MemoryFloor {
    access: Access,
    rules: Rules,
    keys: Vec<Line>,
    addresses: Vec<Line>,
    apps: Vec<Line>,
}

#[derive(Default)]
#[repr(align(64))]
struct Line(AtomicU64);

impl MemoryFloor {
    pub(crate) fn new(settings: &Settings, access: Access) -> MemoryFloor {
        let lines = |count: u32| (0..count).map(|_| Line::default()).collect();
        MemoryFloor {
            access,
            rules: settings.rules,
            keys: lines(settings.keys),
            addresses: lines(settings.keys),
            apps: lines(settings.apps),
        }
    }

    fn touch_line(&self, lines: &[Line], subject: u32) -> bool {
        let Some(Line(word)) = lines.get(usize::try_from(subject).unwrap_or(usize::MAX)) else {
            return false;
        };
        match self.access {
            Access::Plain => word.store(word.load(Ordering::Relaxed) + 1, Ordering::Relaxed),
            Access::Atomic => {
                word.fetch_add(1, Ordering::Relaxed);
            }
        }
        true
    }
}

impl Contender for MemoryFloor {
    fn name(&self) -> String {
        match self.access {
            Access::Plain => "memory floor, plain",
            Access::Atomic => "memory floor, atomic",
        }
        .to_owned()
    }

    fn check(&self, request: &Request, _: Moment) -> bool {
        match self.rules {
            Rules::Key => self.touch_line(&self.keys, request.key),
            Rules::App => self.touch_line(&self.apps, request.app),
            Rules::Three => {
                self.touch_line(&self.keys, request.key)
                    & self.touch_line(&self.addresses, request.address)
                    & self.touch_line(&self.apps, request.app)
            }
        }
    }
}
