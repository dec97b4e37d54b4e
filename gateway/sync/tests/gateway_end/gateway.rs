//! A gateway's follower, with sinks and a journal that write down what they hear, in the order in which they hear it.

use crate::control_end::{TOKEN, soon};
use parking_lot::{Condvar, Mutex};
use portcullis_sync::follower::{Follower, FollowerHandle, FollowerParts, FollowerStatus, Identity, OnWelcome};
use portcullis_sync::message::Changes;
use portcullis_sync::{Journal, Link};
use portcullis_verify::{Change, ChangeSink, Clock, Freshness, ManualClock, Moment, Version};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio_util::sync::{CancellationToken, DropGuard};

pub(crate) const STALE_SOFT: Duration = Duration::from_millis(200);
pub(crate) const STALE_MAX: Duration = Duration::from_secs(2);
pub(crate) const START: Moment = Moment {
    monotonic_us: 1_000_000_000,
    wall_us: 0,
};

/// What was heard.
pub(crate) type Heard = Arc<Mutex<Vec<String>>>;

pub(crate) struct Gateway {
    pub(crate) handle: FollowerHandle,
    pub(crate) heard: Heard,
    pub(crate) freshness: Arc<Freshness>,
    pub(crate) hands: ManualClock,
    pub(crate) clock: Clock,
    pub(crate) disk: Arc<Disk>,
    _running: DropGuard,
}

/// How a gateway is to be.
pub(crate) struct Setup {
    pub(crate) url: String,
    pub(crate) applied: Option<Version>,
    pub(crate) stale_max: Duration,
    pub(crate) on_welcome: OnWelcome,
    pub(crate) sinks: Vec<Arc<dyn ChangeSink>>,
}

impl Setup {
    pub(crate) fn new(url: String) -> Setup {
        Setup {
            url,
            applied: None,
            stale_max: STALE_MAX,
            on_welcome: Arc::new(|_| Ok(())),
            sinks: Vec::new(),
        }
    }

    pub(crate) fn start(self) -> Gateway {
        let heard = Heard::default();
        let (clock, hands) = Clock::manual(START);
        let freshness = Arc::new(Freshness::new(STALE_SOFT, self.stale_max, false));
        let disk = Arc::new(Disk {
            heard: Arc::clone(&heard),
            is_broken: AtomicBool::new(false),
            is_stuck: Mutex::new(false),
            moved: Condvar::new(),
        });
        let mut sinks: Vec<Arc<dyn ChangeSink>> = vec![
            Arc::new(Sink("first", Arc::clone(&heard))),
            Arc::new(Sink("second", Arc::clone(&heard))),
        ];
        sinks.extend(self.sinks);
        let shutdown = CancellationToken::new();
        let parts = FollowerParts {
            link: Arc::new(Link::new(&self.url, TOKEN).unwrap()),
            clock: clock.clone(),
            identity: Identity {
                gateway_id: "0123456789abcdef0123456789abcdef".to_owned(),
                name: "edge-1".to_owned(),
                version: "9.9.9".to_owned(),
            },
            stale_soft: STALE_SOFT,
            stale_max: self.stale_max,
            serves_stale: false,
            sinks,
            freshness: Arc::clone(&freshness),
            journal: Some(Arc::clone(&disk) as Arc<dyn Journal>),
            applied: self.applied,
            on_welcome: self.on_welcome,
        };
        Gateway {
            handle: Follower::start(parts, shutdown.clone()),
            heard,
            freshness,
            hands,
            clock,
            disk,
            _running: shutdown.drop_guard(),
        }
    }
}

impl Gateway {
    pub(crate) async fn until_applied(&self, version: Version) {
        let mut applied = self.handle.applied_changes();
        soon(applied.wait_for(|applied| *applied == Some(version)))
            .await
            .unwrap();
    }

    pub(crate) async fn until_status(&self, is_so: impl FnMut(&FollowerStatus) -> bool) -> FollowerStatus {
        let mut status = self.handle.status_changes();
        soon(status.wait_for(is_so)).await.unwrap().clone()
    }

    /// What was heard since this was last asked, without the notes of freshness.
    pub(crate) fn take_heard(&self) -> Vec<String> {
        let mut heard = std::mem::take(&mut *self.heard.lock());
        heard.retain(|line| !line.starts_with("fresh"));
        heard
    }

    pub(crate) fn staleness(&self) -> Option<Duration> {
        self.freshness.staleness(self.clock.now())
    }
}

impl Drop for Gateway {
    /// A test that failed while the disk was stuck must end all the same.
    fn drop(&mut self) {
        self.disk.stick(false);
    }
}

struct Sink(&'static str, Heard);

impl ChangeSink for Sink {
    fn apply(&self, change: &Change) {
        self.1.lock().push(format!("{}: {}", self.0, change.version.revision));
    }

    fn distrust_all(&self, at: Version) {
        self.1.lock().push(format!("{}: all at {}", self.0, at.revision));
    }
}

/// A journal.
pub(crate) struct Disk {
    heard: Heard,
    pub(crate) is_broken: AtomicBool,
    is_stuck: Mutex<bool>,
    moved: Condvar,
}

impl Disk {
    /// Whether the disk comes back from now on, when it is written to.
    pub(crate) fn stick(&self, is_stuck: bool) {
        *self.is_stuck.lock() = is_stuck;
        self.moved.notify_all();
    }

    fn write(&self, line: String) -> io::Result<()> {
        self.moved.wait_while(&mut self.is_stuck.lock(), |is_stuck| *is_stuck);
        if self.is_broken.load(Ordering::SeqCst) {
            return Err(io::Error::other("no space left"));
        }
        self.heard.lock().push(line);
        Ok(())
    }
}

impl Journal for Disk {
    fn changed(&self, changes: &Changes) -> io::Result<()> {
        self.write(format!("written: {} to {}", changes.after, changes.through))
    }

    fn reset(&self, to: Version) -> io::Result<()> {
        self.write(format!("written: all at {}", to.revision))
    }

    fn fresh(&self, at: Version, t0: Moment) {
        self.heard
            .lock()
            .push(format!("fresh: {} at {}", at.revision, t0.monotonic_us));
    }
}
