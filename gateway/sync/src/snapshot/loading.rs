//! What a start finds in the place of a snapshot.
//!
//! Decides whether it can be gone on with, and how old it is. What does not fit is put aside under another name and said so, never used
//! and never removed. Called once, when the snapshot is opened.

use super::boot::Boot;
use super::chain::Kind;
use super::entry::{self, FreshAt};
use super::place::{Place, SnapshotError, failed, open};
use super::survey::{Opened, Survey};
use super::unfit::Unfit;
use portcullis_verify::{DeploymentId, KeyHash, KeyRecord, Moment, Version};
use std::fs::File;
use std::path::PathBuf;

/// What was found.
#[derive(Debug)]
pub enum Loaded {
    /// Nothing, or nothing with a key in it.
    Nothing,
    /// Keys, and how far the changes were followed that concern them.
    Usable(Box<Usable>),
    /// Something that cannot be gone on with. It is kept, under another name.
    Rejected(Rejected),
}

/// What cannot be gone on with.
#[derive(Debug, thiserror::Error)]
#[error("{why}; it is kept as {}", kept_as.display())]
pub struct Rejected {
    /// What is wrong with it.
    pub why: Unfit,
    /// What it is called now; its journal beside it likewise.
    pub kept_as: PathBuf,
}

/// Keys of an earlier run.
#[derive(Debug)]
pub struct Usable {
    /// Whose they are.
    pub deployment_id: DeploymentId,
    /// Its name.
    pub deployment_name: String,
    /// The slugs of the apps that they were restricted to. Empty: all of the deployment.
    pub apps: Vec<String>,
    /// Every change up to here is taken into account.
    pub applied: Version,
    /// Monotonic microseconds of this machine's clock at which they were known to be up to date. `None`: that cannot be told, and
    /// they are too stale for anything but to be asked about anew.
    pub fresh_at_us: Option<u64>,
    /// How the time that has passed since was measured.
    pub by: Measured,
    /// The keys.
    pub keys: SavedKeys,
}

/// How an age was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measured {
    /// By the clock that counts from the machine's start, which nobody can set.
    BootClock,
    /// By the wall clock, because the machine has started anew: it is as right as that clock was and is.
    WallClock,
    /// Not at all: the wall clock was set back since, or nothing was ever heard.
    NotAtAll,
}

impl std::fmt::Display for Measured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Measured::BootClock => "the clock that counts from the machine's start",
            Measured::WallClock => "the wall clock, because the machine has started anew",
            Measured::NotAtAll => "nothing: the wall clock was set back, or nothing was ever heard",
        })
    }
}

/// The keys of an earlier run, still in their files.
#[derive(Debug)]
pub struct SavedKeys(pub(super) Survey);

/// How many keys were handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HandedOver {
    /// Those that were.
    pub keys: u64,
    /// Those that another version of Portcullis wrote in a way that this one cannot read.
    pub illegible: u64,
}

impl SavedKeys {
    /// How many are in the files, those included that count no more.
    #[must_use]
    pub fn in_files(&self) -> u64 {
        self.0.keys
    }

    /// Calls `each` with every key that no change made outdated, and the version up to which it is known to hold.
    ///
    /// # Errors
    ///
    /// When the files cannot be read. The keys told before are right all the same.
    pub fn for_each(mut self, mut each: impl FnMut(KeyHash, Version, KeyRecord)) -> Result<HandedOver, Unfit> {
        let mut handed = HandedOver::default();
        self.0.for_each_key(|put, bytes| {
            match entry::put_record(bytes) {
                Some(record) => {
                    handed.keys += 1;
                    each(put.hash, put.as_of, record);
                }
                None => handed.illegible += 1,
            }
            Ok::<_, Unfit>(())
        })?;
        Ok(handed)
    }
}

/// What there is to append to.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) survey: Survey,
    pub(super) journal: File,
    pub(super) base_length: u64,
}

/// Looks for a snapshot that was written for `scope`.
pub(super) fn find(place: &Place, scope: &str) -> Result<Result<Option<Found>, Rejected>, SnapshotError> {
    match read(place, scope) {
        Ok(found) => {
            if let Some(found) = &found {
                let at = found.survey.journal_at;
                let cut = found.journal.set_len(at).and_then(|()| found.journal.sync_data());
                cut.map_err(failed("cut off what is torn of", &place.journal))?;
            }
            place.clean().map_err(failed("clean up beside", &place.base))?;
            Ok(Ok(found))
        }
        Err(why) => Ok(Err(Rejected {
            why,
            kept_as: place.put_aside()?,
        })),
    }
}

fn read(place: &Place, scope: &str) -> Result<Option<Found>, Unfit> {
    let (base, journal) = match (open(&place.base)?, open(&place.journal)?) {
        (None, None) => return Ok(None),
        (None, Some(_)) => {
            return Err(Unfit::Incomplete {
                missing: "the file itself",
            });
        }
        (Some(base), journal) => (base, journal),
    };
    let journal = matching_journal(place, &base, journal)?;
    let (base, again) = (opened(base)?, opened(journal.try_clone()?)?);
    let base_length = base.length;
    let survey = Survey::of(base, again)?;
    if survey.origin.scope != scope {
        return Err(Unfit::OtherScope);
    }
    // Reading moves the place that an open file stands at; appending does not mind.
    Ok(Some(Found {
        survey,
        journal,
        base_length,
    }))
}

/// The journal of this base. Where the process ended while it replaced both, it is still to be put in its place.
fn matching_journal(place: &Place, base: &File, journal: Option<File>) -> Result<File, Unfit> {
    let id = opened(base.try_clone()?)?.id(Kind::Base)?;
    let mut is_other = false;
    if let Some(journal) = journal {
        if opened(journal.try_clone()?)?.id(Kind::Journal)? == id {
            return Ok(journal);
        }
        is_other = true;
    }
    if let Some(journal) = place.open_new_journal()? {
        let new_id = opened(journal.try_clone()?)?.id(Kind::Journal);
        if new_id.is_ok_and(|new_id| new_id == id) {
            place.finish()?;
            return Ok(journal);
        }
    }
    Err(match is_other {
        true => Unfit::OtherJournal,
        false => Unfit::Incomplete { missing: "its journal" },
    })
}

pub(super) fn opened(file: File) -> Result<Opened, Unfit> {
    let length = file.metadata()?.len();
    Ok(Opened { file, length })
}

/// How long ago `fresh` was, and how that was measured.
pub(super) fn age_us(fresh: Option<&FreshAt>, boot: Boot, now: Moment) -> (Option<u64>, Measured) {
    let Some(fresh) = fresh else {
        return (None, Measured::NotAtAll);
    };
    if fresh.boot.is_known_to_be(boot) {
        return match now.monotonic_us.checked_sub(fresh.time.monotonic_us) {
            Some(age_us) => (Some(age_us), Measured::BootClock),
            None => (None, Measured::NotAtAll),
        };
    }
    match u64::try_from(now.wall_us.saturating_sub(fresh.time.wall_us)) {
        // It was written before the machine started, whatever the wall clock says.
        Ok(age_us) => (Some(age_us.max(now.since_start_us())), Measured::WallClock),
        Err(_) => (None, Measured::NotAtAll),
    }
}
