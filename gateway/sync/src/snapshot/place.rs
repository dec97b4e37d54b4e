//! Where a snapshot lies: the base, its journal, and what is in the making beside them.
//!
//! Decides how files are made, replaced, put aside and removed, so that at no moment a restart finds two that do not belong together.
//! Knows nothing of what is in them.

use super::unfit::Unfit;
use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Readable for the owner alone: it says who holds which key, though not the key.
const MODE: u32 = 0o600;

/// The paths of one snapshot.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) base: PathBuf,
    pub(super) journal: PathBuf,
    new_base: PathBuf,
    new_journal: PathBuf,
}

/// Why a snapshot cannot be kept in a file.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// Another process has it.
    #[error("another process keeps its keys in {} (it holds {})", path.display(), lock.display())]
    InUse {
        /// The file.
        path: PathBuf,
        /// The lock beside it.
        lock: PathBuf,
    },
    /// It cannot be locked, gone on with or put aside.
    #[error("cannot {act} {}: {source}", path.display())]
    Io {
        /// What was tried.
        act: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl Place {
    pub(super) fn at(path: &Path) -> Place {
        Place {
            base: path.to_owned(),
            journal: beside(path, ".journal"),
            new_base: beside(path, ".new"),
            new_journal: beside(path, ".journal.new"),
        }
    }

    /// Takes the place for this process. The kernel lets go of it when the file is dropped, however the process ends.
    pub(super) fn lock(&self) -> Result<File, SnapshotError> {
        let path = beside(&self.base, ".lock");
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(MODE);
        let lock = options.open(&path).map_err(failed("open", &path))?;
        match lock.try_lock() {
            Ok(()) => Ok(lock),
            Err(TryLockError::WouldBlock) => Err(SnapshotError::InUse {
                path: self.base.clone(),
                lock: path,
            }),
            Err(TryLockError::Error(error)) => Err(failed("lock", &path)(error)),
        }
    }

    /// Begins a new base and a new journal, beside those in use.
    pub(super) fn make(&self) -> io::Result<(File, File)> {
        Ok((make(&self.new_base)?, make(&self.new_journal)?))
    }

    /// Puts the new files in the place of those in use. Both must have reached the disk. From the first step on, a restart finds the new
    /// ones: it finishes what is left ([`Place::finish`]).
    pub(super) fn replace(&self) -> io::Result<()> {
        std::fs::rename(&self.new_base, &self.base)?;
        std::fs::rename(&self.new_journal, &self.journal)?;
        self.sync()
    }

    /// The new journal takes the place of the one in use: the process ended between the two steps of [`Place::replace`].
    pub(super) fn finish(&self) -> io::Result<()> {
        std::fs::rename(&self.new_journal, &self.journal)?;
        self.sync()
    }

    /// Removes what was in the making.
    pub(super) fn clean(&self) -> io::Result<()> {
        remove(&self.new_base)?;
        remove(&self.new_journal)
    }

    /// Sees to it that no restart finds anything here.
    pub(super) fn remove(&self) -> io::Result<()> {
        // Either alone is not used.
        let (base, journal, rest) = (remove(&self.base), remove(&self.journal), self.clean());
        base.or(journal.and(rest))?;
        self.sync()
    }

    /// Keeps the files under other names, in place of earlier ones, and says what the base is called now.
    pub(super) fn put_aside(&self) -> Result<PathBuf, SnapshotError> {
        let kept_as = beside(&self.base, ".damaged");
        let mut kept = None;
        for (from, to) in [
            (&self.journal, beside(&self.journal, ".damaged")),
            (&self.base, kept_as),
        ] {
            match std::fs::rename(from, &to) {
                Ok(()) => kept = Some(to),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed("put aside", from)(error)),
            }
        }
        self.clean().map_err(failed("clean up beside", &self.base))?;
        Ok(kept.unwrap_or_else(|| self.base.clone()))
    }

    /// The journal that was in the making, if there is one.
    pub(super) fn open_new_journal(&self) -> Result<Option<File>, Unfit> {
        open(&self.new_journal)
    }

    /// What was renamed lasts once the folder does.
    fn sync(&self) -> io::Result<()> {
        let folder = match self.base.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        File::open(folder)?.sync_all()
    }
}

/// Opens a file to read and to append to it; `None` if there is none.
pub(super) fn open(path: &Path) -> Result<Option<File>, Unfit> {
    // Looked at first: to open a pipe would wait for its other end.
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => {}
        Ok(_) => return Err(Unfit::NotAFile),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    Ok(Some(OpenOptions::new().read(true).append(true).open(path)?))
}

fn make(path: &Path) -> io::Result<File> {
    remove(path)?;
    let mut options = OpenOptions::new();
    options.read(true).append(true).create_new(true).mode(MODE);
    options.open(path)
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    PathBuf::from(name)
}

pub(super) fn failed(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SnapshotError {
    let path = path.to_owned();
    move |source| SnapshotError::Io { act, path, source }
}
