//! How far the table is filled, for metrics, readiness and logs.
//!
//! Decides nothing.

use std::time::Duration;
use tokio::sync::watch;

/// The state of a preload.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PreloadProgress {
    /// The table is whole, apart from single keys that changed a moment ago.
    pub is_complete: bool,
    /// Keys that the walk which fills it, or last filled it, has told.
    pub keys: u64,
    /// How long that walk has taken.
    pub took: Duration,
    /// Walks over all keys, or those of one app, that were ended.
    pub walks: u64,
    /// Single keys that were read again because they changed.
    pub keys_read_again: u64,
    /// Questions that failed.
    pub failures: u64,
}

impl std::fmt::Display for PreloadProgress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = if self.is_complete {
            "all keys are held"
        } else {
            "keys are being read"
        };
        write!(f, "{state}: {} in {:.1} s", self.keys, self.took.as_secs_f64())
    }
}

/// Where it is written.
#[derive(Debug)]
pub(super) struct Progress {
    state: watch::Sender<PreloadProgress>,
    was_complete: watch::Sender<bool>,
}

impl Default for Progress {
    fn default() -> Progress {
        Progress {
            state: watch::Sender::new(PreloadProgress::default()),
            was_complete: watch::Sender::new(false),
        }
    }
}

impl Progress {
    pub(super) fn read(&self) -> PreloadProgress {
        *self.state.borrow()
    }

    pub(super) fn note(&self, change: impl FnOnce(&mut PreloadProgress)) {
        self.state.send_modify(change);
        if self.state.borrow().is_complete {
            self.was_complete.send_replace(true);
        }
    }

    pub(super) fn lost(&self) {
        self.note(|progress| progress.is_complete = false);
    }

    pub(super) async fn completed(&self) {
        // The sender is this very value.
        let _ = self
            .was_complete
            .subscribe()
            .wait_for(|was_complete| *was_complete)
            .await;
    }
}
