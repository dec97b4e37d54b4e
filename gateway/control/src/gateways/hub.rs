//! Where the tailer's changes meet those who watch: one ring of changes for all, one word of news for each deployment.
//!
//! Decides nothing about a gateway. A run of changes is written out once for all watchers of a deployment that stand at the same
//! place. The tailer feeds it; watchers read it.

use crate::gateways::ring::{Next, Ring, run};
use bytes::Bytes;
use parking_lot::Mutex;
use portcullis_sync::message::{Changes, FromControl};
use portcullis_verify::{Change, ChangeKind, DeploymentId, Version};
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The changes of this process, for all who watch.
#[derive(Debug)]
pub(crate) struct Hub {
    ring: Mutex<Ring>,
    feeds: Mutex<HashMap<DeploymentId, Arc<Feed>>>,
    /// What ends with each token that somebody watches with.
    tokens: Mutex<HashMap<i64, Arc<CancellationToken>>>,
}

/// The news of one deployment.
#[derive(Debug)]
struct Feed {
    deployment_id: DeploymentId,
    news: watch::Sender<()>,
    /// The run that was written out last: most watchers stand where it begins.
    line: Mutex<Option<Line>>,
}

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
    hub: Arc<Hub>,
    feed: Arc<Feed>,
    token_id: i64,
    token: Arc<CancellationToken>,
    news: watch::Receiver<()>,
}

impl Hub {
    pub(crate) fn new() -> Hub {
        Hub {
            ring: Mutex::new(Ring::new()),
            feeds: Mutex::default(),
            tokens: Mutex::default(),
        }
    }

    /// The last change that is known of; epoch 0 before the log was first read.
    pub(crate) fn head(&self) -> Version {
        self.ring.lock().head()
    }

    /// See [`Ring::resets`].
    pub(crate) fn resets(&self) -> u64 {
        self.ring.lock().resets()
    }

    /// Tells the next changes of the log to all whom they concern, and ends what is watched with a token they revoke.
    pub(crate) fn extend(&self, changes: &[Change]) {
        let mut concerned = HashSet::new();
        {
            let mut ring = self.ring.lock();
            for change in changes {
                ring.push(*change);
            }
        }
        for change in changes {
            match change.kind {
                ChangeKind::TokenRevoked(id) => {
                    if let Some(token) = self.tokens.lock().remove(&id) {
                        token.cancel();
                    }
                }
                ChangeKind::NoKey => {}
                ChangeKind::KeyCreated(_)
                | ChangeKind::KeyChanged(_)
                | ChangeKind::AppChanged(_)
                | ChangeKind::SchemeChanged(_) => {
                    concerned.insert(change.deployment_id);
                }
            }
        }
        let feeds = self.feeds.lock();
        for feed in concerned.iter().filter_map(|deployment_id| feeds.get(deployment_id)) {
            feed.news.send_replace(());
        }
    }

    /// Changes were missed: everybody hears of it, and goes on from `head`.
    pub(crate) fn reset(&self, head: Version) {
        self.ring.lock().reset(head);
        for feed in self.feeds.lock().values() {
            feed.news.send_replace(());
        }
    }

    /// Listens for news of a deployment, with a token.
    pub(crate) fn subscribe(self: &Arc<Hub>, deployment_id: DeploymentId, token_id: i64) -> Subscription {
        let feed = Arc::clone(self.feeds.lock().entry(deployment_id).or_insert_with(|| {
            Arc::new(Feed {
                deployment_id,
                news: watch::Sender::new(()),
                line: Mutex::new(None),
            })
        }));
        let token = Arc::clone(self.tokens.lock().entry(token_id).or_default());
        Subscription {
            hub: Arc::clone(self),
            news: feed.news.subscribe(),
            feed,
            token_id,
            token,
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_verify::AppId;

    fn change(revision: u64, deployment_id: i64, kind: ChangeKind) -> Change {
        Change {
            version: Version { epoch: 7, revision },
            deployment_id: DeploymentId(deployment_id),
            kind,
        }
    }

    fn hub() -> Arc<Hub> {
        let hub = Arc::new(Hub::new());
        hub.reset(Version { epoch: 7, revision: 10 });
        hub
    }

    #[tokio::test]
    async fn news_comes_to_whom_it_concerns_and_is_written_once() {
        let hub = hub();
        let mut ours = hub.subscribe(DeploymentId(1), 1);
        let also_ours = hub.subscribe(DeploymentId(1), 2);
        let theirs = hub.subscribe(DeploymentId(2), 3);
        hub.extend(&[change(11, 1, ChangeKind::AppChanged(AppId(5)))]);
        ours.news().await;
        assert!(!theirs.news.has_changed().unwrap());
        let cursor = Version { epoch: 7, revision: 10 };
        let (Due::Line(one), Due::Line(other)) = (ours.due(cursor), also_ours.due(cursor)) else {
            panic!("both have a line to send");
        };
        assert_eq!(one.bytes.as_ptr(), other.bytes.as_ptr(), "one line serves both");
        let Due::Line(empty) = theirs.due(cursor) else {
            panic!("a run without changes leads on too");
        };
        assert!(one.has_changes && !empty.has_changes);
        assert_eq!(empty.through.revision, 11);
    }

    #[tokio::test]
    async fn a_revoked_token_ends_its_own_watches_only() {
        let hub = hub();
        let revoked = hub.subscribe(DeploymentId(1), 1);
        let other = hub.subscribe(DeploymentId(1), 2);
        hub.extend(&[change(11, 1, ChangeKind::TokenRevoked(1))]);
        revoked.token().cancelled().await;
        assert!(!other.token.is_cancelled());
    }

    #[test]
    fn who_leaves_last_leaves_nothing() {
        let hub = hub();
        let first = hub.subscribe(DeploymentId(1), 1);
        let second = hub.subscribe(DeploymentId(1), 1);
        drop(first);
        assert_eq!((hub.feeds.lock().len(), hub.tokens.lock().len()), (1, 1));
        drop(second);
        assert_eq!((hub.feeds.lock().len(), hub.tokens.lock().len()), (0, 0));
    }
}
