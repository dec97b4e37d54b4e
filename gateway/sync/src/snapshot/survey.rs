//! What the two files of a snapshot say, taken together.
//!
//! Decides which keys still count, and how far the changes were followed. Knows no paths, and nothing of who asks: a start reads the
//! keys through it, and so does the writing of a new base.

use super::chain::{Chain, Frames, Id, Kind, Next};
use super::entry::{self, Entry, FreshAt, Origin, PutHead};
use super::fences::Fences;
use super::frame_file::FrameFile;
use super::unfit::Unfit;
use crate::message::Changes;
use portcullis_verify::{KeyHash, Version};
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Seek, SeekFrom};

const READ_BYTES: usize = 1 << 17;

/// A file as it was at one moment. It may grow meanwhile, or be replaced by another.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) file: File,
    pub(super) length: u64,
}

impl Opened {
    /// The id in its preamble.
    pub(super) fn id(&self, kind: Kind) -> Result<Id, Unfit> {
        Ok(self.frames(kind)?.id())
    }

    fn frames(&self, kind: Kind) -> Result<Frames<BufReader<&File>>, Unfit> {
        let mut file = &self.file;
        file.seek(SeekFrom::Start(0))?;
        let unsafe_kinds = match kind {
            Kind::Base => &[],
            Kind::Journal => entry::UNSAFE,
        };
        Frames::open(
            BufReader::with_capacity(READ_BYTES, file),
            kind,
            self.length,
            unsafe_kinds,
        )
    }
}

/// Half a hash tells two keys apart, and a million of them are as many as there may be in a journal.
type Short = [u8; 16];

/// What was found.
#[derive(Debug)]
pub(super) struct Survey {
    base: Opened,
    journal: Opened,
    pub(super) id: Id,
    pub(super) origin: Origin,
    /// Every change up to here was applied. `None`: nothing was heard yet.
    pub(super) applied: Option<Version>,
    pub(super) fresh: Option<FreshAt>,
    pub(super) fences: Fences,
    /// Keys in both files, those included that count no more.
    pub(super) keys: u64,
    /// False: a reset that the journal tells of ended the history that the base belongs to.
    base_counts: bool,
    /// Where in the journal each key was told last.
    newest: HashMap<Short, (Version, u64)>,
    /// Where the good part of the journal ends, and how it goes on from there.
    pub(super) journal_at: u64,
    pub(super) chain: Chain,
    /// The journal ends within a frame.
    pub(super) is_torn: bool,
}

impl Survey {
    /// Reads both files through.
    pub(super) fn of(base: Opened, journal: Opened) -> Result<Survey, Unfit> {
        let journal_frames = journal.frames(Kind::Journal)?;
        let (chain, journal_at) = (journal_frames.chain().clone(), journal_frames.at());
        let journal_id = journal_frames.id();
        drop(journal_frames);
        let mut frames = base.frames(Kind::Base)?;
        let id = frames.id();
        if id != journal_id {
            return Err(Unfit::OtherJournal);
        }
        let Entry::Origin(origin) = base_entry(&mut frames)? else {
            return Err(Unfit::Senseless { at: frames.at() });
        };
        drop(frames);
        let mut survey = Survey {
            base,
            journal,
            id,
            origin,
            applied: None,
            fresh: None,
            fences: Fences::default(),
            keys: 0,
            base_counts: true,
            newest: HashMap::new(),
            journal_at,
            chain,
            is_torn: false,
        };
        survey.read_base()?;
        survey.read_journal()?;
        Ok(survey)
    }

    fn read_base(&mut self) -> Result<(), Unfit> {
        let mut frames = self.base.frames(Kind::Base)?;
        loop {
            let entry = base_entry(&mut frames)?;
            let at = frames.at();
            match entry {
                Entry::Origin(_) => {}
                Entry::Position(version) => {
                    self.applied = Some(version);
                    self.fences = Fences::from(version);
                }
                Entry::Fences(list) => {
                    let applied = self.applied.ok_or(Unfit::Senseless { at })?;
                    self.fences = Fences::of_list(applied, &list);
                }
                Entry::Fresh(fresh) => self.fresh = Some(fresh),
                Entry::Put(_) => self.keys += 1,
                Entry::End(keys) if keys == self.keys => break,
                Entry::End(_) | Entry::Changes(_) | Entry::Reset(_) => return Err(Unfit::Senseless { at }),
            }
        }
        match frames.next()? {
            Next::End => Ok(()),
            Next::Frame(_) | Next::Torn => Err(Unfit::Senseless { at: frames.at() }),
        }
    }

    fn read_journal(&mut self) -> Result<(), Unfit> {
        let mut frames = self.journal.frames(Kind::Journal)?;
        loop {
            let from = frames.at();
            let kind = match frames.next()? {
                Next::Frame(kind) => kind,
                Next::End => break,
                Next::Torn => {
                    self.is_torn = true;
                    break;
                }
            };
            let at = frames.at();
            match Entry::read(kind, frames.bytes()).ok_or(Unfit::Senseless { at })? {
                Entry::Put(put) => {
                    self.keys += 1;
                    let told = self.newest.entry(short(&put.hash)).or_insert((put.as_of, from));
                    if told.0.epoch != put.as_of.epoch || told.0.revision <= put.as_of.revision {
                        *told = (put.as_of, from);
                    }
                }
                Entry::Changes(changes) => {
                    let to = follow(self.applied, &changes)?;
                    changes.changes.iter().for_each(|&line| self.fences.raise(line));
                    self.applied = Some(to);
                }
                Entry::Reset(to) => {
                    if self.applied.is_some_and(|applied| !to.covers(applied)) {
                        // The history is another, or has lost its end: what is known of the end says nothing.
                        self.newest.clear();
                        self.base_counts = false;
                    }
                    self.fences = Fences::from(to);
                    self.applied = Some(to);
                }
                Entry::Fresh(fresh) => self.fresh = Some(fresh),
                Entry::Origin(_) | Entry::Position(_) | Entry::Fences(_) | Entry::End(_) => {
                    return Err(Unfit::Senseless { at });
                }
            }
        }
        self.journal_at = frames.at();
        self.chain = frames.chain().clone();
        // What is appended later is not part of this.
        self.journal.length = self.journal_at;
        Ok(())
    }

    /// Calls `each` for every key that still counts, once, with its frame's bytes. The version in them is that up to which it is known
    /// to hold.
    pub(super) fn for_each_key<E: From<Unfit>>(
        &mut self,
        mut each: impl FnMut(&PutHead, &mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(applied) = self.applied else { return Ok(()) };
        let mut tell = |mut put: PutHead, bytes: &mut Vec<u8>| {
            // No change up to `applied` concerned it: it is as good as read then.
            if applied.covers(put.as_of) {
                put.as_of = applied;
                entry::set_as_of(bytes, applied);
            }
            each(&put, bytes)
        };
        let mut frames = self.base.frames(Kind::Base)?;
        while let Some((_, put)) = next_put(&mut frames)?.filter(|_| self.base_counts) {
            let told = self.newest.get(&short(&put.hash)).map(|&(told, _)| told);
            if told.is_some_and(|told| told.covers(put.as_of)) || !self.fences.admit(&put) {
                continue;
            }
            // What the journal says of it is older, if it says anything.
            self.newest.remove(&short(&put.hash));
            tell(put, frames.bytes())?;
        }
        let mut frames = self.journal.frames(Kind::Journal)?;
        while let Some((from, put)) = next_put(&mut frames)? {
            let is_newest = self.newest.get(&short(&put.hash)).is_some_and(|&(_, at)| at == from);
            if is_newest && self.fences.admit(&put) {
                tell(put, frames.bytes())?;
            }
        }
        Ok(())
    }

    /// What the journal holds after this survey, to be copied; and the journal.
    pub(super) fn into_copying(self) -> (Copying, File) {
        let copying = Copying {
            at: self.journal_at,
            chain: self.chain,
        };
        (copying, self.journal.file)
    }
}

/// Frames of a journal after a place, told to a new journal.
#[derive(Debug)]
pub(super) struct Copying {
    at: u64,
    chain: Chain,
}

impl Copying {
    /// Appends what the journal holds by now, up to `length`. Can be called again when there is more.
    pub(super) fn copy(&mut self, journal: &File, length: u64, to: &mut FrameFile) -> Result<(), Unfit> {
        let mut journal = journal;
        journal.seek(SeekFrom::Start(self.at))?;
        let source = BufReader::with_capacity(READ_BYTES, journal);
        let mut frames = Frames::resume(source, self.chain.clone(), self.at, length);
        loop {
            match frames.next()? {
                Next::Frame(kind) => to.append(kind, frames.bytes())?,
                Next::End => break,
                Next::Torn => return Err(Unfit::Truncated),
            }
        }
        (self.at, self.chain) = (frames.at(), frames.chain().clone());
        Ok(())
    }
}

/// The version that changes lead to, if they follow what was applied.
fn follow(applied: Option<Version>, changes: &Changes) -> Result<Version, Unfit> {
    let after = Version {
        epoch: changes.epoch,
        revision: changes.after,
    };
    if applied != Some(after) || changes.through <= changes.after {
        return Err(Unfit::Gap {
            before: changes.through,
        });
    }
    Ok(Version {
        revision: changes.through,
        ..after
    })
}

fn base_entry(frames: &mut Frames<BufReader<&File>>) -> Result<Entry, Unfit> {
    let Next::Frame(kind) = frames.next()? else {
        return Err(Unfit::Truncated);
    };
    let at = frames.at();
    Entry::read(kind, frames.bytes()).ok_or(Unfit::Senseless { at })
}

/// The next key, and where its frame begins.
fn next_put(frames: &mut Frames<BufReader<&File>>) -> Result<Option<(u64, PutHead)>, Unfit> {
    loop {
        let from = frames.at();
        match frames.next()? {
            Next::Frame(entry::PUT) => {
                let at = frames.at();
                return match Entry::read(entry::PUT, frames.bytes()) {
                    Some(Entry::Put(put)) => Ok(Some((from, put))),
                    _ => Err(Unfit::Senseless { at }),
                };
            }
            Next::Frame(_) => {}
            Next::End | Next::Torn => return Ok(None),
        }
    }
}

fn short(hash: &KeyHash) -> Short {
    let mut short = [0; 16];
    short.copy_from_slice(&hash.0[..16]);
    short
}
