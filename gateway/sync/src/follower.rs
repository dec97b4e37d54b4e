//! Keeps this gateway up to date: one watch after another, for as long as the process runs.
//!
//! Decides when to connect again and what to say about it. What happens within one watch is the session's business; what a change
//! means is the sinks'. The server starts it, and readiness and metrics ask its handle.

mod pings;
mod session;
mod status;

pub use status::{FollowerHandle, FollowerStatus, NotFollowing, Phase};

use crate::backoff::Backoff;
use crate::journal::Journal;
use crate::link::Link;
use crate::message::Welcome;
use portcullis_verify::{ChangeSink, Clock, Freshness, Version};
use session::{Session, SessionEnd};
use status::Board;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The longest pause between two attempts is within these.
const PAUSE_MIN: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// The longest pause is this part of the time that the gateway may go on without news.
const PAUSE_PART: u32 = 8;

/// Who this gateway is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// 32 hexadecimal digits, drawn when the process started.
    pub gateway_id: String,
    /// What its operator calls it.
    pub name: String,
    /// Its version of Portcullis.
    pub version: String,
}

impl Identity {
    /// A new gateway. Fails where the system has no randomness.
    pub fn draw(name: String, version: String) -> Result<Identity, getrandom::Error> {
        let drawn = u128::from(getrandom::u64()?) << 64 | u128::from(getrandom::u64()?);
        Ok(Identity {
            gateway_id: format!("{drawn:032x}"),
            name,
            version,
        })
    }
}

/// Hears whom the token makes this gateway, before anything that is told then is applied. It may block. An error, which says why, ends
/// the watch; the next one asks again.
pub type OnWelcome = Arc<dyn Fn(&Welcome) -> Result<(), String> + Send + Sync>;

/// What a follower is made of.
pub struct FollowerParts {
    /// The way to the control API.
    pub link: Arc<Link>,
    /// The time.
    pub clock: Clock,
    /// Who this gateway is.
    pub identity: Identity,
    /// Without an answer for so long, but at least a second, the connection is taken for dead.
    pub stale_soft: Duration,
    /// Without news for so long, the gateway no longer trusts what it holds.
    pub stale_max: Duration,
    /// It goes on serving even then.
    pub serves_stale: bool,
    /// Who must hear of changes, in this order.
    pub sinks: Vec<Arc<dyn ChangeSink>>,
    /// Where it is noted that everything was heard.
    pub freshness: Arc<Freshness>,
    /// What must be written before it is acknowledged.
    pub journal: Option<Arc<dyn Journal>>,
    /// What the sinks have been given includes every change up to here. `None`: they have been given nothing.
    pub applied: Option<Version>,
    /// Hears whom the token makes this gateway.
    pub on_welcome: OnWelcome,
}

/// Follows the control API's log of changes.
pub struct Follower {
    parts: FollowerParts,
    board: Board,
    /// The last cause that was logged.
    logged: Option<String>,
}

impl Follower {
    /// Starts to follow, on the current tokio runtime, until `shutdown`.
    #[must_use]
    pub fn start(parts: FollowerParts, shutdown: CancellationToken) -> FollowerHandle {
        let (board, handle) = Board::new(parts.applied);
        let follower = Follower {
            parts,
            board,
            logged: None,
        };
        tokio::spawn(async move { shutdown.run_until_cancelled(follower.run()).await });
        handle
    }

    async fn run(mut self) {
        let mut backoff = Backoff::new((self.parts.stale_max / PAUSE_PART).clamp(PAUSE_MIN, PAUSE_MAX));
        loop {
            let end = Session::run(&self.parts, &self.board).await;
            if self.board.is_following() {
                backoff.reset();
            }
            self.report(&end);
            self.board.lost(end.to_string());
            let pause = if end.is_lasting() {
                backoff.long_pause()
            } else {
                backoff.pause()
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Says once what is wrong, and again when it is something else, or when it was right in between.
    fn report(&mut self, end: &SessionEnd) {
        let cause = end.to_string();
        if self.board.is_following() {
            self.logged = None;
        }
        if self.logged.as_ref() == Some(&cause) {
            tracing::debug!(cause, "the control API is not followed");
            return;
        }
        if end.is_lasting() {
            tracing::error!(
                cause,
                "the control API is not followed; it is tried again from time to time"
            );
        } else {
            tracing::warn!(cause, "the control API is not followed; it is tried again");
        }
        self.logged = Some(cause);
    }
}
