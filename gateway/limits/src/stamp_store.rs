//! The stamps of those logs that need some, apart from their heads.
//!
//! Decides where in memory stamps lie: in small blocks, none of which ever moves, so that growing copies nothing. Knows no log;
//! a table of logs owns one and notes which entry is whose.

use crate::decimated_log::Stamps;

/// Entries that are allocated together.
const BLOCK: usize = 32;

/// Stamps by number.
#[derive(Debug, Default)]
pub(crate) struct StampStore {
    #[expect(
        clippy::vec_box,
        reason = "the blocks stay where they are while the list of them grows"
    )]
    blocks: Vec<Box<[Stamps; BLOCK]>>,
    /// Entries given back. Not given out yet are those from `fresh` on.
    free: Vec<u32>,
    fresh: u32,
}

impl StampStore {
    /// An entry that nobody has. What it says means nothing.
    pub(crate) fn take(&mut self) -> u32 {
        if let Some(entry) = self.free.pop() {
            return entry;
        }
        let entry = self.fresh;
        let (block, _) = place(entry);
        if block == self.blocks.len() {
            self.blocks.push(Box::new([Stamps::default(); BLOCK]));
        }
        self.fresh += 1;
        entry
    }

    /// Takes an entry back.
    pub(crate) fn give_back(&mut self, entry: u32) {
        self.free.push(entry);
        if self.free.len() == usize::try_from(self.fresh).unwrap_or(usize::MAX) {
            *self = StampStore::default();
        }
    }

    /// The stamps in an entry.
    pub(crate) fn get(&self, entry: u32) -> &Stamps {
        let (block, at) = place(entry);
        &self.blocks[block][at]
    }

    /// The stamps in an entry, to change.
    pub(crate) fn get_mut(&mut self, entry: u32) -> &mut Stamps {
        let (block, at) = place(entry);
        &mut self.blocks[block][at]
    }
}

fn place(entry: u32) -> (usize, usize) {
    let entry = usize::try_from(entry).unwrap_or(usize::MAX);
    (entry / BLOCK, entry % BLOCK)
}
