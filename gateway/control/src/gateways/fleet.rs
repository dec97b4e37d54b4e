//! The gateways that this process has welcomed and must still wait for, connected or not.
//!
//! Knows who they are and how far; [`super::live`] knows each one, [`super::registry`] tells the store, [`super::enforcement`]
//! waits for them.

use crate::gateways::live::{Live, microseconds};
use parking_lot::Mutex;
use portcullis_verify::{Clock, DeploymentId, Moment, Version};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// Most own commits that are remembered as such.
const OWN_COMMITS_MAX: usize = 4_096;
/// Most gateways told apart, for each that may watch: those that left count until they refuse.
const GONE_PER_WATCHER: usize = 4;
/// What a lease is longer by for each gateway, so that renewing them all stays a small part of what the store does.
const LEASE_PER_GATEWAY: Duration = Duration::from_millis(5);

/// The least time between two histories that begin because a gateway says it has applied more than there is.
const DOUBT: Duration = Duration::from_secs(60);

type Members = HashMap<(DeploymentId, String), Arc<Live>>;

/// See the module.
#[derive(Debug)]
pub(crate) struct Fleet {
    /// This process, in the registry.
    pub(crate) control_id: String,
    clock: Clock,
    members: Mutex<Members>,
    members_max: usize,
    lease_min: Duration,
    own_commits: Mutex<BTreeSet<u64>>,
    /// Says that a gateway is farther than before, or gone.
    moved: watch::Sender<()>,
    /// Monotonic microseconds before which no gateway's word makes the log begin a new history again.
    believes_from_us: AtomicU64,
    /// Wakes the registry.
    pub(crate) due: Notify,
}

impl Fleet {
    pub(crate) fn new(control_id: String, clock: Clock, watchers_max: usize, lease_min: Duration) -> Fleet {
        Fleet {
            control_id,
            clock,
            members: Mutex::default(),
            members_max: watchers_max.saturating_mul(GONE_PER_WATCHER),
            lease_min,
            own_commits: Mutex::default(),
            moved: watch::Sender::new(()),
            believes_from_us: AtomicU64::new(0),
            due: Notify::new(),
        }
    }

    pub(crate) fn now(&self) -> Moment {
        self.clock.now()
    }

    /// Whether a gateway is believed that says it has applied more than there is. One who is wrong, or lies, can make every gateway
    /// read everything again: not more often than this allows.
    pub(crate) fn believes(&self) -> bool {
        let now_us = self.now().monotonic_us;
        let from_us = self.believes_from_us.load(Ordering::Acquire);
        let until_us = now_us.saturating_add(microseconds(DOUBT));
        now_us >= from_us
            && self
                .believes_from_us
                .compare_exchange(from_us, until_us, Ordering::AcqRel, Ordering::Acquire)
                .is_ok()
    }

    /// How long rows hold without being renewed.
    pub(crate) fn lease(&self) -> Duration {
        let count = u32::try_from(self.members.lock().len()).unwrap_or(u32::MAX);
        self.lease_min.max(LEASE_PER_GATEWAY.saturating_mul(count))
    }

    /// Counts a gateway from now on, in place of an earlier connection of it. False: there are too many.
    pub(crate) fn join(&self, live: &Arc<Live>) -> bool {
        let mut members = self.members.lock();
        let name = (live.deployment_id, live.gateway_id.clone());
        if members.len() >= self.members_max && !members.contains_key(&name) {
            // The registry has those that are gone.
            members.retain(|_, live| !live.is_noted_as_gone());
            if members.len() >= self.members_max {
                return false;
            }
        }
        if let Some(before) = members.insert(name, Arc::clone(live)) {
            before.superseded.cancel();
        }
        drop(members);
        self.due.notify_one();
        true
    }

    /// The connection of a gateway has ended; it counts until it refuses by itself.
    pub(crate) fn leave(&self, live: &Live) {
        live.leave();
        self.moved.send_replace(());
        self.due.notify_one();
    }

    /// A gateway is farther than before. Where a change that another process made is among what it applied, that process may be
    /// waiting to read of it.
    pub(crate) fn moved(&self, live: &Live, from: Version, to: Version) {
        if from == to {
            return;
        }
        self.moved.send_replace(());
        let written = live.last_written();
        if !(written.epoch == to.epoch && self.are_own(written.revision, to.revision)) {
            live.set_due();
            self.due.notify_one();
        }
    }

    /// Word of every gateway that is farther than before, or gone.
    pub(crate) fn word(&self) -> watch::Receiver<()> {
        self.moved.subscribe()
    }

    /// Notes that this process committed a change.
    pub(crate) fn note_own(&self, revision: u64) {
        let mut own = self.own_commits.lock();
        own.insert(revision);
        if own.len() > OWN_COMMITS_MAX {
            own.pop_first();
        }
    }

    /// Whether this process committed all changes after `from` up to `to`. Some commits are two changes, of which the last is
    /// known.
    fn are_own(&self, from: u64, to: u64) -> bool {
        if to.saturating_sub(from) > 64 {
            return false;
        }
        let own = self.own_commits.lock();
        (from + 1..=to).all(|revision| own.contains(&revision) || own.contains(&(revision + 1)))
    }

    /// All members.
    pub(crate) fn all(&self) -> Vec<Arc<Live>> {
        self.members.lock().values().cloned().collect()
    }

    /// The members of a deployment.
    pub(crate) fn of(&self, deployment_id: DeploymentId) -> Vec<Arc<Live>> {
        let members = self.members.lock();
        let of = members.values().filter(|live| live.deployment_id == deployment_id);
        of.cloned().collect()
    }

    /// Forgets those whom nobody need wait for any more.
    pub(crate) fn sweep(&self) {
        let now = self.now();
        self.members.lock().retain(|_, live| !live.is_over(now));
    }
}
