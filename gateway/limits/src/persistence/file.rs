//! The file of saved counters: who may use it, how it is replaced, and what happens to one that cannot be gone on with.
//!
//! Decides nothing about counters. A file is replaced as a whole or not at all, and one that is unfit is put aside, so that
//! nothing is lost without a word. The server opens it, before anything is admitted, and saves to it.

use super::clock_identity::ClockIdentity;
use super::format::Unfit;
use super::{restoring, saving};
use crate::local::{LimiterSettings, LocalLimiter};
use crate::table::CounterTable;
use portcullis_verify::Moment;
use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Readable for the owner alone: it holds addresses of clients.
const MODE: u32 = 0o600;

/// A file that counters are saved to. No other process has it while this value lives.
#[derive(Debug)]
pub struct CountersFile {
    path: PathBuf,
    clock: ClockIdentity,
    /// Holds the lock; the kernel lets go of it however the process ends.
    _lock: File,
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CountersFileError {
    /// Another process has it.
    #[error("another process keeps its counters in {} (it holds {})", path.display(), lock.display())]
    InUse {
        /// The file.
        path: PathBuf,
        /// The lock beside it.
        lock: PathBuf,
    },
    /// It cannot be locked, written or put aside.
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

/// What a limiter begins with.
#[derive(Debug)]
pub enum Restored {
    /// Nothing, because there is no file yet.
    NoFile,
    /// The counters of the file.
    Counters(super::Taken),
    /// Nothing, because the file is unfit. It is kept, under another name.
    PutAside {
        /// What is wrong with it.
        why: Unfit,
        /// Where it is now.
        kept_as: PathBuf,
    },
}

impl CountersFile {
    /// Takes the file at `path` for this process. It need not exist; its folder must.
    ///
    /// # Errors
    ///
    /// When another process has it, or the lock beside it cannot be made.
    pub fn open(path: &Path) -> Result<CountersFile, CountersFileError> {
        let beside = beside(path, ".lock");
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(MODE);
        let lock = options.open(&beside).map_err(failed("open", &beside))?;
        match lock.try_lock() {
            Ok(()) => Ok(CountersFile {
                path: path.to_owned(),
                clock: ClockIdentity::of_this_process(),
                _lock: lock,
            }),
            Err(TryLockError::WouldBlock) => Err(CountersFileError::InUse {
                path: path.to_owned(),
                lock: beside,
            }),
            Err(TryLockError::Error(error)) => Err(failed("lock", &beside)(error)),
        }
    }

    /// A limiter that goes on with what the file holds. `now` is a reading of the system's clocks.
    ///
    /// A file that cannot be gone on with is renamed to the same name with `.damaged` after it, in place of an earlier one.
    ///
    /// # Errors
    ///
    /// When the file is unfit and cannot be put aside: saving would overwrite it.
    pub fn restore(
        &self,
        settings: LimiterSettings,
        now: Moment,
    ) -> Result<(LocalLimiter, Restored), CountersFileError> {
        let (table, restored) = match self.read(settings.counters_max, now) {
            Ok(Some((table, taken))) => (table, Restored::Counters(taken)),
            Ok(None) => (CounterTable::new(settings.counters_max), Restored::NoFile),
            Err(why) => {
                let kept_as = beside(&self.path, ".damaged");
                std::fs::rename(&self.path, &kept_as).map_err(failed("put aside", &self.path))?;
                let table = CounterTable::new(settings.counters_max);
                (table, Restored::PutAside { why, kept_as })
            }
        };
        Ok((LocalLimiter::over(table), restored))
    }

    /// Replaces the file with what the limiter holds, and answers how many counters that are. `now` is a reading of the
    /// system's clocks. Blocks until the disk has it; requests go on meanwhile.
    ///
    /// # Errors
    ///
    /// When it cannot be written. The file is then what it was.
    pub fn save(&self, limiter: &LocalLimiter, now: Moment) -> Result<u64, CountersFileError> {
        let new = beside(&self.path, ".new");
        self.replace(&new, limiter, now).map_err(|error| {
            // The next try removes what is left.
            let _ = std::fs::remove_file(&new);
            failed("write", &self.path)(error)
        })
    }

    fn read(&self, own_max: usize, now: Moment) -> Result<Option<(CounterTable, super::Taken)>, Unfit> {
        // Looked at first: to open a pipe would wait for its other end.
        let is_file = match std::fs::metadata(&self.path) {
            Ok(metadata) => metadata.is_file(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if !is_file {
            return Err(Unfit::NotAFile);
        }
        let mut file = File::open(&self.path)?;
        let bytes = file.metadata()?.len();
        restoring::restore(&mut file, bytes, own_max, self.clock, now).map(Some)
    }

    fn replace(&self, new: &Path, limiter: &LocalLimiter, now: Moment) -> io::Result<u64> {
        match std::fs::remove_file(new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(new)?;
        let mut out = BufWriter::new(file);
        let counters = saving::save(limiter.table(), self.clock, now, &mut out)?;
        out.flush()?;
        out.get_ref().sync_all()?;
        std::fs::rename(new, &self.path)?;
        // A rename lasts once its folder does.
        File::open(folder_of(&self.path))?.sync_all()?;
        Ok(counters)
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    PathBuf::from(name)
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

fn failed(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CountersFileError {
    let path = path.to_owned();
    move |source| CountersFileError::Io { act, path, source }
}
