//! One walk over keys, page by page: the next is on its way while the last is told.
//!
//! Decides which pages count. Knows neither the table nor what is wanted.

use super::wanted::Plan;
use crate::key_reader::KeyReader;
use crate::link::LinkError;
use crate::message::{KeyPage, PAGE_MAX};
use portcullis_verify::{KeyId, Version};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::task::AbortOnDropHandle;

/// How long one question may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// What could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error("the control API answers from before what it has already told")]
    Outdated,
    #[error("the control API sends pages that lead nowhere")]
    Absurd,
}

/// How many keys to ask for at once: fewer when an answer was too long.
#[derive(Debug, Clone, Copy)]
pub(super) struct PageKeys(u32);

impl Default for PageKeys {
    fn default() -> PageKeys {
        PageKeys(PAGE_MAX)
    }
}

/// A walk under way.
pub(super) struct Walk {
    pub(super) plan: Plan,
    /// The newest version that was read.
    pub(super) read_at: Version,
    /// Keys that were told.
    pub(super) keys: u64,
    /// When it began, in monotonic microseconds.
    pub(super) begun_us: u64,
    after: Option<KeyId>,
    asked: Option<AbortOnDropHandle<Result<KeyPage, LinkError>>>,
}

impl Walk {
    pub(super) fn new(plan: Plan, begun_us: u64) -> Walk {
        Walk {
            plan,
            read_at: plan.floor,
            keys: 0,
            begun_us,
            after: None,
            asked: None,
        }
    }

    /// The next page. After an error the same page is asked for again.
    pub(super) async fn next_page(
        &mut self,
        reader: &Arc<impl KeyReader>,
        page_keys: &mut PageKeys,
    ) -> Result<KeyPage, Failure> {
        loop {
            if self.asked.is_none() {
                self.ask(reader, *page_keys);
            }
            // It stays asked for until the answer is there, should nobody wait for it to the end.
            let Some(asked) = &mut self.asked else { continue };
            let answer = asked.await;
            self.asked = None;
            match answer {
                Ok(Ok(page)) => return self.counts(&page).map(|()| page),
                Ok(Err(LinkError::TooLong)) if page_keys.0 > 1 => page_keys.0 /= 2,
                Ok(Err(error)) => return Err(error.into()),
                Err(_) => return Err(LinkError::Broken("the question was dropped".to_owned()).into()),
            }
        }
    }

    /// Goes on behind `page`, and asks for what follows. Answers whether there is more.
    pub(super) fn go_on(&mut self, page: &KeyPage, reader: &Arc<impl KeyReader>, page_keys: PageKeys) -> bool {
        if page.as_of.revision > self.read_at.revision {
            self.read_at = page.as_of;
        }
        self.after = page.next.or(self.after);
        let has_more = page.next.is_some();
        if has_more {
            self.ask(reader, page_keys);
        }
        has_more
    }

    fn ask(&mut self, reader: &Arc<impl KeyReader>, PageKeys(limit): PageKeys) {
        let (reader, after, app) = (Arc::clone(reader), self.after, self.plan.app);
        let asked = tokio::spawn(async move { reader.page(after, app, limit, PATIENCE).await });
        self.asked = Some(AbortOnDropHandle::new(asked));
    }

    fn counts(&self, page: &KeyPage) -> Result<(), Failure> {
        let leads_on = |next: KeyId| self.after.is_none_or(|after| next > after);
        if !page.as_of.covers(self.plan.floor) {
            Err(Failure::Outdated)
        } else if !page.next.is_none_or(leads_on) {
            Err(Failure::Absurd)
        } else {
            Ok(())
        }
    }
}
