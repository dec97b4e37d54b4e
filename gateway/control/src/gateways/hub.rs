//! Where the tailer's changes meet those who watch: one ring of changes for all, one word of news for each deployment.
//!
//! Decides nothing about a gateway. A run of changes is written out once for all watchers of a deployment that stand at the same
//! place. The tailer feeds it; watchers read it.

use crate::gateways::ring::Ring;
use crate::gateways::subscription::{Line, Subscription};
use parking_lot::Mutex;
use portcullis_verify::{Change, ChangeKind, DeploymentId, Version};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The changes of this process, for all who watch.
#[derive(Debug)]
pub(crate) struct Hub {
    pub(super) ring: Mutex<Ring>,
    pub(super) feeds: Mutex<HashMap<DeploymentId, Arc<Feed>>>,
    /// What ends with each token that somebody watches with.
    pub(super) tokens: Mutex<HashMap<i64, Arc<CancellationToken>>>,
}

/// The news of one deployment.
#[derive(Debug)]
pub(super) struct Feed {
    pub(super) deployment_id: DeploymentId,
    news: watch::Sender<()>,
    /// The run that was written out last: most watchers stand where it begins.
    pub(super) line: Mutex<Option<Line>>,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateways::subscription::Due;
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
