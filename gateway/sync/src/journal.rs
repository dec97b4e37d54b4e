//! Where a gateway writes down how far it has followed the change log, so that a restart cannot undo a revocation.
//!
//! Says what must be written when, nothing of files. The follower calls it; the disk snapshot implements it.

use crate::message::Changes;
use portcullis_verify::{Moment, Version};
use std::io;

/// A durable record of what was applied.
///
/// The follower calls it in the order of the log, from one task at a time, after every sink has heard of what it tells. The first two
/// may block; they are called where blocking is allowed.
pub trait Journal: Send + Sync {
    /// Writes down a run of changes. Once it has returned, no restart forgets them: only then are they acknowledged.
    ///
    /// An error keeps them from being acknowledged; the same run, or one that begins at the same revision, is told again.
    fn changed(&self, changes: &Changes) -> io::Result<()>;

    /// Writes down that everything read before `to` is distrusted. Likewise durable, and told again after an error.
    fn reset(&self, to: Version) -> io::Result<()>;

    /// Notes that what is written down, up to `at`, held every change that was committed before `t0`. Does not block.
    fn fresh(&self, at: Version, t0: Moment);
}
