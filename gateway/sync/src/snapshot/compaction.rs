//! A base and its journal become a new base with a journal that is nearly empty.
//!
//! Decides what is carried over: every key that no change made outdated, the newest of them if there are too many. Changes and keys go on
//! being written meanwhile, and are copied at the end. Keys pass through one by one: what is held in memory grows with the journal, by
//! some forty bytes a key, and not with the base.

use super::chain::{Id, Kind};
use super::entry;
use super::frame_file::FrameFile;
use super::keeper::{Disk, Keeper, Log, random_id};
use super::loading::opened;
use super::place::open;
use super::survey::Survey;
use super::unfit::Unfit;
use std::io;

/// After so many keys, what came meanwhile is written.
const KEYS_BETWEEN_FLUSHES: u64 = 4_096;

/// Why no new base was made.
#[derive(Debug, thiserror::Error)]
enum Failed {
    /// What is on the disk is not what was written there.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// The new files cannot be written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The files were replaced, or given up, in the meantime.
    #[error("it is not needed any more")]
    Moot,
}

impl Keeper {
    /// Writes a new base. What cannot be written is tried again when the journal is twice as long.
    pub(super) fn compact(&self) {
        // One at a time: they would write to the same files.
        let _turn = self.compacting.lock();
        let Err(failed) = self.try_to_compact() else { return };
        if !matches!(failed, Failed::Moot) {
            // Under the lock under which others make theirs. What cannot be removed is replaced by the next one.
            let _disk = self.disk.lock();
            let _ = self.place.clean();
        }
        match failed {
            Failed::Moot => {}
            Failed::Unfit(why) => self.lose(&why),
            Failed::Io(error) => {
                tracing::warn!(file = %self.place.base.display(), %error, "the journal of saved keys cannot be shortened");
                if let Some(log) = &mut self.disk.lock().log {
                    log.journal_bytes_max = log.journal.written().saturating_mul(2);
                }
            }
        }
    }

    fn try_to_compact(&self) -> Result<(), Failed> {
        let (mut survey, old_id) = self.survey()?;
        let id = random_id()?;
        let (base, journal) = {
            let disk = self.disk.lock();
            written(&disk, &old_id)?;
            self.place.make()?
        };
        let base_length = self.write_base(&mut survey, FrameFile::begin(base, Kind::Base, &id))?;

        let (mut copying, old) = survey.into_copying();
        let mut journal = FrameFile::begin(journal, Kind::Journal, &id);
        // Most of it before anybody has to wait.
        let length = written(&self.disk.lock(), &old_id)?;
        copying.copy(&old, length, &mut journal)?;
        journal.sync()?;

        let mut disk = self.disk.lock();
        self.flush_locked(&mut disk);
        let length = written(&disk, &old_id)?;
        copying.copy(&old, length, &mut journal)?;
        journal.sync()?;
        match self.place.replace() {
            Ok(()) => {
                disk.log = Some(Log {
                    journal,
                    id,
                    journal_bytes_max: self.journal_bytes_max(base_length),
                });
                Ok(())
            }
            Err(error) => {
                drop(disk);
                // Which of them is in place is not known.
                Err(Failed::Unfit(error.into()))
            }
        }
    }

    /// Everything that was told by now.
    fn survey(&self) -> Result<(Survey, Id), Failed> {
        let mut disk = self.disk.lock();
        self.flush_locked(&mut disk);
        let Disk { log: Some(log), .. } = &*disk else {
            return Err(Failed::Moot);
        };
        let id = log.id;
        let missing = |missing| Unfit::Incomplete { missing };
        let base = open(&self.place.base)?.ok_or(missing("the file itself"))?;
        let journal = open(&self.place.journal)?.ok_or(missing("its journal"))?;
        let (base, journal) = (opened(base)?, opened(journal)?);
        drop(disk);
        let survey = Survey::of(base, journal)?;
        if survey.id != id || survey.is_torn {
            return Err(Unfit::OtherJournal.into());
        }
        Ok((survey, id))
    }

    /// Answers how long it is.
    fn write_base(&self, survey: &mut Survey, mut base: FrameFile) -> Result<u64, Failed> {
        let json = |error: serde_json::Error| Failed::Io(error.into());
        base.append(entry::ORIGIN, &serde_json::to_vec(&survey.origin).map_err(json)?)?;
        if let Some(applied) = survey.applied {
            base.append(entry::POSITION, &entry::version_bytes(applied))?;
            let fences = survey.fences.list();
            base.append(entry::FENCES, &serde_json::to_vec(&fences).map_err(json)?)?;
        }
        if let Some(fresh) = &survey.fresh {
            base.append(entry::FRESH, &entry::fresh_bytes(fresh))?;
        }
        let mut too_many = self.too_many(survey)?;
        let mut keys: u64 = 0;
        survey.for_each_key(|_, bytes| {
            if too_many > 0 {
                too_many -= 1;
                return Ok::<_, Failed>(());
            }
            keys += 1;
            if keys.is_multiple_of(KEYS_BETWEEN_FLUSHES) {
                self.flush();
            }
            Ok(base.append(entry::PUT, bytes)?)
        })?;
        base.append(entry::END, &keys.to_le_bytes())?;
        base.sync()?;
        Ok(base.written())
    }

    /// How many keys, the oldest, must be left out.
    fn too_many(&self, survey: &mut Survey) -> Result<u64, Failed> {
        if survey.keys <= self.keys_max {
            return Ok(0);
        }
        let mut live: u64 = 0;
        survey.for_each_key(|_, _| {
            live += 1;
            Ok::<_, Failed>(())
        })?;
        Ok(live.saturating_sub(self.keys_max))
    }
}

/// How long the journal is, if it still is the one with this id.
fn written(disk: &Disk, id: &Id) -> Result<u64, Failed> {
    match &disk.log {
        Some(log) if log.id == *id => Ok(log.journal.written()),
        _ => Err(Failed::Moot),
    }
}
