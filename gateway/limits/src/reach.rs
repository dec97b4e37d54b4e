//! The way from a rule that holds for a request to the counter that it means.
//!
//! Decides when a counter that the record holds on to is taken, and when the table is asked. Makes no counter and charges
//! none; the limiter goes this way once per rule and request.

use crate::counter::Counter;
use crate::quota::Quota;
use crate::sharded_map::Hashed;
use crate::subject::Subject;
use crate::table::{CounterTable, Found};
use arc_swap::{ArcSwapOption, Guard};
use smallvec::SmallVec;
use std::sync::Arc;

/// A rule that holds for a request, and the counter that it means.
#[derive(Debug)]
pub(crate) struct Match<'a> {
    /// Index in the record's rules.
    pub(crate) rule: usize,
    /// What the counter is held to.
    pub(crate) quota: &'a Quota,
    /// Where the counter is.
    pub(crate) place: Place<'a>,
}

/// Where the counter of a [`Match`] is.
#[derive(Debug)]
pub(crate) enum Place<'a> {
    /// One for the record, held there once it is found.
    One {
        held: &'a ArcSwapOption<Counter>,
        subject: &'a Hashed<Subject>,
    },
    /// One for the client's address.
    PerAddress(Hashed<Subject>),
}

/// The rules that hold for a request.
pub(crate) type Matches<'a> = SmallVec<[Match<'a>; 4]>;

/// The counter of a [`Match`].
pub(crate) enum Reached {
    /// The subject's own, through the record.
    Held(Guard<Option<Arc<Counter>>>),
    /// The subject's own, through the table.
    Own(Arc<Counter>),
    /// One that the subject shares.
    Shared(Arc<Counter>),
    /// There is none, because the subject has admitted nothing that counts.
    Missing,
}

impl Match<'_> {
    /// Whom the counter counts.
    pub(crate) fn subject(&self) -> &Hashed<Subject> {
        match &self.place {
            Place::One { subject, .. } => subject,
            Place::PerAddress(subject) => subject,
        }
    }

    /// Reaches the counter, without making one.
    pub(crate) fn reach(&self, table: &CounterTable) -> Reached {
        if let Place::One { held, .. } = &self.place {
            let counter = held.load();
            if counter.is_some() {
                return Reached::Held(counter);
            }
        }
        match table.find(self.subject()) {
            Some(Found::Own(counter)) => {
                if let Place::One { held, .. } = &self.place {
                    held.store(Some(Arc::clone(&counter)));
                }
                Reached::Own(counter)
            }
            Some(Found::Shared(counter)) => Reached::Shared(counter),
            None => Reached::Missing,
        }
    }

    /// Lets go of a counter that turned out to be retired.
    pub(crate) fn forget(&self) {
        if let Place::One { held, .. } = &self.place {
            held.store(None);
        }
    }
}

impl Reached {
    /// The counter.
    pub(crate) fn counter(&self) -> Option<&Counter> {
        match self {
            Reached::Held(counter) => counter.as_deref(),
            Reached::Own(counter) | Reached::Shared(counter) => Some(counter),
            Reached::Missing => None,
        }
    }
}
