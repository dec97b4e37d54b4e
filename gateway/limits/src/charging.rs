//! One look at all counters of a request at once.
//!
//! Decides whether all of them have room, and charges all or none. Knows nothing of keys and rules; the limiter hands it the
//! rules that hold.

use crate::decimated_log::Standing;
use crate::plan::Match;
use crate::shard::{Located, Look, Shard};
use crate::sync::MutexGuard;
use crate::table::CounterTable;
use portcullis_verify::{Charge, ChargeOutcome, Moment, RuleState};
use smallvec::SmallVec;

/// The counters of a request, with their shards locked.
pub(crate) struct Charging<'a, 'plan> {
    table: &'a CounterTable,
    shards: SmallVec<[MutexGuard<'a, Shard>; 4]>,
    matches: &'a mut [Match<'plan>],
    now: Moment,
}

/// What all counters of a request say together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// All have room and are in shape.
    Room,
    /// All have room, but some have no counter of their own yet, or one in the shape of an earlier rule.
    RoomOnceMade,
    /// Some have none.
    Blocked {
        /// The rule with the longest wait, the first if several wait as long.
        rule: usize,
        /// Microseconds.
        wait_us: u64,
    },
}

impl<'a, 'plan> Charging<'a, 'plan> {
    /// Locks the shards of `matches`, which are in the order of locking: no two requests can wait for each other.
    ///
    /// What the memory is slow with is fetched before the apps' shards are locked, for which most others wait.
    #[inline]
    pub(crate) fn lock(table: &'a CounterTable, matches: &'a mut [Match<'plan>], now: Moment) -> Charging<'a, 'plan> {
        let mut shards: SmallVec<[MutexGuard<'a, Shard>; 4]> = SmallVec::new();
        let mut locked = None;
        let mut found = 0;
        for index in 0..matches.len() {
            let shard = matches[index].shard;
            if shard.is_of_apps() {
                locate(table, &shards, &mut matches[found..index]);
                found = index;
            }
            if locked != Some(shard) {
                locked = Some(shard);
                shards.push(table.lock(shard));
            }
            matches[index].lock = shards.len() - 1;
        }
        locate(table, &shards, &mut matches[found..]);
        Charging {
            table,
            shards,
            matches,
            now,
        }
    }

    /// Whether one more request has room everywhere.
    #[inline]
    pub(crate) fn look(&self) -> Answer {
        let mut answer = Answer::Room;
        for matched in &*self.matches {
            let look = self.shards[matched.lock].look(&matched.key, matched.located, matched.quota(), self.now);
            match (look, answer) {
                (Look::Room, _) | (Look::RoomOnceMade, Answer::Blocked { .. }) => {}
                (Look::RoomOnceMade, _) => answer = Answer::RoomOnceMade,
                (Look::Blocked { wait_us }, Answer::Blocked { rule, wait_us: longest })
                    if wait_us < longest || (wait_us == longest && rule < matched.rule()) => {}
                (Look::Blocked { wait_us }, _) => {
                    answer = Answer::Blocked {
                        rule: matched.rule(),
                        wait_us,
                    };
                }
            }
        }
        answer
    }

    /// Charges every counter, once [`Charging::look`] answered [`Answer::Room`].
    #[inline]
    pub(crate) fn commit(&mut self) -> Charge {
        let mut states = SmallVec::new();
        for matched in &*self.matches {
            let shard = &mut self.shards[matched.lock];
            let spot = matched.located.spot();
            if let Some(standing) = spot.and_then(|spot| shard.admit(&matched.key, spot, matched.quota(), self.now)) {
                states.push(state(matched, standing));
            }
        }
        debug_assert_eq!(states.len(), self.matches.len(), "an admission was not counted");
        in_order(states, ChargeOutcome::Admitted)
    }

    /// Where every rule stands, with nothing charged.
    pub(crate) fn stand(&self, answer: Answer) -> Charge {
        let states = self.matches.iter().map(|matched| {
            let shard = &self.shards[matched.lock];
            let standing = shard.standing(&matched.key, matched.located.spot(), matched.quota(), self.now);
            state(matched, standing)
        });
        let outcome = match answer {
            Answer::Room | Answer::RoomOnceMade => ChargeOutcome::Admitted,
            Answer::Blocked { rule, wait_us } => ChargeOutcome::Refused {
                blocked_rule: rule,
                retry_after_us: wait_us,
            },
        };
        in_order(states.collect(), outcome)
    }

    /// Rules whose counter is a shared one.
    #[inline]
    pub(crate) fn overflowed(&self) -> u64 {
        self.matches
            .iter()
            .map(|matched| u64::from(matches!(matched.located, Located::Shared(_))))
            .sum()
    }

    /// Gives every match a counter in the shape of its quota.
    ///
    /// Placing a counter may move others, and making room may drop idle ones, so that each step looks anew. All room is made
    /// before the first counter is placed: one that has just been placed has admitted nothing and would count as idle.
    #[cold]
    #[inline(never)]
    pub(crate) fn place(&mut self) {
        let mut reserved: SmallVec<[bool; 4]> = SmallVec::new();
        for matched in &*self.matches {
            let shard = &mut self.shards[matched.lock];
            let located = shard.locate(&matched.key, self.table.hasher());
            let is_own = matches!(located, Located::Own(_) | Located::Inherited(_));
            reserved.push(!is_own && self.table.reserve(shard, self.now));
        }
        for (matched, is_reserved) in self.matches.iter().zip(reserved) {
            let shard = &mut self.shards[matched.lock];
            self.table
                .place(shard, &matched.key, matched.quota(), is_reserved, self.now);
        }
        locate(self.table, &self.shards, self.matches);
    }
}

/// Finds the counters of some matches. All lines of memory are asked for before the first is compared, so that the wait for
/// one is the wait for all.
#[inline]
fn locate(table: &CounterTable, shards: &[MutexGuard<'_, Shard>], matches: &mut [Match<'_>]) {
    for matched in &*matches {
        shards[matched.lock].fetch(matched.key.hash);
    }
    for matched in matches {
        matched.located = shards[matched.lock].locate(&matched.key, table.hasher());
    }
}

/// The answer, with the rules in the order in which the key has them.
#[inline]
pub(crate) fn in_order(mut states: SmallVec<[RuleState; 4]>, outcome: ChargeOutcome) -> Charge {
    for end in 1..states.len() {
        let mut at = end;
        while at > 0 && states[at].rule < states[at - 1].rule {
            states.swap(at, at - 1);
            at -= 1;
        }
    }
    Charge { outcome, states }
}

#[inline]
fn state(matched: &Match<'_>, standing: Standing) -> RuleState {
    RuleState {
        rule: matched.rule(),
        limit: matched.quota().limit(),
        remaining: standing.remaining,
        grows_in_us: standing.grows_in_us,
    }
}
