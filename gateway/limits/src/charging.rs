//! One look at all counters of a request at once.
//!
//! Decides whether all of them have room, and charges all or none. Knows nothing of keys and rules; the limiter hands it the
//! rules that hold.

use crate::decimated_log::Standing;
use crate::plan::{Match, Matches};
use crate::shard::{Located, Shard};
use crate::table::CounterTable;
use parking_lot::MutexGuard;
use portcullis_verify::{Charge, ChargeOutcome, Moment, RuleState};
use smallvec::SmallVec;

/// The counters of a request, with their shards locked.
pub(crate) struct Charging<'a> {
    table: &'a CounterTable,
    shards: SmallVec<[MutexGuard<'a, Shard>; 4]>,
    matches: Matches<'a>,
}

/// A rule that has no room.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Blocked {
    rule: usize,
    wait_us: u64,
}

impl<'a> Charging<'a> {
    /// Locks the shards of `matches`, which are in the order of locking: no two requests can wait for each other.
    ///
    /// What the memory is slow with is fetched before the apps' shards are locked, for which most others wait.
    #[inline]
    pub(crate) fn lock(table: &'a CounterTable, matches: Matches<'a>) -> Charging<'a> {
        let apps = matches.iter().take_while(|matched| !matched.shard.is_of_apps()).count();
        let mut charging = Charging {
            table,
            shards: SmallVec::new(),
            matches,
        };
        charging.lock_part(0, apps);
        charging.lock_part(apps, charging.matches.len());
        charging
    }

    #[inline]
    fn lock_part(&mut self, from: usize, until: usize) {
        let part = &mut self.matches[from..until];
        let mut last = None;
        for matched in &mut *part {
            if last != Some(matched.shard) {
                last = Some(matched.shard);
                self.shards.push(self.table.lock(matched.shard));
            }
            matched.lock = self.shards.len() - 1;
        }
        for matched in part {
            matched.located = self.shards[matched.lock].locate(&matched.key, self.table.hasher());
        }
    }

    /// The rule with the longest wait among those that have no room, the first if several wait as long.
    #[inline]
    pub(crate) fn blocked(&self, now: Moment) -> Option<Blocked> {
        let mut blocked: Option<Blocked> = None;
        for matched in &self.matches {
            let wait_us = matched
                .located
                .spot()
                .and_then(|spot| self.shards[matched.lock].wait_us(&matched.key, spot, matched.quota, now));
            let Some(wait_us) = wait_us else { continue };
            let is_longer = blocked.is_none_or(|longest| {
                wait_us > longest.wait_us || (wait_us == longest.wait_us && matched.rule < longest.rule)
            });
            if is_longer {
                blocked = Some(Blocked {
                    rule: matched.rule,
                    wait_us,
                });
            }
        }
        blocked
    }

    /// The answer to a request that is blocked.
    pub(crate) fn refuse(&self, blocked: Blocked, now: Moment) -> Charge {
        let outcome = ChargeOutcome::Refused {
            blocked_rule: blocked.rule,
            retry_after_us: blocked.wait_us,
        };
        self.stand(outcome, now)
    }

    /// Where every rule stands, with nothing charged, once [`Charging::blocked`] found room in all of them.
    pub(crate) fn foretell(&self, now: Moment) -> Charge {
        self.stand(ChargeOutcome::Admitted, now)
    }

    /// Charges every counter, once [`Charging::blocked`] found room in all of them.
    #[inline]
    pub(crate) fn commit(&mut self, now: Moment) -> Charge {
        if self.matches.iter().any(|matched| self.is_to_be_placed(matched)) {
            self.place(now);
        }
        let mut states = SmallVec::new();
        for matched in &self.matches {
            let shard = &mut self.shards[matched.lock];
            let spot = matched.located.spot();
            if let Some(standing) = spot.and_then(|spot| shard.admit(&matched.key, spot, matched.quota, now)) {
                states.push(state(matched, standing));
            }
        }
        debug_assert_eq!(states.len(), self.matches.len(), "an admission was not counted");
        in_order(states, ChargeOutcome::Admitted)
    }

    /// Rules whose counter is a shared one.
    #[inline]
    pub(crate) fn overflowed(&self) -> u64 {
        let shared = |matched: &&Match<'_>| matches!(matched.located, Located::Shared(_));
        u64::try_from(self.matches.iter().filter(shared).count()).unwrap_or(0)
    }

    #[inline]
    fn is_to_be_placed(&self, matched: &Match<'_>) -> bool {
        match matched.located {
            Located::Own(spot) => !self.shards[matched.lock].fits(&matched.key, spot, matched.quota),
            Located::Shared(spot) => {
                self.table.has_room() || !self.shards[matched.lock].fits(&matched.key, spot, matched.quota)
            }
            Located::Missing => true,
        }
    }

    /// Gives every match a counter in the shape of its quota.
    ///
    /// Placing a counter may move others, and making room may drop idle ones, so that each step looks anew. All room is made
    /// before the first counter is placed: one that has just been placed has admitted nothing and would count as idle.
    #[cold]
    fn place(&mut self, now: Moment) {
        let hasher = self.table.hasher();
        let mut reserved: SmallVec<[bool; 4]> = SmallVec::new();
        for matched in &self.matches {
            let shard = &mut self.shards[matched.lock];
            let is_own = matches!(shard.locate(&matched.key, hasher), Located::Own(_));
            reserved.push(!is_own && self.table.reserve(shard, now));
        }
        for (matched, is_reserved) in self.matches.iter().zip(reserved) {
            let shard = &mut self.shards[matched.lock];
            self.table.place(shard, &matched.key, matched.quota, is_reserved, now);
        }
        for matched in &mut self.matches {
            matched.located = self.shards[matched.lock].locate(&matched.key, hasher);
        }
    }

    fn stand(&self, outcome: ChargeOutcome, now: Moment) -> Charge {
        let states = self.matches.iter().map(|matched| {
            let shard = &self.shards[matched.lock];
            let standing = shard.standing(&matched.key, matched.located.spot(), matched.quota, now);
            state(matched, standing)
        });
        in_order(states.collect(), outcome)
    }
}

/// The answer, with the rules in the order in which the key has them.
#[inline]
fn in_order(mut states: SmallVec<[RuleState; 4]>, outcome: ChargeOutcome) -> Charge {
    if !states.is_sorted_by_key(|state| state.rule) {
        states.sort_unstable_by_key(|state| state.rule);
    }
    Charge { outcome, states }
}

#[inline]
fn state(matched: &Match<'_>, standing: Standing) -> RuleState {
    RuleState {
        rule: matched.rule,
        limit: matched.quota.limit(),
        remaining: standing.remaining,
        grows_in_us: standing.grows_in_us,
    }
}
