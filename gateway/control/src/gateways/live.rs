//! One gateway that this process has welcomed: how far it is, and until when it may still decide by what it holds.
//!
//! Invariant: no ping of it is answered before a row in the store says, durably, for how long it must be waited for, nor by a read
//! of the log that began before that row was there. So whoever reads the registry after a commit either finds the gateway, or
//! knows that its first answer will cover the commit. Times are monotonic microseconds unless they say otherwise.

#[cfg(test)]
mod tests;

use jiff::Timestamp;
use parking_lot::Mutex;
use portcullis_store::GatewayRow;
use portcullis_sync::message::{Hello, Ping};
use portcullis_verify::{DeploymentId, Moment, Version};
use std::net::IpAddr;
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// A gateway and its connection.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) deployment_id: DeploymentId,
    pub(crate) gateway_id: String,
    token_id: i64,
    name: String,
    version: String,
    address: IpAddr,
    stale_max: Duration,
    pub(crate) serves_stale: bool,
    welcomed_at: Timestamp,
    joined_us: u64,
    /// Ends this connection's watch because the gateway is back on another one.
    pub(crate) superseded: CancellationToken,
    /// Wakes the watcher when its lease was renewed.
    pub(crate) renewed: Notify,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    applied: Version,
    staleness_ms: u64,
    seen: Moment,
    is_connected: bool,
    /// When a ping was last answered.
    answered_us: Option<u64>,
    /// Until when pings may be answered; 0 before the row was first written.
    leased_until_us: u64,
    /// Rounds up to this number may have begun before the row was written.
    leased_at_round: u64,
    /// The store should hear of it soon.
    is_due: bool,
    /// The row that was last written says whether it is connected.
    is_noted: bool,
    /// What the row that was last made says it applied.
    written: Version,
}

/// What the fleet needs to know of a gateway.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reported {
    pub(crate) applied: Version,
    pub(crate) is_connected: bool,
    /// From when on it refuses everything unless it hears anew, if it is not connected.
    pub(crate) trusts_until_us: u64,
    pub(crate) stale_max: Duration,
    pub(crate) serves_stale: bool,
}

const NOTHING: Version = Version { epoch: 0, revision: 0 };

impl Live {
    /// A gateway that says hello at `now`.
    pub(crate) fn new(
        deployment_id: DeploymentId,
        token_id: i64,
        address: IpAddr,
        hello: &Hello,
        (now, wall): (Moment, Timestamp),
    ) -> Live {
        Live {
            deployment_id,
            gateway_id: hello.gateway_id.clone(),
            token_id,
            name: hello.name.clone(),
            version: hello.version.clone(),
            address,
            stale_max: Duration::from_millis(hello.stale_max_ms),
            serves_stale: hello.serves_stale,
            welcomed_at: wall,
            joined_us: now.monotonic_us,
            superseded: CancellationToken::new(),
            renewed: Notify::new(),
            state: Mutex::new(State {
                applied: hello.applied.unwrap_or(NOTHING),
                staleness_ms: 0,
                seen: now,
                is_connected: true,
                answered_us: None,
                leased_until_us: 0,
                leased_at_round: 0,
                is_due: true,
                is_noted: false,
                written: NOTHING,
            }),
        }
    }

    /// It asks, and says how far it is. Answers what it had applied before.
    pub(crate) fn note(&self, ping: &Ping, now: Moment) -> Version {
        let mut state = self.state.lock();
        state.seen = now;
        state.staleness_ms = ping.staleness_ms.min(MILLISECONDS_MAX);
        std::mem::replace(&mut state.applied, ping.applied)
    }

    /// Whether a ping may be answered at `now` out of a round with this number.
    pub(crate) fn may_answer(&self, round: u64, now: Moment) -> bool {
        let state = self.state.lock();
        now.monotonic_us < state.leased_until_us && round > state.leased_at_round
    }

    /// A ping is being answered.
    pub(crate) fn answered(&self, now: Moment) {
        self.state.lock().answered_us = Some(now.monotonic_us);
    }

    /// Its connection has ended.
    pub(crate) fn leave(&self) {
        let mut state = self.state.lock();
        state.is_connected = false;
        state.is_noted = false;
        state.is_due = true;
    }

    /// The store should hear soon how far it is.
    pub(crate) fn set_due(&self) {
        self.state.lock().is_due = true;
    }

    /// Whether the store has to be told of it at `now`: it has news, or its lease is up in less than `lease_left`.
    pub(crate) fn is_due(&self, now: Moment, lease_left: Duration) -> bool {
        let state = self.state.lock();
        let left_us = state.leased_until_us.saturating_sub(now.monotonic_us);
        state.is_due || (state.is_connected && Duration::from_micros(left_us) < lease_left)
    }

    /// Whether it is gone, and the store knows until when it must be waited for.
    pub(crate) fn is_noted_as_gone(&self) -> bool {
        let state = self.state.lock();
        !state.is_connected && state.is_noted
    }

    /// Whether that time is over, too.
    pub(crate) fn is_over(&self, now: Moment) -> bool {
        self.is_noted_as_gone() && now.monotonic_us >= self.reported().trusts_until_us
    }

    pub(crate) fn reported(&self) -> Reported {
        let state = self.state.lock();
        // Whatever it was told before it came here was told before it joined.
        let trusts_until_us = state
            .answered_us
            .unwrap_or(self.joined_us)
            .saturating_add(microseconds(self.stale_max));
        Reported {
            applied: state.applied,
            is_connected: state.is_connected,
            trusts_until_us,
            stale_max: self.stale_max,
            serves_stale: self.serves_stale,
        }
    }

    /// The row that is to be written now, with a lease that is so long. Clears what made it due.
    pub(crate) fn row(&self, control_id: &str, at: (Moment, Timestamp), lease: Duration) -> GatewayRow {
        {
            let mut state = self.state.lock();
            state.is_due = false;
            // What is applied from here on is told with a later row.
            state.written = state.applied;
        }
        self.row_at(control_id, at, lease)
    }

    fn row_at(&self, control_id: &str, (now, wall): (Moment, Timestamp), lease: Duration) -> GatewayRow {
        let reported = self.reported();
        let state = self.state.lock();
        let in_us = |us: u64| jiff::SignedDuration::from_micros(i64::try_from(us).unwrap_or(i64::MAX));
        let ago = |us: u64| {
            wall.saturating_sub(in_us(now.monotonic_us.saturating_sub(us)))
                .unwrap_or(wall)
        };
        let counts_until = if state.is_connected {
            wall.saturating_add(in_us(microseconds(lease + self.stale_max)))
        } else {
            let left_us = reported.trusts_until_us.saturating_sub(now.monotonic_us);
            ago(reported.trusts_until_us.min(now.monotonic_us)).saturating_add(in_us(left_us))
        };
        GatewayRow {
            gateway_id: self.gateway_id.clone(),
            deployment_id: self.deployment_id,
            token_id: self.token_id,
            name: self.name.clone(),
            version: self.version.clone(),
            address: self.address.to_string(),
            control_id: control_id.to_owned(),
            applied: state.applied,
            staleness_ms: state.staleness_ms,
            stale_max_ms: u64::try_from(self.stale_max.as_millis()).unwrap_or(MILLISECONDS_MAX),
            serves_stale: self.serves_stale,
            is_connected: state.is_connected,
            welcomed_at: self.welcomed_at,
            seen_at: ago(state.seen.monotonic_us),
            counts_until: counts_until.unwrap_or(Timestamp::MAX),
        }
    }

    /// It as operators see it now.
    pub(crate) fn shown(&self, control_id: &str, at: (Moment, Timestamp)) -> GatewayRow {
        self.row_at(control_id, at, Duration::ZERO)
    }

    /// Its row is durable, as it was made at `made`; rounds up to `round` may have begun before that.
    pub(crate) fn written(&self, made: Moment, round: u64, lease: Duration, now: Moment) {
        let mut state = self.state.lock();
        if now.monotonic_us >= state.leased_until_us {
            // While it had no lease, whoever looked may have taken it for gone.
            state.leased_at_round = round;
        }
        state.leased_until_us = made.monotonic_us.saturating_add(microseconds(lease));
        // Had it left since the row was made, it would be due again.
        state.is_noted = !state.is_due;
        drop(state);
        self.renewed.notify_one();
    }

    /// Its row could not be written.
    pub(crate) fn not_written(&self) {
        let mut state = self.state.lock();
        state.is_due = true;
        state.written = NOTHING;
    }

    /// What the store last heard that it applied.
    pub(crate) fn last_written(&self) -> Version {
        self.state.lock().written
    }
}

/// The longest time that can be stored, in milliseconds.
const MILLISECONDS_MAX: u64 = 1 << 53;

pub(crate) fn microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
