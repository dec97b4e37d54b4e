//! One watch, from the first line to the last.
//!
//! Decides what may be applied, when it is acknowledged, and what an answer to a ping proves. Invariants:
//!
//! - Changes are applied only if they follow what was applied without a gap. Every sink has heard of them before they are written
//!   down, they are written down before they count as applied, and only what counts as applied is acknowledged.
//! - It is noted that the gateway was up to date at some time only by the answer to a ping that was sent no earlier, and only when
//!   everything that the answer covers counts as applied.

use super::pings::Pings;
use super::status::Board;
use super::{FollowerParts, OnWelcome};
use crate::link::{CONNECT_MAX, LinkError, WatchStream};
use crate::message::{Changes, FromControl, FromGateway, Hello, Ping, Pong, Welcome};
use portcullis_verify::{DeploymentId, Version};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::MissedTickBehavior;

/// A connection on which no answer comes is given up after `stale_soft`, but not before this.
const SILENCE_MIN: Duration = Duration::from_secs(1);
/// Pings are sent so often per `stale_soft`, and no farther apart, and no closer, than the two bounds.
const PINGS_PER_SOFT: u32 = 4;
const PING_EVERY_MAX: Duration = Duration::from_secs(1);
const PING_EVERY_MIN: Duration = Duration::from_millis(50);

/// Why a watch ended, or did not begin.
#[derive(Debug, thiserror::Error)]
pub(super) enum SessionEnd {
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error("the control API ended the watch")]
    Ended,
    #[error("the control API gave no answer for {0:?}")]
    Silent(Duration),
    #[error("changes are missing: revision {applied} was applied, and what came follows {after}")]
    Gap { applied: u64, after: u64 },
    #[error("the control API says what cannot be: {0}")]
    Absurd(&'static str),
    #[error("this gateway cannot be what its token makes it: {0}")]
    NotWelcome(String),
    #[error("what was applied cannot be written down: {0}")]
    Journal(#[from] io::Error),
}

impl SessionEnd {
    /// Whether it will hardly mend itself soon.
    pub(super) fn is_lasting(&self) -> bool {
        match self {
            SessionEnd::Link(error) => error.is_lasting(),
            SessionEnd::NotWelcome(_) => true,
            SessionEnd::Ended
            | SessionEnd::Silent(_)
            | SessionEnd::Gap { .. }
            | SessionEnd::Absurd(_)
            | SessionEnd::Journal(_) => false,
        }
    }
}

/// A watch under way.
pub(super) struct Session<'a> {
    parts: &'a FollowerParts,
    board: &'a Board,
    stream: WatchStream,
    /// `None` before the first line.
    deployment_id: Option<DeploymentId>,
    pings: Pings,
    is_following: bool,
}

impl<'a> Session<'a> {
    /// Watches until it ends. What was applied is on the `board`, and the next watch goes on from there.
    pub(super) async fn run(parts: &'a FollowerParts, board: &'a Board) -> SessionEnd {
        let silence = parts.stale_soft.max(SILENCE_MIN);
        let hello = Hello {
            gateway_id: parts.identity.gateway_id.clone(),
            name: parts.identity.name.clone(),
            version: parts.identity.version.clone(),
            stale_max_ms: milliseconds(parts.stale_max),
            serves_stale: parts.serves_stale,
            applied: board.applied(),
        };
        let patience = CONNECT_MAX + silence;
        let stream = match tokio::time::timeout(patience, parts.link.watch(&hello)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return error.into(),
            Err(_) => return SessionEnd::Silent(patience),
        };
        let mut session = Session {
            parts,
            board,
            stream,
            deployment_id: None,
            pings: Pings::default(),
            is_following: false,
        };
        match session.listen(silence).await {
            Ok(never) => match never {},
            Err(end) => end,
        }
    }

    async fn listen(&mut self, silence: Duration) -> Result<std::convert::Infallible, SessionEnd> {
        let every = (self.parts.stale_soft / PINGS_PER_SOFT).clamp(PING_EVERY_MIN, PING_EVERY_MAX);
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let patience = tokio::time::sleep(silence);
        tokio::pin!(patience);
        loop {
            let awaited = self.pings.oldest();
            let is_progress = tokio::select! {
                biased;
                // First what has come: time spent on applying it is not the other end's silence.
                line = self.stream.next() => self.hear(line?.ok_or(SessionEnd::Ended)?).await?,
                () = &mut patience => return Err(SessionEnd::Silent(silence)),
                _ = ticks.tick() => {
                    self.ping()?;
                    false
                }
            };
            if is_progress || self.pings.oldest() != awaited {
                patience.set(tokio::time::sleep(silence));
            }
        }
    }

    /// Takes in one line. Answers whether it is progress towards the first answer to a ping, which may take long because much was
    /// missed. After that, answers are all that counts.
    async fn hear(&mut self, line: FromControl) -> Result<bool, SessionEnd> {
        match (line, self.deployment_id) {
            (FromControl::Welcome(welcome), None) => {
                self.welcome(welcome).await?;
                Ok(true)
            }
            (FromControl::Welcome(_), Some(_)) => Err(SessionEnd::Absurd("a second welcome")),
            (_, None) => Err(SessionEnd::Absurd("something before its welcome")),
            (FromControl::Reset { to }, Some(_)) => {
                self.reset(to).await?;
                Ok(!self.is_following)
            }
            (FromControl::Changes(changes), Some(deployment_id)) => {
                self.apply(changes, deployment_id).await?;
                Ok(!self.is_following)
            }
            (FromControl::Pong(pong), Some(_)) => {
                self.answered(&pong)?;
                Ok(false)
            }
        }
    }

    async fn welcome(&mut self, welcome: Welcome) -> Result<(), SessionEnd> {
        let hook: OnWelcome = Arc::clone(&self.parts.on_welcome);
        let told = welcome.clone();
        blocking(move || Ok(hook(&told)))
            .await?
            .map_err(SessionEnd::NotWelcome)?;
        self.deployment_id = Some(welcome.deployment_id);
        self.board.welcomed(welcome);
        self.ping()
    }

    async fn apply(&mut self, changes: Changes, deployment_id: DeploymentId) -> Result<(), SessionEnd> {
        let follows = self
            .board
            .applied()
            .ok_or(SessionEnd::Absurd("changes where a reset is due"))?;
        if changes.epoch != follows.epoch {
            return Err(SessionEnd::Absurd("changes of another history"));
        }
        if changes.after != follows.revision {
            return Err(SessionEnd::Gap {
                applied: follows.revision,
                after: changes.after,
            });
        }
        let mut last = changes.after;
        for change in &changes.changes {
            if change.revision <= last || change.revision > changes.through {
                return Err(SessionEnd::Absurd("changes out of order"));
            }
            last = change.revision;
        }
        if changes.through <= changes.after {
            return Err(SessionEnd::Absurd("changes that lead nowhere"));
        }
        for line in &changes.changes {
            let change = line.change(changes.epoch, deployment_id);
            for sink in &self.parts.sinks {
                sink.apply(&change);
            }
        }
        let to = Version {
            epoch: changes.epoch,
            revision: changes.through,
        };
        if let Some(journal) = self.parts.journal.clone() {
            blocking(move || journal.changed(&changes)).await?;
        }
        self.board.advance(to);
        self.ping()
    }

    async fn reset(&mut self, to: Version) -> Result<(), SessionEnd> {
        match self.board.applied() {
            None => tracing::info!(to = to.revision, "changes are followed from here on"),
            Some(applied) => tracing::warn!(
                applied = applied.revision,
                to = to.revision,
                "what happened in between cannot be told; everything held is read again before it is used"
            ),
        }
        for sink in &self.parts.sinks {
            sink.distrust_all(to);
        }
        if let Some(journal) = self.parts.journal.clone() {
            blocking(move || journal.reset(to)).await?;
        }
        self.board.advance(to);
        self.ping()
    }

    fn answered(&mut self, pong: &Pong) -> Result<(), SessionEnd> {
        let sent = self
            .pings
            .answered(pong.number)
            .ok_or(SessionEnd::Absurd("an answer to no ping"))?;
        let applied = self
            .board
            .applied()
            .filter(|applied| applied.covers(pong.at))
            .ok_or(SessionEnd::Absurd("an answer before the changes that it covers"))?;
        self.parts.freshness.note(sent.monotonic_us);
        if let Some(journal) = &self.parts.journal {
            journal.fresh(applied, sent);
        }
        if !self.is_following {
            self.is_following = true;
            let now = self.parts.clock.now();
            tracing::info!(revision = applied.revision, "the control API is followed");
            self.board.following(now);
        }
        if self.pings.is_owed() { self.ping() } else { Ok(()) }
    }

    /// Sends a ping, if there is something to acknowledge and not too many are under way. The time is read before it is handed over.
    fn ping(&mut self) -> Result<(), SessionEnd> {
        let Some(applied) = self.board.applied().filter(|_| self.deployment_id.is_some()) else {
            return Ok(());
        };
        let now = self.parts.clock.now();
        let Some(number) = self.pings.next(now) else {
            return Ok(());
        };
        let staleness = self.parts.freshness.staleness(now);
        let was_handed_over = self.stream.say(&FromGateway::Ping(Ping {
            number,
            applied,
            staleness_ms: staleness.map_or(u64::MAX, milliseconds),
        }))?;
        if !was_handed_over {
            self.pings.take_back();
        }
        Ok(())
    }
}

/// Runs what may block where blocking is allowed, to its end.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
