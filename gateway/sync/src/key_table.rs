//! The table of all keys that a gateway may know, as whoever fills it sees it.
//!
//! Says what the filling promises; what the table does with records, and with changes, is the table's business. The preloader fills
//! it, the verifier holds it.

use portcullis_verify::{KeyHash, KeyRecord, Verifier, Version};
use std::sync::Arc;

/// Something that can hold every key.
///
/// It hears of changes as a [`portcullis_verify::ChangeSink`] too, before whoever fills it does. What it is told here may be older
/// than a change that it has applied: it must compare `as_of` with its fences, as with any answer of the source.
pub trait KeyTable: Send + Sync {
    /// A key that existed at `as_of`. False: it was not let in, because a change that was applied made it outdated, or for want of room.
    fn admit(&self, hash: KeyHash, record: KeyRecord, as_of: Version) -> bool;

    /// At `as_of` no key that this gateway may know had the hash.
    fn absent(&self, hash: &KeyHash, as_of: Version);

    /// Every key that existed at `at` was told, and every change up to `at` has been applied. What is not held is unknown from now
    /// on, unless a change named it and it was not told since. Answers whether that is so: it is not if there was no room for all,
    /// or if more was lost in between than could be told.
    fn complete(&self, at: Version) -> bool;

    /// Keys may be missing, and all of them will be told from here on: that a hash is not held says nothing until then.
    fn incomplete(&self);
}

impl KeyTable for Verifier {
    fn admit(&self, hash: KeyHash, record: KeyRecord, as_of: Version) -> bool {
        self.admit_record(hash, record, as_of)
    }

    fn absent(&self, hash: &KeyHash, as_of: Version) {
        self.note_absent(hash, as_of);
    }

    fn complete(&self, at: Version) -> bool {
        self.table_complete(at)
    }

    fn incomplete(&self) {
        self.table_incomplete();
    }
}

impl<T: KeyTable + ?Sized> KeyTable for Arc<T> {
    fn admit(&self, hash: KeyHash, record: KeyRecord, as_of: Version) -> bool {
        (**self).admit(hash, record, as_of)
    }

    fn absent(&self, hash: &KeyHash, as_of: Version) {
        (**self).absent(hash, as_of);
    }

    fn complete(&self, at: Version) -> bool {
        (**self).complete(at)
    }

    fn incomplete(&self) {
        (**self).incomplete();
    }
}
