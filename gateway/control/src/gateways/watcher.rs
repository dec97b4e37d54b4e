//! One gateway's watch from its first line to its last: who it is, from where on it is told, and why it ends.
//!
//! What is said once it is welcomed is [`super::session`]'s business. [`super::watch`] starts it.

use crate::auth::GatewayCaller;
use crate::gateways::hello::check;
use crate::gateways::lines::{Lines, NoLine};
use crate::gateways::live::Live;
use crate::gateways::outlet::{NotSent, Outlet};
use crate::gateways::registry::wall;
use crate::gateways::session::{Member, Session};
use crate::gateways::subscription::line;
use crate::router::Api;
use portcullis_store::StoreError;
use portcullis_store::entity::TokenKind;
use portcullis_sync::message::{FromControl, FromGateway, Welcome};
use portcullis_verify::Version;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

/// How long a gateway may take to say hello.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a gateway that knows more than this process may wait for the log to be read.
const ROUND_TIMEOUT: Duration = Duration::from_secs(5);

/// A watch that is being taken up.
pub(crate) struct Watcher {
    api: Api,
    caller: GatewayCaller,
    address: IpAddr,
    lines: Lines,
}

/// Why a watch ends.
#[derive(Debug, thiserror::Error)]
pub(super) enum End {
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
    #[error("the change log cannot be read")]
    LogUnread,
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
        tailer.synchronised().await.map_err(|_| End::LogUnread)?;
        let token = self.caller.token().clone();
        let subscription = tailer.hub().subscribe(token.deployment_id, token.id);
        let resets = tailer.hub().resets();
        // A revocation from here on is heard of; one from before is read.
        still_good(&api, &self.caller).await?;
        if let Some(applied) = hello.applied
            && !tailer.hub().head().covers(applied)
        {
            // It may come from another control process, which has read farther in the log.
            let round = tokio::time::timeout(ROUND_TIMEOUT, tailer.rounds().next()).await;
            round.ok().flatten().ok_or(End::LogUnread)?;
            believe(&api, applied).await?;
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

/// Begins a new history if `applied` is more than this one has: then changes were lost, as when a machine is set back with its
/// disk, and revisions that the gateway has seen will be used for others.
async fn believe(api: &Api, applied: Version) -> Result<(), End> {
    let (store, tailer) = (api.store(), api.tailer());
    let head = store.current_version().await?;
    if applied.epoch != head.epoch || applied.revision <= head.revision {
        return Ok(());
    }
    if !api.fleet().believes() {
        return Err(End::Absurd("it has applied what the log does not hold"));
    }
    if store.settle_history_seen(applied).await?.is_some() {
        let round = tokio::time::timeout(ROUND_TIMEOUT, tailer.rounds().next()).await;
        round.ok().flatten().ok_or(End::LogUnread)?;
    }
    Ok(())
}

/// Looks the token up again.
pub(super) async fn still_good(api: &Api, caller: &GatewayCaller) -> Result<(), End> {
    match api.store().find_token(TokenKind::Gateway, caller.token_hash()).await? {
        Some(_) => Ok(()),
        None => Err(End::TokenRevoked),
    }
}
