//! A watcher's place at the hub: what it has to tell next, written out once for all who stand where it stands.
//!
//! Knows nothing of connections. [`super::hub`] makes it, [`super::session`] reads it.

use crate::gateways::hub::{Feed, Hub};
use crate::gateways::ring::{Next, run};
use bytes::Bytes;
use portcullis_sync::message::{Changes, FromControl};
use portcullis_verify::{Change, Version};
use std::collections::hash_map::Entry;
use std::sync::Arc;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// A run, written out.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    after: Version,
    /// Where it leads.
    pub(crate) through: Version,
    /// Whether anything in it concerns the deployment.
    pub(crate) has_changes: bool,
    /// The line as it is sent.
    pub(crate) bytes: Bytes,
}

/// What a watcher has to tell next.
#[derive(Debug)]
pub(crate) enum Due {
    Nothing,
    Line(Line),
    /// The store must be asked.
    NotHeld,
    /// Nothing can be told; see [`Next::Elsewhere`].
    Elsewhere,
}

/// A watcher's place at the hub.
#[derive(Debug)]
pub(crate) struct Subscription {
    pub(super) hub: Arc<Hub>,
    pub(super) feed: Arc<Feed>,
    pub(super) token_id: i64,
    pub(super) token: Arc<CancellationToken>,
    pub(super) news: watch::Receiver<()>,
}

impl Subscription {
    /// Waits for the next news; what came since the last time counts.
    pub(crate) async fn news(&mut self) {
        if self.news.changed().await.is_err() {
            // The feed outlives its subscriptions, so that this does not come.
            std::future::pending::<()>().await;
        }
    }

    /// Is cancelled when the token is revoked.
    pub(crate) fn token(&self) -> CancellationToken {
        CancellationToken::clone(&self.token)
    }

    /// What has to be told after `cursor`.
    pub(crate) fn due(&self, cursor: Version) -> Due {
        let mut written = self.feed.line.lock();
        let ring = self.hub.ring.lock();
        if let Some(line) = &*written
            && line.after == cursor
            && line.through == ring.head()
        {
            return Due::Line(line.clone());
        }
        let (through, changes) = match ring.after(cursor, self.feed.deployment_id) {
            Next::Nothing => return Due::Nothing,
            Next::NotHeld => return Due::NotHeld,
            Next::Elsewhere => return Due::Elsewhere,
            Next::Run { through, changes } => (through, changes),
        };
        drop(ring);
        let line = Line {
            after: cursor,
            through,
            has_changes: !changes.is_empty(),
            bytes: line(&FromControl::Changes(Changes {
                epoch: through.epoch,
                after: cursor.revision,
                through: through.revision,
                changes,
            })),
        };
        *written = Some(line.clone());
        Due::Line(line)
    }

    /// What of changes that were read from the store has to be told after `cursor`, as far as the hub has heard of them too.
    pub(crate) fn replay(&self, cursor: Version, changes: &[Change]) -> Option<Line> {
        let head = self.hub.head();
        let known = changes.iter().filter(|change| head.covers(change.version));
        let (through, changes) = run(known, self.feed.deployment_id);
        let through = through?;
        Some(Line {
            after: cursor,
            through,
            has_changes: !changes.is_empty(),
            bytes: line(&FromControl::Changes(Changes {
                epoch: through.epoch,
                after: cursor.revision,
                through: through.revision,
                changes,
            })),
        })
    }
}

impl Drop for Subscription {
    /// The last one of a deployment or a token leaves nothing behind.
    fn drop(&mut self) {
        // Two hold it at the end: the map and this subscription.
        let mut feeds = self.hub.feeds.lock();
        if let Entry::Occupied(feed) = feeds.entry(self.feed.deployment_id)
            && Arc::ptr_eq(feed.get(), &self.feed)
            && Arc::strong_count(&self.feed) == 2
        {
            feed.remove();
        }
        drop(feeds);
        let mut tokens = self.hub.tokens.lock();
        if let Entry::Occupied(token) = tokens.entry(self.token_id)
            && Arc::ptr_eq(token.get(), &self.token)
            && Arc::strong_count(&self.token) == 2
        {
            token.remove();
        }
    }
}

/// A message as a line.
pub(crate) fn line(message: &FromControl) -> Bytes {
    // Messages hold nothing that JSON cannot say.
    let mut text = serde_json::to_vec(message).unwrap_or_default();
    text.push(b'\n');
    Bytes::from(text)
}
