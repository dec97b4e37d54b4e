//! Whether a table of keys is whole, so that a hash that is not in it is unknown.
//!
//! Decides when that may be said again after it was lost. Knows no key: which ones are pending is noted in their stripes, under
//! whose lock the parent asks.

use crate::Version;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Most hashes that may be pending at the same time.
pub(super) const PENDING_MAX: usize = 65_536;

/// The state of a table.
#[derive(Debug, Default)]
pub(super) struct Completeness {
    /// Written under the lock of `course`.
    is_complete: AtomicBool,
    pending: AtomicUsize,
    course: Mutex<Course>,
}

/// What was seen of the walk that fills the table.
#[derive(Debug, Default)]
struct Course {
    /// Something was lost that the walk under way may have passed already: only another one can make the table whole.
    is_spoiled: bool,
    /// The walk must have read at this version or later.
    lost: Option<Version>,
}

/// A table of keys, as its filling stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableState {
    /// A hash that is neither held nor pending is unknown.
    pub is_complete: bool,
    /// Hashes of which it is not known what became of their keys, because a change named them.
    pub pending: usize,
    /// Only another walk over all keys can make it whole.
    pub needs_walk: bool,
}

impl Completeness {
    #[inline]
    pub(super) fn is_complete(&self) -> bool {
        self.is_complete.load(Ordering::Acquire)
    }

    /// Every key was told. Answers whether the table is whole now.
    pub(super) fn complete(&self, at: Version) -> bool {
        let course = self.course.lock();
        let is_whole = !course.is_spoiled && course.lost.is_none_or(|lost| at.covers(lost));
        if is_whole {
            self.is_complete.store(true, Ordering::Release);
        }
        is_whole
    }

    /// Keys may be missing; a walk over all of them begins, or begins anew.
    pub(super) fn walk(&self) {
        let mut course = self.course.lock();
        self.is_complete.store(false, Ordering::Release);
        course.is_spoiled = false;
    }

    /// Keys may be missing, and a walk that is under way will not find them: what is read before `at` does not tell.
    pub(super) fn spoil(&self, at: Option<Version>) {
        let mut course = self.course.lock();
        self.is_complete.store(false, Ordering::Release);
        course.is_spoiled = true;
        course.lost = at.or(course.lost);
    }

    /// Counts one more pending hash, if there may be so many.
    pub(super) fn one_more(&self) -> bool {
        let has_room = self.pending.fetch_add(1, Ordering::AcqRel) < PENDING_MAX;
        if !has_room {
            self.one_less();
        }
        has_room
    }

    pub(super) fn one_less(&self) {
        self.pending.fetch_sub(1, Ordering::AcqRel);
    }

    pub(super) fn state(&self) -> TableState {
        let course = self.course.lock();
        TableState {
            is_complete: self.is_complete(),
            pending: self.pending.load(Ordering::Acquire),
            needs_walk: course.is_spoiled,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(epoch: u64, revision: u64) -> Version {
        Version { epoch, revision }
    }

    #[test]
    fn what_was_lost_is_found_by_a_later_walk_only() {
        let table = Completeness::default();
        assert!(!table.is_complete());
        assert!(table.complete(at(1, 5)));
        table.spoil(Some(at(1, 7)));
        assert!(!table.is_complete());
        assert!(!table.complete(at(1, 9)), "this walk may have passed what was lost");
        table.walk();
        assert!(!table.complete(at(1, 6)), "it was read too early");
        assert!(!table.complete(at(2, 9)), "it was read in another history");
        assert!(!table.is_complete());
        assert!(table.complete(at(1, 7)));
        assert!(table.is_complete());
        table.walk();
        assert!(!table.is_complete());
    }

    #[test]
    fn pending_hashes_are_bounded() {
        let table = Completeness::default();
        for _ in 0..PENDING_MAX {
            assert!(table.one_more());
        }
        assert!(!table.one_more());
        assert_eq!(table.state().pending, PENDING_MAX);
        table.one_less();
        assert!(table.one_more());
    }
}
