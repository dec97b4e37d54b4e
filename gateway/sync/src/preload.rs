//! Fills a table with every key that this gateway may know, and keeps it whole.
//!
//! Follow first, then read: whatever changes while the keys are read is told by the log, and fetched again. Each page is as old as
//! it is; the table's fences make a late one harmless. Decides what to read next; knows neither what a record means nor what the
//! table does with it. Give it to the follower as a sink after the table's own, and start it.
//!
//! A page counts only if it was read at or after the point from which on changes are heard: what an older one lacks would never be
//! told. Key ids rise, but not in the order in which keys are committed; a key that a walk has passed by is told by its change.

mod loader;
mod progress;
#[cfg(test)]
mod tests;
mod walk;
mod wanted;

pub use progress::PreloadProgress;

use crate::follower::FollowerHandle;
use crate::key_table::KeyTable;
use crate::link::Link;
use loader::{Loader, REFILL_PAUSE_MAX};
use parking_lot::Mutex;
use portcullis_verify::{Change, ChangeSink, Clock, Version};
use progress::Progress;
use std::sync::Arc;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use wanted::{Extent, Wanted};

/// Knows what has to be read, and reads it once it is started.
pub struct Preloader {
    shared: Arc<Shared>,
}

/// What the sink and the task share.
struct Shared {
    table: Arc<dyn KeyTable>,
    wanted: Mutex<Wanted>,
    /// Something is wanted that was not wanted before.
    news: Notify,
    progress: Progress,
}

impl Preloader {
    /// One that fills `table`. Reads nothing yet.
    #[must_use]
    pub fn new(table: Arc<dyn KeyTable>) -> Preloader {
        Preloader {
            shared: Arc::new(Shared {
                table,
                wanted: Mutex::default(),
                news: Notify::new(),
                progress: Progress::default(),
            }),
        }
    }

    /// Starts to read over `link`, as soon as `follower` was welcomed and knows from where on it hears of changes, on the current tokio
    /// runtime and until `shutdown`. To be called once.
    pub fn start(&self, link: Arc<Link>, follower: &FollowerHandle, clock: Clock, shutdown: CancellationToken) {
        let mut welcome = follower.welcome_changes();
        let shared = Arc::clone(&self.shared);
        let loader = Loader::new(link, shared, follower.applied_changes(), clock, REFILL_PAUSE_MAX);
        let load = async move {
            // Whoever is welcomed as somebody else forgets what it holds.
            if welcome.wait_for(Option::is_some).await.is_ok() {
                loader.run().await;
            }
        };
        tokio::spawn(async move { shutdown.run_until_cancelled(load).await });
    }

    /// How far it is.
    #[must_use]
    pub fn progress(&self) -> PreloadProgress {
        self.shared.progress.read()
    }

    /// Waits until the table was whole for the first time. Never comes back if it is never started.
    pub async fn completed(&self) {
        self.shared.progress.completed().await;
    }
}

impl ChangeSink for Preloader {
    fn apply(&self, change: &Change) {
        self.shared.want(|wanted| wanted.change(change));
    }

    fn distrust_all(&self, at: Version) {
        self.shared.want(|wanted| {
            wanted.everything(at);
            Extent::Everything
        });
    }
}

impl Shared {
    /// Notes what is wanted. In one piece with what the table is told, so that no walk can end in between.
    fn want(&self, note: impl FnOnce(&mut Wanted) -> Extent) {
        let mut wanted = self.wanted.lock();
        match note(&mut wanted) {
            Extent::Nothing => {}
            Extent::Some => self.news.notify_one(),
            Extent::Everything => {
                self.table.incomplete();
                self.progress.lost();
                self.news.notify_one();
            }
        }
    }
}
