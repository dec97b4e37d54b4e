//! What waits to be written.
//!
//! Keeps the order in which it came. Decides nothing about when it is written, nor how much may wait; the keeper does.

use super::entry::FreshAt;

/// Entries, one after the other, and the last news.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    waiting: Waiting,
    /// Nothing more is to be waited for.
    pub(super) is_stopping: bool,
}

/// What was taken out to be written.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// Kind, length, bytes; one entry after the other.
    entries: Vec<u8>,
    fresh: Option<FreshAt>,
}

impl Inbox {
    pub(super) fn push(&mut self, kind: u8, bytes: &[u8]) {
        let Ok(length) = u32::try_from(bytes.len()) else { return };
        let entries = &mut self.waiting.entries;
        entries.push(kind);
        entries.extend(length.to_le_bytes());
        entries.extend(bytes);
    }

    /// Only the last is of interest.
    pub(super) fn note_fresh(&mut self, fresh: FreshAt) {
        self.waiting.fresh = Some(fresh);
    }

    pub(super) fn bytes(&self) -> usize {
        self.waiting.entries.len()
    }

    pub(super) fn take(&mut self) -> Waiting {
        std::mem::take(&mut self.waiting)
    }

    pub(super) fn clear(&mut self) {
        self.waiting = Waiting::default();
    }
}

impl Waiting {
    /// Kind and bytes of each entry, in order.
    pub(super) fn entries(&self) -> impl Iterator<Item = (u8, &[u8])> {
        let mut rest = self.entries.as_slice();
        std::iter::from_fn(move || {
            let (&kind, after) = rest.split_first()?;
            let (length, after) = after.split_first_chunk()?;
            let (bytes, after) = after.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
            rest = after;
            Some((kind, bytes))
        })
    }

    /// The last news. It is true of everything that came before it, and of what came after.
    pub(super) fn fresh(&self) -> Option<&FreshAt> {
        self.fresh.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_out_as_they_went_in() {
        let mut inbox = Inbox::default();
        let entries: [(u8, &[u8]); 4] = [(1, b"one"), (2, b""), (1, &[0; 70_000]), (9, b"last")];
        for (kind, bytes) in entries {
            inbox.push(kind, bytes);
        }
        let waiting = inbox.take();
        assert_eq!(Vec::from_iter(waiting.entries()), entries);
        assert_eq!((inbox.bytes(), inbox.take().entries().count()), (0, 0));
    }
}
