//! How far the follower is, for those who ask.
//!
//! Decides nothing. The follower writes on the board, everybody else reads a handle.

use crate::message::Welcome;
use portcullis_verify::{Moment, Version};
use tokio::sync::watch;

/// What the follower is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// There is no watch.
    Connecting,
    /// There is one, but what was missed has not all been heard yet.
    CatchingUp,
    /// Everything is heard as it happens, since this moment.
    Following {
        /// When the first answer to a ping came.
        since: Moment,
    },
}

/// The state of the follower.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FollowerStatus {
    /// What it is at.
    pub phase: Phase,
    /// Why the last watch ended, or could not begin.
    pub last_error: Option<String>,
    /// Attempts that failed and watches that ended.
    pub reconnects: u64,
}

/// The follower has ended: the process shuts down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the control API is no longer followed")]
pub struct NotFollowing;

/// How far the follower is. Clones share it.
#[derive(Debug, Clone)]
pub struct FollowerHandle {
    applied: watch::Receiver<Option<Version>>,
    welcome: watch::Receiver<Option<Welcome>>,
    status: watch::Receiver<FollowerStatus>,
    synchronised: watch::Receiver<bool>,
}

impl FollowerHandle {
    /// The version up to which every sink has heard of every change, and the journal has it. `None`: nothing was heard yet.
    #[must_use]
    pub fn applied(&self) -> Option<Version> {
        *self.applied.borrow()
    }

    /// The same, to be waited on.
    #[must_use]
    pub fn applied_changes(&self) -> watch::Receiver<Option<Version>> {
        self.applied.clone()
    }

    /// Whom the token makes this gateway, as the last watch that began said.
    #[must_use]
    pub fn welcome(&self) -> Option<Welcome> {
        self.welcome.borrow().clone()
    }

    /// The same, to be waited on.
    #[must_use]
    pub fn welcome_changes(&self) -> watch::Receiver<Option<Welcome>> {
        self.welcome.clone()
    }

    /// What it is at.
    #[must_use]
    pub fn status(&self) -> FollowerStatus {
        self.status.borrow().clone()
    }

    /// The same, to be waited on.
    #[must_use]
    pub fn status_changes(&self) -> watch::Receiver<FollowerStatus> {
        self.status.clone()
    }

    /// Waits until, for the first time, everything was heard that had happened.
    pub async fn synchronised(&self) -> Result<(), NotFollowing> {
        let mut synchronised = self.synchronised.clone();
        let heard = synchronised
            .wait_for(|is_synchronised| *is_synchronised)
            .await
            .map(drop);
        heard.map_err(|_| NotFollowing)
    }
}

/// Where the follower writes.
#[derive(Debug)]
pub(super) struct Board {
    applied: watch::Sender<Option<Version>>,
    welcome: watch::Sender<Option<Welcome>>,
    status: watch::Sender<FollowerStatus>,
    synchronised: watch::Sender<bool>,
}

impl Board {
    pub(super) fn new(applied: Option<Version>) -> (Board, FollowerHandle) {
        let (applied, applied_receiver) = watch::channel(applied);
        let (welcome, welcome_receiver) = watch::channel(None);
        let (status, status_receiver) = watch::channel(FollowerStatus {
            phase: Phase::Connecting,
            last_error: None,
            reconnects: 0,
        });
        let (synchronised, synchronised_receiver) = watch::channel(false);
        let board = Board {
            applied,
            welcome,
            status,
            synchronised,
        };
        let handle = FollowerHandle {
            applied: applied_receiver,
            welcome: welcome_receiver,
            status: status_receiver,
            synchronised: synchronised_receiver,
        };
        (board, handle)
    }

    pub(super) fn applied(&self) -> Option<Version> {
        *self.applied.borrow()
    }

    pub(super) fn advance(&self, to: Version) {
        self.applied.send_replace(Some(to));
    }

    pub(super) fn welcomed(&self, welcome: Welcome) {
        self.welcome.send_replace(Some(welcome));
        self.status.send_modify(|status| status.phase = Phase::CatchingUp);
    }

    pub(super) fn is_following(&self) -> bool {
        matches!(self.status.borrow().phase, Phase::Following { .. })
    }

    pub(super) fn following(&self, since: Moment) {
        self.status
            .send_modify(|status| status.phase = Phase::Following { since });
        self.synchronised.send_replace(true);
    }

    pub(super) fn lost(&self, cause: String) {
        self.status.send_modify(|status| {
            status.phase = Phase::Connecting;
            status.last_error = Some(cause);
            status.reconnects += 1;
        });
    }
}
