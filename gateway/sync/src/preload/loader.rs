//! The task that reads what is wanted, until nothing is.
//!
//! Single keys that changed come first, because requests may wait for them; between any two such questions a walk goes on by a page.
//! Decides nothing about what is wanted; tells the table what was read.

use super::Shared;
use super::progress::PreloadProgress;
use super::walk::{Failure, PATIENCE, PageKeys, Walk};
use super::wanted::Extent;
use crate::backoff::Backoff;
use crate::key_reader::KeyReader;
use crate::link::LinkError;
use crate::message::{HashText, KeyPage, LOOK_UP_MAX};
use portcullis_verify::{Clock, Version};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Sleep;

/// The longest pause after a failure.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// The longest pause before everything is read once more because the table could not be made whole, usually.
pub(super) const REFILL_PAUSE_MAX: Duration = Duration::from_secs(60);
/// After so many records others have their turn on this worker.
const RECORDS_PER_TURN: usize = 64;
/// A walk says how far it is whenever it has told so many more keys.
const KEYS_PER_REPORT: u64 = 100_000;

/// Reads and tells.
pub(super) struct Loader<R> {
    reader: Arc<R>,
    shared: Arc<Shared>,
    applied: watch::Receiver<Option<Version>>,
    clock: Clock,
    backoff: Backoff,
    refill: Backoff,
    page_keys: PageKeys,
    walk: Option<Walk>,
    /// A walk that filled the table has read up to here; the log has not been heard so far yet.
    filled: Option<(u64, Version)>,
    /// A walk that should have filled the table did not, in this generation and up to here; when to try again.
    again: Option<(u64, Version, Pin<Box<Sleep>>)>,
    logged: Option<String>,
}

impl<R: KeyReader> Loader<R> {
    pub(super) fn new(
        reader: Arc<R>,
        shared: Arc<Shared>,
        applied: watch::Receiver<Option<Version>>,
        clock: Clock,
        refill_pause_max: Duration,
    ) -> Loader<R> {
        Loader {
            reader,
            shared,
            applied,
            clock,
            backoff: Backoff::new(PAUSE_MAX),
            refill: Backoff::new(refill_pause_max),
            page_keys: PageKeys::default(),
            walk: None,
            filled: None,
            again: None,
            logged: None,
        }
    }

    pub(super) async fn run(mut self) {
        // Before anything can be missed, nothing is read.
        let Ok(applied) = self.applied.wait_for(Option::is_some).await.map(|applied| *applied) else {
            return;
        };
        if let Some(applied) = applied {
            self.shared.want(|wanted| wanted.begin(applied));
        }
        loop {
            match self.turn().await {
                Ok(true) => {
                    self.backoff.reset();
                    self.logged = None;
                }
                Ok(false) => tokio::select! {
                    () = self.shared.news.notified() => {}
                    changed = self.applied.changed(), if self.filled.is_some() => if changed.is_err() { return },
                    () = until(&mut self.again) => self.read_all_again(),
                },
                Err(failure) => {
                    self.report(&failure);
                    tokio::time::sleep(self.backoff.pause()).await;
                }
            }
        }
    }

    /// Reads a little of what is wanted. Answers whether anything was.
    async fn turn(&mut self) -> Result<bool, Failure> {
        let has_read_keys = self.read_changed_keys().await?;
        if self.walk.is_none() {
            self.begin_walk();
        }
        let has_walked = match self.walk.take() {
            Some(walk) => self.go_on(walk).await?,
            None => false,
        };
        self.try_complete();
        Ok(has_read_keys || has_walked)
    }

    async fn read_changed_keys(&self) -> Result<bool, Failure> {
        let wanted = self.shared.wanted.lock().take_hashes(LOOK_UP_MAX);
        if wanted.is_empty() {
            return Ok(false);
        }
        let mut rest = wanted;
        let mut at_once = rest.len();
        while !rest.is_empty() {
            let batch = &rest[..at_once.min(rest.len())];
            let hashes = batch.iter().map(|(hash, _)| HashText(*hash)).collect();
            let answer = match self.reader.look_up(hashes, PATIENCE).await {
                Ok(answer) if batch.iter().all(|(_, version)| answer.as_of.covers(*version)) => answer,
                Err(LinkError::TooLong) if at_once > 1 => {
                    at_once /= 2;
                    continue;
                }
                outcome => {
                    self.shared.wanted.lock().give_back(&rest);
                    return Err(outcome.err().map_or(Failure::Outdated, Failure::Link));
                }
            };
            for ((hash, _), record) in batch.iter().zip(answer.records) {
                match record {
                    Some(record) => {
                        self.shared.table.admit(*hash, record, answer.as_of);
                    }
                    None => self.shared.table.absent(hash, answer.as_of),
                }
            }
            let count = batch.len();
            self.shared
                .progress
                .note(|progress| progress.keys_read_again += u64::try_from(count).unwrap_or(0));
            rest.drain(..count);
        }
        Ok(true)
    }

    fn begin_walk(&mut self) {
        let Some(plan) = self.shared.wanted.lock().take_walk() else {
            return;
        };
        if plan.is_filling {
            self.shared.table.incomplete();
            self.filled = None;
            tracing::info!(revision = plan.floor.revision, "all keys are being read");
        } else {
            tracing::debug!(app = plan.app.map(|app| app.0), "changed keys are being read again");
        }
        self.walk = Some(Walk::new(plan, self.clock.now().monotonic_us));
    }

    /// Reads the next page of a walk, unless the walk is of no use any more.
    async fn go_on(&mut self, mut walk: Walk) -> Result<bool, Failure> {
        let read = walk.next_page(&self.reader, &mut self.page_keys).await;
        if walk.plan.generation != self.shared.wanted.lock().generation() {
            return Ok(true);
        }
        let page = match read {
            Ok(page) => page,
            Err(failure) => {
                self.walk = Some(walk);
                return Err(failure);
            }
        };
        let has_more = walk.go_on(&page, &self.reader, self.page_keys);
        self.tell(&mut walk, page).await;
        if has_more {
            self.walk = Some(walk);
        } else {
            self.ended(&walk);
        }
        Ok(true)
    }

    async fn tell(&self, walk: &mut Walk, page: KeyPage) {
        let KeyPage { as_of, keys, .. } = page;
        let before = walk.keys;
        for (number, key) in keys.into_iter().enumerate() {
            self.shared.table.admit(key.hash.0, key.record, as_of);
            walk.keys += 1;
            if number % RECORDS_PER_TURN == RECORDS_PER_TURN - 1 {
                tokio::task::yield_now().await;
            }
        }
        if walk.plan.is_filling {
            let took = self.time_of(walk);
            self.shared.progress.note(|progress| {
                progress.keys = walk.keys;
                progress.took = took;
            });
            if before / KEYS_PER_REPORT < walk.keys / KEYS_PER_REPORT {
                tracing::info!(keys = walk.keys, seconds = took.as_secs_f64(), "keys were read so far");
            }
        }
    }

    fn ended(&mut self, walk: &Walk) {
        self.shared.progress.note(|progress| progress.walks += 1);
        if walk.plan.is_filling {
            self.filled = Some((walk.plan.generation, walk.read_at));
        }
    }

    /// Says that the table is whole, once everything up to what was read has been heard.
    fn try_complete(&mut self) {
        let Some((generation, at)) = self.filled else { return };
        let is_heard = self
            .applied
            .borrow_and_update()
            .is_some_and(|applied| applied.covers(at));
        let mut wanted = self.shared.wanted.lock();
        if generation != wanted.generation() {
            self.filled = None;
            return;
        }
        if !is_heard {
            return;
        }
        self.filled = None;
        if self.shared.table.complete(at) {
            wanted.filled();
            drop(wanted);
            self.refill.reset();
            self.shared.progress.note(|progress| progress.is_complete = true);
            let PreloadProgress { keys, took, .. } = self.shared.progress.read();
            tracing::info!(
                keys,
                seconds = took.as_secs_f64(),
                "all keys are held; what is not held is unknown"
            );
        } else {
            let pause = self.refill.long_pause();
            self.again = Some((generation, at, Box::pin(tokio::time::sleep(pause))));
            tracing::error!(
                again_in_s = pause.as_secs(),
                "not all keys could be held: what is not held is asked for one by one, and all are read again"
            );
        }
    }

    /// The table could not be made whole some time ago. Unless everything has been wanted since, it is wanted once more.
    fn read_all_again(&mut self) {
        if let Some((generation, at, _)) = self.again.take() {
            self.shared.want(|wanted| {
                if wanted.generation() != generation {
                    return Extent::Nothing;
                }
                wanted.everything(at);
                Extent::Everything
            });
        }
    }

    fn time_of(&self, walk: &Walk) -> Duration {
        Duration::from_micros(self.clock.now().monotonic_us.saturating_sub(walk.begun_us))
    }

    /// Says once what is wrong, and again when it is something else.
    fn report(&mut self, failure: &Failure) {
        self.shared.progress.note(|progress| progress.failures += 1);
        let cause = failure.to_string();
        if self.logged.as_ref() != Some(&cause) {
            tracing::warn!(cause, "keys cannot be read; it is tried again");
            self.logged = Some(cause);
        }
    }
}

/// Waits for what is set, for ever if nothing is.
async fn until(again: &mut Option<(u64, Version, Pin<Box<Sleep>>)>) {
    match again {
        Some((_, _, sleep)) => sleep.await,
        None => std::future::pending().await,
    }
}
