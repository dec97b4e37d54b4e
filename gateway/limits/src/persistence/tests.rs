//! What is saved and restored: all of it under the same clock, nothing earlier under another, and nothing of a bad file.

use super::clock_identity::ClockIdentity;
use super::restoring::restore;
use super::saving::save;
use super::{Taken, Unfit};
use crate::calendar::Period;
use crate::layout::Layout;
use crate::quota::Quota;
use crate::shard::{Located, Look};
use crate::subject::{Network, RuleDigest, Subject};
use crate::table::{CounterTable, SWEEPS_PER_ROUND};
use crate::tally::Tally;
use portcullis_verify::{Mode, Moment};

mod clocks;
mod damage;
mod file;
mod round_trip;

const SECOND: u64 = 1_000_000;
const HOUR: u64 = 3_600 * SECOND;
const DAY: u64 = 24 * HOUR;

const THIS_BOOT: ClockIdentity = ClockIdentity([1; 32]);
const NEXT_BOOT: ClockIdentity = ClockIdentity([2; 32]);

/// 2026-11-12 12:00:00 UTC, 400 days after the monotonic clock started.
fn noon() -> Moment {
    Moment {
        monotonic_us: 400 * DAY,
        wall_us: 1_794_484_800_000_000,
    }
}

fn after(at: Moment, by_us: u64) -> Moment {
    Moment {
        monotonic_us: at.monotonic_us + by_us,
        wall_us: at.wall_us + i64::try_from(by_us).unwrap(),
    }
}

fn rolling(limit: u32, window_us: u64) -> Quota {
    Quota::Rolling(Layout::new(limit, window_us))
}

fn calendar(limit: u32, period: Period) -> Quota {
    Quota::Calendar { period, limit }
}

/// A rule and its counters in whatever table.
#[derive(Debug, Clone, Copy)]
struct Rule {
    number: u64,
    mode: Mode,
    quota: Quota,
}

/// One of every kind that is worth saving.
fn rules() -> [Rule; 6] {
    let rule = |number, mode, quota| Rule { number, mode, quota };
    [
        rule(1, Mode::PerKey, rolling(3, HOUR)),
        rule(2, Mode::PerIp, rolling(40, DAY)),
        rule(3, Mode::PerApp, rolling(500, 30 * DAY)),
        rule(4, Mode::PerKey, calendar(5, Period::Day)),
        rule(5, Mode::PerIp, calendar(9, Period::Month)),
        rule(6, Mode::PerKeyAndIp, rolling(17, 5 * HOUR + SECOND)),
    ]
}

impl Rule {
    fn subject(&self, owner: u32) -> Subject {
        let rule = RuleDigest([self.number, self.number << 32 | 7]);
        match self.mode {
            Mode::PerKey | Mode::PerApp => Subject::anywhere(rule, i64::from(owner)),
            Mode::PerIp | Mode::PerKeyAndIp | Mode::PerAppAndIp if owner.is_multiple_of(2) => {
                Subject::at(rule, 1, Network::V4(owner + 1))
            }
            Mode::PerIp | Mode::PerKeyAndIp | Mode::PerAppAndIp => {
                Subject::at(rule, 1, Network::V6(u64::from(owner) << 40))
            }
        }
    }

    fn wait_us(&self, table: &CounterTable, owner: u32, now: Moment) -> Option<u64> {
        let (key, index) = table.key(self.mode, self.subject(owner));
        let shard = table.lock(index);
        match shard.look(&key, shard.locate(&key, table.hasher()), &self.quota, now) {
            Look::Blocked { wait_us } => Some(wait_us),
            Look::Room | Look::RoomOnceMade => None,
        }
    }

    fn remaining(&self, table: &CounterTable, owner: u32, now: Moment) -> u32 {
        let (key, index) = table.key(self.mode, self.subject(owner));
        let shard = table.lock(index);
        let spot = shard.locate(&key, table.hasher()).spot();
        shard.standing(&key, spot, &self.quota, now).remaining
    }

    /// Whether the subject was admitted.
    fn charge(&self, table: &CounterTable, owner: u32, now: Moment) -> bool {
        if self.wait_us(table, owner, now).is_some() {
            return false;
        }
        let (key, index) = table.key(self.mode, self.subject(owner));
        let mut shard = table.lock(index);
        let is_own = matches!(shard.locate(&key, table.hasher()), Located::Own(_));
        let is_reserved = !is_own && table.reserve(&mut shard, now);
        table.place(&mut shard, &key, &self.quota, is_reserved, now);
        let spot = shard.locate(&key, table.hasher()).spot().unwrap();
        shard.admit(&key, spot, &self.quota, now).unwrap();
        true
    }
}

fn saved(table: &CounterTable, clock: ClockIdentity, now: Moment) -> Vec<u8> {
    let mut bytes = Vec::new();
    save(table, clock, now, &mut bytes).unwrap();
    bytes
}

fn restored(bytes: &[u8], own_max: usize, clock: ClockIdentity, now: Moment) -> Result<(CounterTable, Taken), Unfit> {
    let length = u64::try_from(bytes.len()).unwrap();
    restore(&mut &*bytes, length, own_max, clock, now)
}

/// The counters of every shard that are worth saving at `now`, in a fixed order.
fn contents(table: &CounterTable, now: Moment) -> Vec<Vec<(String, Tally)>> {
    let of_shard = |mut tallies: Vec<(String, Tally)>| {
        tallies.sort_unstable_by(|left, right| left.0.cmp(&right.0));
        tallies
    };
    let entries = table.shards().map(|shard| {
        let worth = shard
            .tallies()
            .filter(|(_, tally)| tally.is_long() && !tally.is_idle(now));
        worth.map(|(subject, tally)| (format!("{subject:?}"), tally)).collect()
    });
    entries.map(of_shard).collect()
}

/// Every counter's limit used up for ten owners.
fn spent(own_max: usize, now: Moment) -> CounterTable {
    let table = CounterTable::new(own_max);
    for rule in rules() {
        for owner in 0..10 {
            while rule.charge(&table, owner, now) {}
        }
    }
    table
}
