//! One gateway's watch: tells it of every change in order, and answers its pings once they may be answered.
//!
//! Holds a place in the log and nothing that grows: what is to be told is read from the hub, or from the store where the hub does
//! not go back so far. Invariant: a ping is answered only after all changes were sent up to a head of the log that was read after
//! the ping had come, and after [`super::live`] allows it.

use crate::auth::GatewayCaller;
use crate::gateways::fleet::Fleet;
use crate::gateways::hub::{Due, Line, Subscription, line};
use crate::gateways::lines::{Lines, NoLine};
use crate::gateways::live::Live;
use crate::gateways::outlet::{NotSent, Outlet};
use crate::gateways::registry::wall;
use crate::router::Api;
use crate::tailer::Round;
use bytes::Bytes;
use portcullis_store::entity::TokenKind;
use portcullis_store::{Changes, StoreError};
use portcullis_sync::message::{FromControl, FromGateway, Hello, Ping, Pong, Welcome};
use portcullis_verify::Version;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How long a gateway may take to say hello.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// Most pings that wait for their answer; of more, the oldest get none.
const PINGS_MAX: usize = 4;
/// Changes read from the store at once.
const REPLAY_BATCH: u32 = 1_000;
/// The longest `stale_max` of a gateway, as configuration has it.
const STALE_MAX_MS_MAX: u64 = 7 * 24 * 60 * 60 * 1_000;
/// Longest name and longest version of a gateway.
const NAME_BYTES_MAX: usize = 255;
/// The largest number that can be stored.
const NUMBER_MAX: u64 = i64::MAX.cast_unsigned();

/// A watch that is being taken up.
pub(crate) struct Watcher {
    api: Api,
    caller: GatewayCaller,
    address: IpAddr,
    lines: Lines,
}

/// Why a watch ends.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error(transparent)]
    NoLine(#[from] NoLine),
    #[error(transparent)]
    NotSent(#[from] NotSent),
    #[error("the gateway said nothing for too long")]
    NoHello,
    #[error("the gateway says what cannot be: {0}")]
    Absurd(&'static str),
    #[error("its token is revoked")]
    TokenRevoked,
    #[error("the gateway is back on another connection")]
    Superseded,
    #[error("there are too many gateways")]
    TooMany,
    #[error("the control API is shutting down")]
    Draining,
    #[error("the change log is no longer followed")]
    TailerEnded,
    #[error("the store cannot be asked: {0}")]
    Store(#[from] StoreError),
}

impl Watcher {
    pub(crate) fn new(api: Api, caller: GatewayCaller, address: IpAddr, lines: Lines) -> Watcher {
        Watcher {
            api,
            caller,
            address,
            lines,
        }
    }

    /// Runs the watch to its end.
    pub(crate) async fn run(mut self, outlet: Outlet) {
        let drain = self.api.drain().clone();
        let end = tokio::select! {
            end = self.watch(&outlet) => end,
            () = drain.cancelled() => End::Draining,
            () = outlet.gone() => End::NotSent(NotSent::Gone),
        };
        match end {
            End::NoLine(NoLine::Ended) | End::NotSent(NotSent::Gone) | End::Superseded | End::Draining => {
                tracing::info!(reason = %end, "a gateway's watch has ended");
            }
            end => tracing::warn!(reason = %end, "a gateway's watch was ended"),
        }
        outlet.end().await;
    }

    async fn watch(&mut self, outlet: &Outlet) -> End {
        match self.welcome(outlet).await {
            Ok(mut session) => session.run(&mut self.lines).await,
            Err(end) => end,
        }
    }

    /// Hears who it is, and says whom its token makes it.
    async fn welcome<'a>(&mut self, outlet: &'a Outlet) -> Result<Session<'a>, End> {
        let hello = match tokio::time::timeout(HELLO_TIMEOUT, self.lines.next()).await {
            Ok(Ok(FromGateway::Hello(hello))) => hello,
            Ok(Ok(FromGateway::Ping(_))) => return Err(End::Absurd("a ping before its hello")),
            Ok(Err(no_line)) => return Err(no_line.into()),
            Err(_) => return Err(End::NoHello),
        };
        check(&hello)?;
        let api = self.api.clone();
        let tailer = api.tailer();
        tailer.synchronised().await.map_err(|_| End::TailerEnded)?;
        let token = self.caller.token().clone();
        let subscription = tailer.hub().subscribe(token.deployment_id, token.id);
        let resets = tailer.hub().resets();
        // A revocation from here on is heard of; one from before is read.
        still_good(&api, &self.caller).await?;
        if let Some(applied) = hello.applied
            && !tailer.hub().head().covers(applied)
            && tailer.rounds().next().await.is_none()
        {
            // It may come from another control process, which has read farther in the log.
            return Err(End::TailerEnded);
        }
        let now = api.fleet().now();
        let live = Live::new(token.deployment_id, token.id, self.address, &hello, (now, wall(now)));
        let session = Session {
            member: Member::join(api.fleet(), live).ok_or(End::TooMany)?,
            rounds: tailer.rounds().completed(),
            caller: self.caller.clone(),
            api: api.clone(),
            outlet,
            subscription,
            resets,
            cursor: hello.applied.unwrap_or(NOWHERE),
            pings: VecDeque::new(),
        };
        let welcome = Welcome {
            deployment_id: token.deployment_id,
            deployment_name: self.caller.deployment().name.clone(),
            apps: token.apps,
        };
        session.send(line(&FromControl::Welcome(welcome))).await?;
        tracing::info!(
            gateway = hello.gateway_id,
            name = hello.name,
            version = hello.version,
            address = %self.address,
            "a gateway watches"
        );
        Ok(session)
    }
}

/// A place that is in no history.
const NOWHERE: Version = Version { epoch: 0, revision: 0 };

/// A gateway among the fleet, until this is dropped.
struct Member {
    fleet: Arc<Fleet>,
    live: Arc<Live>,
}

impl Member {
    fn join(fleet: &Arc<Fleet>, live: Live) -> Option<Member> {
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
struct Session<'a> {
    api: Api,
    caller: GatewayCaller,
    member: Member,
    outlet: &'a Outlet,
    subscription: Subscription,
    rounds: watch::Receiver<Round>,
    resets: u64,
    /// Everything up to here was sent.
    cursor: Version,
    /// Pings to answer, oldest first, each with the last round that had begun when it came.
    pings: VecDeque<(u64, u64)>,
}

impl Session<'_> {
    async fn run(&mut self, lines: &mut Lines) -> End {
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
            match self.subscription.due(self.cursor) {
                Due::Line(line) if line.has_changes || !self.pings.is_empty() => self.send_run(line).await?,
                // What concerns others only is told with the next answer.
                Due::Line(_) | Due::Nothing => return self.answer(round).await,
                Due::NotHeld => self.replay().await?,
                Due::Elsewhere => self.reset().await?,
            }
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

    async fn send(&self, line: Bytes) -> Result<(), End> {
        Ok(self.outlet.send(line, self.api.bounds().line_timeout).await?)
    }
}

/// Looks the token up again.
async fn still_good(api: &Api, caller: &GatewayCaller) -> Result<(), End> {
    match api.store().find_token(TokenKind::Gateway, caller.token_hash()).await? {
        Some(_) => Ok(()),
        None => Err(End::TokenRevoked),
    }
}

/// What a gateway says of itself is shown and stored: it must be fit for that.
fn check(hello: &Hello) -> Result<(), End> {
    if hello.gateway_id.len() != 32 || !hello.gateway_id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(End::Absurd("its id is not 32 hexadecimal digits"));
    }
    for text in [&hello.name, &hello.version] {
        if text.is_empty() || text.len() > NAME_BYTES_MAX || text.chars().any(char::is_control) {
            return Err(End::Absurd(
                "its name or its version is empty, too long or not one line",
            ));
        }
    }
    if hello.stale_max_ms > STALE_MAX_MS_MAX {
        return Err(End::Absurd("it would trust what it holds for more than seven days"));
    }
    hello.applied.map_or(Ok(()), check_version)
}

fn check_version(version: Version) -> Result<(), End> {
    if version.epoch > NUMBER_MAX || version.revision > NUMBER_MAX {
        return Err(End::Absurd("it has applied what no log can hold"));
    }
    Ok(())
}
