//! The table of all keys that a gateway may know, as whoever fills it sees it.
//!
//! Says what the filling promises; what the table does with records, and with changes, is the table's business. The preloader fills
//! it, the verifier holds it.

use portcullis_verify::{KeyHash, KeyRecord, Version};

/// Something that can hold every key.
///
/// It hears of changes as a [`portcullis_verify::ChangeSink`] too. What it is told here may be older than a change that it has
/// applied: it must compare `as_of` with its fences, as with any answer of the source.
pub trait KeyTable: Send + Sync {
    /// A key that existed at `as_of`. False: it was not let in, because a change that was applied made it outdated, or for want of room.
    fn admit(&self, hash: KeyHash, record: KeyRecord, as_of: Version) -> bool;

    /// At `as_of` no key that this gateway may know had the hash.
    fn absent(&self, hash: &KeyHash, as_of: Version);

    /// Every key that existed at `at` was told by [`KeyTable::admit`], and so was every key that a change up to the version that has
    /// been applied by now named. A hash that is not held is unknown from now on, unless a change names it that is applied later:
    /// then nothing is known of it until it is told again.
    fn complete(&self, at: Version);

    /// Keys may be missing: that a hash is not held says nothing from now on.
    fn incomplete(&self);
}
