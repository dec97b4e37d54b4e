//! `FILE.history` beside the database FILE: which history was last written there, and how far it came.
//!
//! One line of text, written in place without a sync: a process that is killed loses nothing of it, and a machine that loses power
//! at most what makes the next start more careful, or blind to a backup restored at that very moment. Kept by
//! [`super::Database`].

use portcullis_verify::Version;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

const TITLE: &str = "portcullis-history-1";
/// Longer than any line.
const LINE_BYTES_MAX: usize = 256;

/// What the file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Line {
    version: Version,
    device: u64,
    inode: u64,
}

/// The file, which need not exist.
#[derive(Debug)]
pub(super) struct HistoryFile {
    database: PathBuf,
    path: PathBuf,
    file: Mutex<Option<File>>,
    /// The largest revision that is known to be written; spares most calls the file.
    noted: AtomicU64,
}

impl HistoryFile {
    /// That of a database; nothing is read of it yet.
    pub(super) fn beside(database: &Path) -> HistoryFile {
        let mut path = database.as_os_str().to_owned();
        path.push(".history");
        HistoryFile {
            database: database.to_owned(),
            path: PathBuf::from(path),
            file: Mutex::new(None),
            noted: AtomicU64::new(0),
        }
    }

    /// Its name, for errors.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens it if it is there.
    pub(super) fn open(&self) -> io::Result<()> {
        *self.file() = open(&self.path)?;
        Ok(())
    }

    /// Why the database, whose log stands at `head`, is not the one that was last written here; `None` if it is.
    pub(super) fn why_moved(&self, head: Version) -> io::Result<Option<&'static str>> {
        let database = std::fs::metadata(&self.database)?;
        let mut file = self.file();
        // Another process may have made it meanwhile.
        *file = open(&self.path)?;
        let Some(line) = file.as_ref().map(read).transpose()?.flatten() else {
            return Ok(Some("there is no readable note of where this database was"));
        };
        Ok(if !line.is_of(&database) {
            Some("this file is not the one that was written last")
        } else if line.version.epoch != head.epoch {
            Some("another history was written here last")
        } else if line.version.revision > head.revision {
            Some("changes that were written here are missing")
        } else {
            None
        })
    }

    /// Notes for good that the history at `head` is at home here.
    pub(super) fn settle(&self, head: Version) -> io::Result<()> {
        let database = std::fs::metadata(&self.database)?;
        let line = Line {
            version: head,
            device: database.dev(),
            inode: database.ino(),
        };
        let mut file = self.file();
        let settled = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&self.path)?;
        settled.write_all_at(line.text().as_bytes(), 0)?;
        settled.sync_all()?;
        *file = Some(settled);
        self.noted.store(head.revision, Ordering::Release);
        Ok(())
    }

    /// Notes that the log came as far as `head`, if it is the history that the file is about. Never goes back.
    pub(super) fn note(&self, head: Version) -> io::Result<()> {
        if self.noted.load(Ordering::Acquire) >= head.revision {
            return Ok(());
        }
        let file = self.file();
        if let Some(file) = file.as_ref()
            && let Some(mut line) = read(file)?
            && line.version.epoch == head.epoch
            && line.version.revision < head.revision
        {
            line.version = head;
            file.write_all_at(line.text().as_bytes(), 0)?;
        }
        self.noted.fetch_max(head.revision, Ordering::AcqRel);
        Ok(())
    }

    fn file(&self) -> MutexGuard<'_, Option<File>> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    fn is_of(&self, database: &Metadata) -> bool {
        (self.device, self.inode) == (database.dev(), database.ino())
    }

    /// Always as long, so that it can be written over itself.
    fn text(&self) -> String {
        format!(
            "{TITLE} epoch {:020} revision {:020} device {:020} inode {:020}\n",
            self.version.epoch, self.version.revision, self.device, self.inode
        )
    }

    fn parse(text: &str) -> Option<Line> {
        let words: Vec<&str> = text.split(' ').collect();
        let [title, _, epoch, _, revision, _, device, _, inode] = words[..] else {
            return None;
        };
        let line = Line {
            version: Version {
                epoch: epoch.parse().ok()?,
                revision: revision.parse().ok()?,
            },
            device: device.parse().ok()?,
            inode: inode.trim_end().parse().ok()?,
        };
        // Whatever is not exactly what would be written was not written here.
        (title == TITLE && line.text() == text).then_some(line)
    }
}

/// The file, if there is one.
fn open(path: &Path) -> io::Result<Option<File>> {
    match OpenOptions::new().read(true).write(true).open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// What the file says, if it can be understood.
fn read(file: &File) -> io::Result<Option<Line>> {
    let mut bytes = [0; LINE_BYTES_MAX];
    let length = file.read_at(&mut bytes, 0)?;
    Ok(std::str::from_utf8(&bytes[..length]).ok().and_then(Line::parse))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(epoch: u64, revision: u64) -> Version {
        Version { epoch, revision }
    }

    #[test]
    fn only_a_whole_line_is_understood() {
        let line = Line {
            version: at(u64::MAX, 7),
            device: 1,
            inode: u64::MAX,
        };
        let text = line.text();
        assert_eq!(Line::parse(&text), Some(line));
        for damaged in [
            "",
            &text[..text.len() - 1],
            &text[1..],
            &text.replace("epoch", "epich"),
            &text.replace("history-1", "history-2"),
            &text.replace("00007", "+0007"),
            &format!("{text}{text}"),
        ] {
            assert_eq!(Line::parse(damaged), None, "{damaged}");
        }
    }

    #[test]
    fn notes_rise_within_one_history_only() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("store.db");
        std::fs::write(&database, "").unwrap();
        let history = HistoryFile::beside(&database);
        history.open().unwrap();
        history.note(at(1, 5)).unwrap();
        assert!(history.why_moved(at(1, 5)).unwrap().is_some(), "it was never settled");
        history.settle(at(1, 5)).unwrap();
        let other = HistoryFile::beside(&database);
        other.open().unwrap();

        let check = |head: Version, is_at_home: bool| {
            assert_eq!(other.why_moved(head).unwrap().is_none(), is_at_home, "{head:?}");
        };
        check(at(1, 5), true);
        check(at(1, 6), true);
        check(at(1, 4), false);
        check(at(2, 5), false);
        history.note(at(1, 8)).unwrap();
        other.note(at(1, 7)).unwrap();
        history.note(at(2, 9)).unwrap();
        check(at(1, 8), true);
        check(at(1, 7), false);
        // Settled anew by another process, it is not taken back by this one.
        other.settle(at(3, 2)).unwrap();
        history.note(at(1, 10)).unwrap();
        check(at(3, 2), true);
        history.note(at(3, 11)).unwrap();
        check(at(3, 10), false);
    }
}
