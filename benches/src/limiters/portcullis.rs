//! Our own limiter, called as the engine calls it: with the record of the key, the address and the time.
//!
//! Decides nothing of its own; says which rules hold and whether the record and the time are at hand already. All three ways of
//! calling share one limiter and its counters.
//!
//! A record at hand is one of a few, which is told whose it is before the measured time: other limiters are given a name that lies
//! in the request, and no table of names goes through the processor's caches beside their counters.

use super::contender::{BATCH, Contender, Request, Rules, Served, Settings, in_batches};
use crate::{DEPLOYMENT, record};
use portcullis_limits::{LimiterSettings, LocalLimiter};
use portcullis_verify::{
    AppId, AppRecord, ChargeOutcome, ChargeRequest, Clock, KeyId, Limiter, Mode, Moment, Rule, RuleSet, StoredKey,
    Unit, Version,
};
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// What a caller has at hand when it charges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AtHand {
    /// The record, just looked up, and the time, read for the whole request.
    RecordAndTime,
    /// The record; the clock is read for the charge.
    Record,
    /// The time; the record is first read by the charge.
    Time,
}

/// One way of calling the limiter.
#[derive(Clone)]
pub(crate) struct Portcullis {
    limiter: Arc<LocalLimiter>,
    keys: Arc<Vec<StoredKey>>,
    apps: Arc<Vec<Arc<AppRecord>>>,
    rules: Arc<RuleSet>,
    clock: Clock,
    at_hand: AtHand,
}

impl Portcullis {
    /// An empty limiter over a population of keys, all under the same rules.
    pub(crate) fn new(settings: &Settings) -> Portcullis {
        let modes: &[(Mode, u32)] = &[
            (Mode::PerKey, settings.limits[0]),
            (Mode::PerIp, settings.limits[1]),
            (Mode::PerApp, settings.limits[2]),
        ];
        let modes = match settings.rules {
            Rules::Key => &modes[..1],
            Rules::App => &modes[2..],
            Rules::Three => modes,
        };
        let rules: Vec<Rule> = modes
            .iter()
            .map(|&(mode, limit)| rule(mode, limit, settings.window_us))
            .collect();
        let rules = Arc::new(RuleSet::compile(None, &rules));
        let apps: Vec<Arc<AppRecord>> = (0..settings.apps).map(app).collect();
        let keys = (0..settings.keys).map(|key| stored(key, &apps[index(key % settings.apps)], &rules));
        Portcullis {
            limiter: empty(),
            keys: Arc::new(keys.collect()),
            apps: Arc::new(apps),
            rules,
            clock: Clock::system(),
            at_hand: AtHand::RecordAndTime,
        }
    }

    /// The same limiter, called in another way.
    pub(crate) fn with(&self, at_hand: AtHand) -> Portcullis {
        Portcullis {
            at_hand,
            ..self.clone()
        }
    }

    /// The same keys under an empty limiter.
    pub(crate) fn fresh(&self) -> Portcullis {
        Portcullis {
            limiter: empty(),
            ..self.clone()
        }
    }

    fn charge(&self, key: &StoredKey, request: &Request, now: Moment) -> bool {
        let now = match self.at_hand {
            AtHand::Record => self.clock.now(),
            AtHand::RecordAndTime | AtHand::Time => now,
        };
        let request = ChargeRequest {
            path: "/v1/users",
            address: Some(IpAddr::V4(Ipv4Addr::from(request.address))),
            now,
        };
        black_box(self.limiter.charge(key, &request)).outcome == ChargeOutcome::Admitted
    }
}

fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn key_id(key: u32) -> KeyId {
    KeyId(i64::from(key) + 1)
}

fn empty() -> Arc<LocalLimiter> {
    Arc::new(LocalLimiter::new(LimiterSettings {
        counters_max: 10_000_000,
    }))
}

fn app(app: u32) -> Arc<AppRecord> {
    Arc::new(AppRecord {
        id: AppId(i64::from(app) + 1),
        ..record(1, &[]).app
    })
}

fn stored(key: u32, app: &Arc<AppRecord>, rules: &Arc<RuleSet>) -> StoredKey {
    let mut record = record(key_id(key).0, &[]);
    record.deployment_id = DEPLOYMENT;
    record.scheme = None;
    let mut stored = StoredKey::compile(record, Version { epoch: 1, revision: 1 }, rules);
    stored.app = Arc::clone(app);
    stored
}

/// A rule over a window of whole hours or else whole seconds.
fn rule(mode: Mode, limit: u32, window_us: u64) -> Rule {
    let seconds = window_us / 1_000_000;
    let (unit, duration) = if seconds.is_multiple_of(3_600) {
        (Unit::Hour, seconds / 3_600)
    } else {
        (Unit::Second, seconds)
    };
    Rule {
        unit,
        duration: i32::try_from(duration).unwrap_or(i32::MAX),
        max_requests: i32::try_from(limit).unwrap_or(i32::MAX),
        mode: Some(mode),
        endpoints: None,
        priority: None,
    }
}

impl Contender for Portcullis {
    fn name(&self) -> String {
        match self.at_hand {
            AtHand::RecordAndTime => "portcullis, time given",
            AtHand::Record => "portcullis, reads the clock",
            AtHand::Time => "portcullis, time given, record cold",
        }
        .to_owned()
    }

    fn check(&self, request: &Request, now: Moment) -> bool {
        self.charge(&self.keys[index(request.key)], request, now)
    }

    fn serve(&self, requests: &[Request], clock: &Clock) -> Served {
        let mut hand = Vec::new();
        if self.at_hand != AtHand::Time {
            hand.resize_with(BATCH, || stored(0, &self.apps[0], &self.rules));
        }
        let begin = |hand: &mut Vec<StoredKey>, batch: &[Request], _| {
            for (record, request) in hand.iter_mut().zip(batch) {
                record.lineage_id = key_id(request.key);
                record.app = Arc::clone(&self.apps[index(request.app)]);
            }
        };
        in_batches(
            requests,
            clock,
            &mut hand,
            begin,
            |hand, place, request, now| match hand.get(place) {
                Some(key) => self.charge(key, request, now),
                None => self.check(request, now),
            },
        )
    }
}
