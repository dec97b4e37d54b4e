//! A watch under way: tells one gateway of every change in order, and answers its pings once they may be answered.
//!
//! Holds a place in the log and nothing that grows: what is to be told is read from the hub, or from the store where the hub does
//! not go back so far. Invariant: a ping is answered only after all changes were sent up to a head of the log that was read after
//! the ping had come, and after [`super::live`] allows it.

use crate::auth::GatewayCaller;
use crate::gateways::fleet::Fleet;
use crate::gateways::hello::check_version;
use crate::gateways::lines::Lines;
use crate::gateways::live::Live;
use crate::gateways::outlet::Outlet;
use crate::gateways::subscription::{Due, Line, Subscription, line};
use crate::gateways::watcher::{End, still_good};
use crate::router::Api;
use crate::tailer::Round;
use bytes::Bytes;
use portcullis_store::Changes;
use portcullis_sync::message::{FromControl, FromGateway, Ping, Pong};
use portcullis_verify::Version;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::watch;

/// Most pings that wait for their answer; of more, the oldest get none.
const PINGS_MAX: usize = 4;
/// Changes read from the store at once.
const REPLAY_BATCH: u32 = 1_000;

/// A gateway among the fleet, until this is dropped.
pub(super) struct Member {
    fleet: Arc<Fleet>,
    live: Arc<Live>,
}

impl Member {
    pub(super) fn join(fleet: &Arc<Fleet>, live: Live) -> Option<Member> {
        let live = Arc::new(live);
        fleet.join(&live).then(|| Member {
            fleet: Arc::clone(fleet),
            live,
        })
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.fleet.leave(&self.live);
    }
}

/// A watch under way.
pub(super) struct Session<'a> {
    pub(super) api: Api,
    pub(super) caller: GatewayCaller,
    pub(super) member: Member,
    pub(super) outlet: &'a Outlet,
    pub(super) subscription: Subscription,
    pub(super) rounds: watch::Receiver<Round>,
    /// How often the hub had missed changes when the token was last looked up.
    pub(super) resets: u64,
    /// Everything up to here was sent.
    pub(super) cursor: Version,
    /// Pings to answer, oldest first, each with the last round that had begun when it came.
    pub(super) pings: VecDeque<(u64, u64)>,
}

impl Session<'_> {
    pub(super) async fn run(&mut self, lines: &mut Lines) -> End {
        let live = Arc::clone(&self.member.live);
        let revoked = self.subscription.token();
        loop {
            let told = tokio::select! {
                biased;
                () = revoked.cancelled() => return End::TokenRevoked,
                () = live.superseded.cancelled() => return End::Superseded,
                told = self.tell() => told,
            };
            if let Err(end) = told {
                return end;
            }
            let is_asked = !self.pings.is_empty();
            let heard = tokio::select! {
                biased;
                () = revoked.cancelled() => return End::TokenRevoked,
                () = live.superseded.cancelled() => return End::Superseded,
                () = self.subscription.news() => None,
                _ = self.rounds.changed(), if is_asked => None,
                () = live.renewed.notified(), if is_asked => {
                    self.api.tailer().rounds().ask();
                    None
                }
                line = lines.next() => Some(line),
            };
            let heard = match heard {
                None => Ok(()),
                Some(Ok(FromGateway::Ping(ping))) => self.hear(&ping),
                Some(Ok(FromGateway::Hello(_))) => Err(End::Absurd("a second hello")),
                Some(Err(no_line)) => Err(no_line.into()),
            };
            if let Err(end) = heard {
                return end;
            }
        }
    }

    /// Notes a ping, to be answered out of a round that begins after now.
    fn hear(&mut self, ping: &Ping) -> Result<(), End> {
        check_version(ping.applied)?;
        let (fleet, live) = (&self.member.fleet, &self.member.live);
        let before = live.note(ping, fleet.now());
        fleet.moved(live, before, ping.applied);
        let rounds = self.api.tailer().rounds();
        self.pings.push_back((ping.number, rounds.mark()));
        if self.pings.len() > PINGS_MAX {
            self.pings.pop_front();
        }
        rounds.ask();
        Ok(())
    }

    /// Tells all that is due, and answers the pings that can be answered then.
    async fn tell(&mut self) -> Result<(), End> {
        loop {
            // Read before the hub, which thereby has all changes up to this round's head.
            let round = *self.rounds.borrow_and_update();
            let resets = self.api.tailer().hub().resets();
            if resets != self.resets {
                // A revocation may be among what was missed.
                still_good(&self.api, &self.caller).await?;
                self.resets = resets;
            }
            // What concerns others only is told where an answer needs it.
            let is_needed = !self.pings.is_empty() && !self.cursor.covers(round.head);
            match self.subscription.due(self.cursor) {
                Due::Line(line) if line.has_changes || is_needed => self.send_run(line).await?,
                Due::Line(_) | Due::Nothing => return self.answer(round).await,
                Due::NotHeld => self.replay().await?,
                Due::Elsewhere => self.reset().await?,
            }
            // Not only at the end: changes may come faster than they are told.
            self.answer(round).await?;
        }
    }

    async fn answer(&mut self, round: Round) -> Result<(), End> {
        if !self.cursor.covers(round.head) {
            return Ok(());
        }
        while let Some((number, mark)) = self.pings.front().copied() {
            let now = self.member.fleet.now();
            if round.number <= mark || !self.member.live.may_answer(round.number, now) {
                return Ok(());
            }
            self.member.live.answered(now);
            let pong = Pong { number, at: round.head };
            self.send(line(&FromControl::Pong(pong))).await?;
            self.pings.pop_front();
        }
        Ok(())
    }

    /// Tells what the hub holds no more. Few do so at once: what is read for them is not bounded by what they take.
    async fn replay(&mut self) -> Result<(), End> {
        let changes = {
            // Never closed.
            let _place = self.api.replay_places().acquire().await;
            self.api
                .store()
                .changes_after(self.cursor.revision, REPLAY_BATCH)
                .await?
        };
        let run = match &changes {
            Changes::Replay { changes, head } if head.epoch == self.cursor.epoch => {
                self.subscription.replay(self.cursor, changes)
            }
            Changes::Replay { .. } | Changes::Reset { .. } => None,
        };
        match run {
            Some(run) => self.send_run(run).await,
            None => self.reset().await,
        }
    }

    /// Says that what happened since cannot be told, and goes on from the head.
    async fn reset(&mut self) -> Result<(), End> {
        let to = self.api.tailer().hub().head();
        tracing::info!(
            from = self.cursor.revision,
            to = to.revision,
            "a gateway has to read everything anew: what it missed cannot be told"
        );
        self.send(line(&FromControl::Reset { to })).await?;
        self.cursor = to;
        Ok(())
    }

    async fn send_run(&mut self, run: Line) -> Result<(), End> {
        self.send(run.bytes).await?;
        self.cursor = run.through;
        Ok(())
    }

    pub(super) async fn send(&self, line: Bytes) -> Result<(), End> {
        Ok(self.outlet.send(line, self.api.bounds().line_timeout).await?)
    }
}
