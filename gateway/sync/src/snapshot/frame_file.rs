//! A file that frames are appended to.
//!
//! Gathers them, so that many are written at once. Decides nothing about when they must be on the disk: whoever appends does. After an
//! error nothing may be appended any more, because it is not known what the file holds.

use super::chain::{Chain, Id, Kind};
use std::fs::File;
use std::io::{self, Write};

/// Written at once when there is more.
const GATHERED_BYTES: usize = 1 << 17;

/// The end of a file.
#[derive(Debug)]
pub(super) struct FrameFile {
    file: File,
    chain: Chain,
    /// Bytes in the file.
    written: u64,
    gathered: Vec<u8>,
}

impl FrameFile {
    /// A new file, which is empty.
    pub(super) fn begin(file: File, kind: Kind, id: &Id) -> FrameFile {
        let mut gathered = Vec::new();
        let chain = Chain::begin(kind, id, &mut gathered);
        FrameFile {
            file,
            chain,
            written: 0,
            gathered,
        }
    }

    /// A file of `length` bytes that goes on after `chain`.
    pub(super) fn resume(file: File, chain: Chain, length: u64) -> FrameFile {
        FrameFile {
            file,
            chain,
            written: length,
            gathered: Vec::new(),
        }
    }

    pub(super) fn append(&mut self, kind: u8, bytes: &[u8]) -> io::Result<()> {
        self.chain.append(kind, bytes, &mut self.gathered);
        if self.gathered.len() > GATHERED_BYTES {
            self.write()?;
        }
        Ok(())
    }

    /// What was appended outlives this process.
    pub(super) fn write(&mut self) -> io::Result<()> {
        self.file.write_all(&self.gathered)?;
        self.written += u64::try_from(self.gathered.len()).unwrap_or(u64::MAX);
        self.gathered.clear();
        Ok(())
    }

    /// What was appended outlives this machine's power.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.write()?;
        self.file.sync_data()
    }

    /// How much other readers of the file see.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// For tests: the disk refuses everything from now on.
    #[cfg(test)]
    pub(super) fn break_disk(&mut self) {
        self.file = File::open("/dev/null").unwrap();
    }
}
