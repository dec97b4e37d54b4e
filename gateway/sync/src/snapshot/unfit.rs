//! Why saved keys cannot be gone on with.
//!
//! Decides nothing; whoever reads the files says it, the operator reads it in the log.

/// What is wrong with a snapshot. None of its keys are used.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] std::io::Error),
    /// It is a folder, a pipe or the like.
    #[error("it is not a regular file")]
    NotAFile,
    /// It does not begin as such a file does.
    #[error("it is not a file of saved keys")]
    Foreign,
    /// A version of Portcullis wrote it that lays keys out in another way.
    #[error("it is of format {found}, and this version of Portcullis reads format {known}")]
    OtherFormat {
        /// The format in the file.
        found: u32,
        /// The format that is read here.
        known: u32,
    },
    /// It ends too early.
    #[error("it is cut off")]
    Truncated,
    /// The bytes are not those that were written.
    #[error("its checksum does not match at byte {at}")]
    Damaged {
        /// Where the first wrong part begins.
        at: u64,
    },
    /// The bytes are those that were written, and make no sense.
    #[error("what stands at byte {at} makes no sense")]
    Senseless {
        /// Where it ends.
        at: u64,
    },
    /// Changes are missing between two that are there.
    #[error("changes are missing in it before revision {before}")]
    Gap {
        /// The revision that comes after those missing.
        before: u64,
    },
    /// Its journal belongs to another file.
    #[error("its journal belongs to another file")]
    OtherJournal,
    /// One of the two files is there, the other is not.
    #[error("{missing} is missing")]
    Incomplete {
        /// Which one is not.
        missing: &'static str,
    },
    /// It was written for another gateway token.
    #[error("it was written for another gateway token")]
    OtherScope,
}
