//! Writes a snapshot: changes at once, keys and the time of the last news within a second.
//!
//! Decides what is on the disk when, and that nothing is left there once it cannot be relied upon. Knows nothing of how entries lie in
//! the files. The snapshot's own thread runs it, and whoever tells of changes waits in it.

use super::boot::Boot;
use super::chain::{Id, Kind};
use super::entry::{self, FreshAt, Origin};
use super::frame_file::FrameFile;
use super::inbox::Inbox;
use super::loading::{Found, Loaded, Rejected, SavedKeys, Usable, age_us};
use super::place::Place;
use super::unfit::Unfit;
use super::{Bound, SnapshotSettings};
use crate::message::Changes;
use parking_lot::{Condvar, Mutex};
use portcullis_verify::{Clock, KeyHash, KeyRecord, Moment, Version};
use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How often keys and times are written.
const TICK: Duration = Duration::from_millis(500);
/// Written earlier when so much is waiting...
const WAITING_BYTES: usize = 1 << 18;
/// ...and by whoever brings more, when it is so much.
const WAITING_BYTES_MAX: usize = 1 << 22;
/// Longer records are not kept.
const RECORD_BYTES_MAX: usize = 1 << 20;
/// How often it is tried again to keep a snapshot that the disk refused.
const RETRY_US: u64 = 30_000_000;

/// One place, and what is to be written there.
#[derive(Debug)]
pub(super) struct Keeper {
    pub(super) place: Place,
    _lock: File,
    clock: Clock,
    boot: Boot,
    scope: String,
    pub(super) keys_max: u64,
    journal_bytes_min: u64,
    /// To be locked before the two below.
    pub(super) compacting: Mutex<()>,
    /// To be locked before `inbox`.
    pub(super) disk: Mutex<Disk>,
    inbox: Mutex<Inbox>,
    wake: Condvar,
    is_kept: AtomicBool,
}

/// What is on the disk.
#[derive(Debug)]
pub(super) struct Disk {
    /// `None`: nothing is kept.
    pub(super) log: Option<Log>,
    pub(super) origin: Option<Origin>,
    /// What was told last, whether it is kept or not.
    applied: Option<Version>,
    /// The files could not be removed, and a restart would find what is outdated.
    must_remove: bool,
    /// Monotonic microseconds at which the disk refused.
    refused_at_us: u64,
}

/// The journal in use.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) journal: FrameFile,
    pub(super) id: Id,
    /// When the journal is longer, a new base is written.
    pub(super) journal_bytes_max: u64,
}

impl Keeper {
    pub(super) fn begin(
        place: Place,
        lock: File,
        clock: Clock,
        settings: &SnapshotSettings,
        journal_bytes_min: u64,
        found: Result<Option<Found>, Rejected>,
    ) -> (Keeper, Loaded) {
        let (boot, now) = (Boot::of_this_process(), clock.now());
        let mut disk = Disk {
            log: None,
            origin: None,
            applied: None,
            must_remove: false,
            refused_at_us: 0,
        };
        let loaded = match found {
            Ok(None) => Loaded::Nothing,
            Err(rejected) => Loaded::Rejected(rejected),
            Ok(Some(found)) => {
                let survey = found.survey;
                disk.log = Some(Log {
                    journal: FrameFile::resume(found.journal, survey.chain.clone(), survey.journal_at),
                    id: survey.id,
                    journal_bytes_max: found.base_length.max(journal_bytes_min),
                });
                disk.origin = Some(survey.origin.clone());
                disk.applied = survey.applied;
                let (age_us, by) = age_us(survey.fresh.as_ref(), boot, now);
                match survey.applied {
                    None => Loaded::Nothing,
                    Some(applied) => Loaded::Usable(Box::new(Usable {
                        deployment_id: survey.origin.deployment_id,
                        deployment_name: survey.origin.deployment_name.clone(),
                        apps: survey.origin.apps.clone(),
                        applied,
                        fresh_at_us: age_us.and_then(|age_us| now.monotonic_us.checked_sub(age_us)),
                        by,
                        keys: SavedKeys(survey),
                    })),
                }
            }
        };
        let keeper = Keeper {
            place,
            _lock: lock,
            clock,
            boot,
            scope: settings.scope.0.clone(),
            keys_max: settings.keys_max,
            journal_bytes_min,
            is_kept: AtomicBool::new(disk.log.is_some()),
            compacting: Mutex::default(),
            disk: Mutex::new(disk),
            inbox: Mutex::default(),
            wake: Condvar::new(),
        };
        (keeper, loaded)
    }

    pub(super) fn scope(&self) -> &str {
        &self.scope
    }

    pub(super) fn is_kept(&self) -> bool {
        self.is_kept.load(Ordering::Acquire)
    }

    pub(super) fn bind(&self, origin: Origin) -> io::Result<Bound> {
        let mut disk = self.disk.lock();
        let is_same = disk.origin.as_ref().is_none_or(|own| *own == origin);
        if !is_same {
            // Nothing of another's is kept, wherever it stands.
            self.is_kept.store(false, Ordering::Release);
            self.inbox.lock().clear();
            disk.log = None;
            disk.applied = None;
            match self.place.put_aside() {
                Ok(kept_as) => tracing::warn!(
                    file = %self.place.base.display(),
                    kept_as = %kept_as.display(),
                    "the saved keys are another deployment's, or of other apps: they are not used, and kept under another name"
                ),
                Err(error) => {
                    tracing::error!(%error, "the saved keys are another deployment's and cannot be put aside");
                    disk.must_remove = true;
                    self.ensure_removed(&mut disk)?;
                }
            }
        }
        disk.origin = Some(origin);
        if disk.log.is_none() {
            self.start_anew(&mut disk);
        }
        Ok(if is_same { Bound::Resumed } else { Bound::Anew })
    }

    pub(super) fn put(&self, hash: &KeyHash, as_of: Version, record: &KeyRecord) {
        if !self.is_kept() {
            return;
        }
        let Some(bytes) = entry::put_bytes(hash, as_of, record).filter(|bytes| bytes.len() <= RECORD_BYTES_MAX) else {
            return;
        };
        let mut inbox = self.inbox.lock();
        inbox.push(entry::PUT, &bytes);
        let waiting = inbox.bytes();
        drop(inbox);
        if waiting > WAITING_BYTES_MAX {
            self.flush();
        } else if waiting > WAITING_BYTES {
            self.wake.notify_one();
        }
    }

    pub(super) fn changed(&self, changes: &Changes) -> io::Result<()> {
        let after = Version {
            epoch: changes.epoch,
            revision: changes.after,
        };
        let through = Version {
            revision: changes.through,
            ..after
        };
        let mut disk = self.disk.lock();
        if disk.log.is_some() {
            let is_next = disk.applied == Some(after);
            if is_next && changes.changes.is_empty() {
                // Nothing comes back if this is lost; it is told again then.
                self.inbox.lock().push(entry::CHANGES, &serde_json::to_vec(changes)?);
            } else {
                let written = self.append(&mut disk, |journal| {
                    if !is_next {
                        journal.append(entry::RESET, &entry::version_bytes(after))?;
                    }
                    journal.append(entry::CHANGES, &serde_json::to_vec(changes)?)?;
                    journal.sync()
                });
                written.or_else(|error| self.give_up(&mut disk, &error))?;
            }
        }
        self.told(&mut disk, through)
    }

    pub(super) fn reset(&self, to: Version) -> io::Result<()> {
        let mut disk = self.disk.lock();
        if disk.log.is_some() {
            let written = self.append(&mut disk, |journal| {
                journal.append(entry::RESET, &entry::version_bytes(to))?;
                journal.sync()
            });
            written.or_else(|error| self.give_up(&mut disk, &error))?;
        }
        self.told(&mut disk, to)
    }

    pub(super) fn fresh(&self, at: Version, t0: Moment) {
        self.note_fresh(FreshAt {
            version: at,
            boot: self.boot,
            time: t0,
        });
    }

    pub(super) fn note_fresh(&self, fresh: FreshAt) {
        if self.is_kept() {
            self.inbox.lock().note_fresh(fresh);
        }
    }

    fn told(&self, disk: &mut Disk, to: Version) -> io::Result<()> {
        self.ensure_removed(disk)?;
        disk.applied = Some(to);
        Ok(())
    }

    fn ensure_removed(&self, disk: &mut Disk) -> io::Result<()> {
        if disk.must_remove {
            self.place.remove()?;
            disk.must_remove = false;
        }
        Ok(())
    }

    /// Writes what waits, and then what `more` appends.
    fn append(&self, disk: &mut Disk, more: impl FnOnce(&mut FrameFile) -> io::Result<()>) -> io::Result<()> {
        let Some(log) = &mut disk.log else { return Ok(()) };
        let waiting = self.inbox.lock().take();
        for (kind, bytes) in waiting.entries() {
            log.journal.append(kind, bytes)?;
        }
        if let Some(fresh) = waiting.fresh() {
            log.journal.append(entry::FRESH, &entry::fresh_bytes(fresh))?;
        }
        more(&mut log.journal)
    }

    /// The disk refuses: nothing is kept until it is tried again, and no restart finds what is there.
    ///
    /// # Errors
    ///
    /// When what is there cannot be removed: then nothing that was told may be confirmed.
    fn give_up(&self, disk: &mut Disk, error: &io::Error) -> io::Result<()> {
        tracing::error!(
            file = %self.place.base.display(),
            %error,
            "known keys cannot be saved: what was saved is removed, and a restart begins without any"
        );
        self.is_kept.store(false, Ordering::Release);
        disk.log = None;
        disk.refused_at_us = self.clock.now().monotonic_us;
        self.inbox.lock().clear();
        self.place.remove().inspect_err(|error| {
            disk.must_remove = true;
            tracing::error!(
                file = %self.place.base.display(),
                %error,
                "what was saved cannot be removed: changes are applied, and not confirmed"
            );
        })
    }

    /// Writes an empty base, at what was told last, and a journal to go with it.
    fn start_anew(&self, disk: &mut Disk) {
        let Some(origin) = &disk.origin else { return };
        match self.make(origin, disk.applied) {
            Ok(log) => {
                disk.log = Some(log);
                disk.must_remove = false;
                self.is_kept.store(true, Ordering::Release);
                tracing::info!(file = %self.place.base.display(), "known keys are saved from now on");
            }
            Err(error) => {
                let _ = self.give_up(disk, &error);
            }
        }
    }

    fn make(&self, origin: &Origin, applied: Option<Version>) -> io::Result<Log> {
        let (base, journal) = self.place.make()?;
        let id = random_id()?;
        let mut base = FrameFile::begin(base, Kind::Base, &id);
        base.append(entry::ORIGIN, &serde_json::to_vec(origin)?)?;
        if let Some(applied) = applied {
            base.append(entry::POSITION, &entry::version_bytes(applied))?;
        }
        base.append(entry::END, &0_u64.to_le_bytes())?;
        base.sync()?;
        let mut journal = FrameFile::begin(journal, Kind::Journal, &id);
        journal.sync()?;
        self.place.replace()?;
        Ok(Log {
            journal,
            id,
            journal_bytes_max: self.journal_bytes_min,
        })
    }

    /// How long the journal of a base of this length may become.
    pub(super) fn journal_bytes_max(&self, base_length: u64) -> u64 {
        base_length.max(self.journal_bytes_min)
    }

    /// Writes what waits.
    pub(super) fn flush(&self) {
        let mut disk = self.disk.lock();
        self.flush_locked(&mut disk);
    }

    pub(super) fn flush_locked(&self, disk: &mut Disk) {
        if let Err(error) = self.append(disk, FrameFile::write) {
            // Nobody was told that it is safe; a restart finds nothing, or is told of it by the next change.
            let _ = self.give_up(disk, &error);
        }
    }

    /// Something on the disk is not what was written.
    pub(super) fn lose(&self, why: &Unfit) {
        let mut disk = self.disk.lock();
        let _ = self.give_up(&mut disk, &io::Error::other(why.to_string()));
    }

    /// The thread's life.
    pub(super) fn run(&self) {
        loop {
            let is_stopping = {
                let mut inbox = self.inbox.lock();
                if !inbox.is_stopping && inbox.bytes() <= WAITING_BYTES {
                    self.wake.wait_for(&mut inbox, TICK);
                }
                inbox.is_stopping
            };
            let mut disk = self.disk.lock();
            self.flush_locked(&mut disk);
            if is_stopping {
                return;
            }
            let is_due = match &disk.log {
                Some(log) => log.journal.written() > log.journal_bytes_max,
                None => {
                    let now_us = self.clock.now().monotonic_us;
                    if disk.origin.is_some() && now_us.saturating_sub(disk.refused_at_us) >= RETRY_US {
                        self.start_anew(&mut disk);
                    }
                    false
                }
            };
            drop(disk);
            if is_due {
                self.compact();
            }
        }
    }

    pub(super) fn stop(&self) {
        self.inbox.lock().is_stopping = true;
        self.wake.notify_one();
    }
}

pub(super) fn random_id() -> io::Result<Id> {
    let mut id = [0; 32];
    getrandom::fill(&mut id).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(id)
}
