//! What a gateway knows, on disk: so that it can be started while the control API is away, and brings no dead key back.
//!
//! Decides when what is known is written, and what follows when it cannot be. Knows nothing of connections, and holds no key in memory:
//! a base holds what was known when it was written, its journal what came since, and from time to time both become a new base. The
//! follower tells it of changes, the wiring of keys; a start reads it.
//!
//! Invariant: a change that was told and confirmed is on the disk, in the journal that a restart reads, or there is nothing that a
//! restart could read.

mod boot;
mod chain;
mod compaction;
mod entry;
mod fences;
mod frame_file;
mod inbox;
mod keeper;
mod loading;
mod place;
mod remembering;
mod survey;
#[cfg(test)]
mod tests;
mod unfit;

pub use loading::{HandedOver, Loaded, Measured, Rejected, SavedKeys, Usable};
pub use place::SnapshotError;
pub use remembering::Remembering;
pub use unfit::Unfit;

use crate::journal::Journal;
use crate::message::{Changes, Welcome};
use entry::Origin;
use keeper::Keeper;
use parking_lot::Mutex;
use place::Place;
use portcullis_verify::{Clock, KeyHash, KeyRecord, Moment, Version};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

/// How large a journal may become, in bytes, however small its base is.
const JOURNAL_BYTES_MIN: u64 = 4 << 20;

/// Where a snapshot is kept, and how much of what.
#[derive(Debug, Clone)]
pub struct SnapshotSettings {
    /// The file; its journal and its lock lie beside it. Its folder must exist.
    pub path: PathBuf,
    /// Keys that are kept, the newest of them.
    pub keys_max: u64,
    /// Which gateway token they are read with.
    pub scope: Scope,
}

/// Which gateway token keys were read with: a hash, from which the token cannot be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope(String);

impl Scope {
    /// That of a token.
    #[must_use]
    pub fn of_token(token: &str) -> Scope {
        let hash = blake3::derive_key("portcullis 2026 gateway token of a snapshot", token.as_bytes());
        let hex = blake3::Hash::from_bytes(hash).to_hex();
        Scope(hex.as_str().to_owned())
    }
}

/// What [`Snapshot::bind`] came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// What was saved is this deployment's, or there was nothing.
    Resumed,
    /// What was saved is another's, or for other apps, and was put aside. Nothing of it may be used.
    Anew,
}

/// The snapshot of this process. No other process has its files while this value lives; dropping it writes what is left.
#[derive(Debug)]
pub struct Snapshot {
    keeper: Arc<Keeper>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Snapshot {
    /// Takes the file for this process, and says what an earlier one left there. Blocks on the disk.
    ///
    /// # Errors
    ///
    /// When another process has the file, when it cannot be locked, or when what does not fit cannot be put aside.
    pub fn open(settings: &SnapshotSettings, clock: Clock) -> Result<(Arc<Snapshot>, Loaded), SnapshotError> {
        Snapshot::open_with(settings, clock, JOURNAL_BYTES_MIN)
    }

    fn open_with(
        settings: &SnapshotSettings,
        clock: Clock,
        journal_bytes_min: u64,
    ) -> Result<(Arc<Snapshot>, Loaded), SnapshotError> {
        let place = Place::at(&settings.path);
        let lock = place.lock()?;
        let found = loading::find(&place, &settings.scope.0)?;
        let (keeper, loaded) = Keeper::begin(place, lock, clock, settings, journal_bytes_min, found);
        let keeper = Arc::new(keeper);
        let writing = Arc::clone(&keeper);
        let writer = std::thread::Builder::new()
            .name("snapshot".to_owned())
            .spawn(move || writing.run())
            .map_err(place::failed("start the writer of", &settings.path))?;
        let snapshot = Snapshot {
            keeper,
            writer: Mutex::new(Some(writer)),
        };
        Ok((Arc::new(snapshot), loaded))
    }

    /// Whose keys are told from now on. To be called with each [`Welcome`], before anything of its session is told.
    ///
    /// Blocks on the disk. What cannot be written is tried again later; the log says so.
    ///
    /// # Errors
    ///
    /// When what was saved is another's, and can neither be put aside nor removed.
    pub fn bind(&self, welcome: &Welcome) -> io::Result<Bound> {
        self.keeper.bind(Origin {
            scope: self.keeper.scope().to_owned(),
            deployment_id: welcome.deployment_id,
            deployment_name: welcome.deployment_name.clone(),
            apps: welcome.apps.clone(),
        })
    }

    /// Notes a key that was read at `as_of`. On the disk within a second; waits for the disk only when keys come faster than it takes
    /// them.
    pub fn put(&self, hash: &KeyHash, as_of: Version, record: &KeyRecord) {
        self.keeper.put(hash, as_of, record);
    }

    /// Writes what waits, and keeps no more keys. Blocks on the disk. Changes are written all the same.
    pub fn close(&self) {
        self.keeper.stop();
        if let Some(writer) = self.writer.lock().take() {
            // Its panic was told when it happened.
            let _ = writer.join();
        }
    }

    /// Whether what is told is being written. It is not before the first [`Snapshot::bind`], nor while the disk refuses.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.keeper.is_kept()
    }
}

impl Journal for Snapshot {
    fn changed(&self, changes: &Changes) -> io::Result<()> {
        self.keeper.changed(changes)
    }

    fn reset(&self, to: Version) -> io::Result<()> {
        self.keeper.reset(to)
    }

    fn fresh(&self, at: Version, t0: Moment) {
        self.keeper.fresh(at, t0);
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        self.close();
    }
}
