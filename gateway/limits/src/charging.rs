//! One look at all counters of a request at once.
//!
//! Decides whether all of them have room, and charges all or none. Knows nothing of tables or keys; the limiter hands it
//! counters and does over what it may have missed.

use crate::counter::Counter;
use crate::decimated_log::Standing;
use crate::reach::{Match, Reached};
use crate::tally::Tally;
use parking_lot::MutexGuard;
use portcullis_verify::{Charge, ChargeOutcome, Moment, RuleState};
use smallvec::SmallVec;

/// The counters of a request, locked.
pub(crate) struct Charging<'a> {
    matches: &'a [Match<'a>],
    /// Beside each match its counter; `None` where there is none yet.
    counters: SmallVec<[Option<MutexGuard<'a, Option<Tally>>>; 4]>,
}

/// A rule that has no room.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Blocked {
    rule: usize,
    wait_us: u64,
}

impl<'a> Charging<'a> {
    /// Locks the counters of `matches`. `None` when one of them is retired and must be looked up again.
    ///
    /// They are locked in the order of their addresses in memory, which is the same for every request whatever the order
    /// of its rules: no two requests can wait for each other.
    pub(crate) fn lock(matches: &'a [Match<'a>], reached: &'a [Reached]) -> Option<Charging<'a>> {
        let mut order: SmallVec<[(usize, usize, &Counter); 4]> = SmallVec::new();
        for (index, reached) in reached.iter().enumerate() {
            if let Some(counter) = reached.counter() {
                order.push((std::ptr::from_ref(counter).addr(), index, counter));
            }
        }
        order.sort_unstable_by_key(|&(address, _, _)| address);
        let mut counters: SmallVec<[_; 4]> = SmallVec::new();
        counters.resize_with(reached.len(), || None);
        for &(_, index, counter) in &order {
            let guard = counter.lock();
            if guard.is_none() {
                return None;
            }
            counters[index] = Some(guard);
        }
        Some(Charging { matches, counters })
    }

    /// The rule with the longest wait among those that have no room, the first if several wait as long.
    pub(crate) fn blocked(&self, now: Moment) -> Option<Blocked> {
        let mut blocked: Option<Blocked> = None;
        for (matched, counter) in self.each() {
            if let Some(wait_us) = counter.and_then(|tally| tally.wait_us(matched.quota, now))
                && blocked.is_none_or(|longest| wait_us > longest.wait_us)
            {
                blocked = Some(Blocked {
                    rule: matched.rule,
                    wait_us,
                });
            }
        }
        blocked
    }

    /// The answer to a request that is blocked. `fresh` is what a match without a counter has admitted.
    pub(crate) fn refuse(&self, blocked: Blocked, now: Moment, fresh: impl Fn(&Match<'_>) -> Tally) -> Charge {
        let states = self.each().map(|(matched, counter)| match counter {
            Some(tally) => state(matched, tally.standing(matched.quota, now)),
            None => state(matched, fresh(matched).standing(matched.quota, now)),
        });
        let outcome = ChargeOutcome::Refused {
            blocked_rule: blocked.rule,
            retry_after_us: blocked.wait_us,
        };
        Charge {
            outcome,
            states: states.collect(),
        }
    }

    /// Where every rule stands, with nothing charged, once [`Charging::blocked`] found room in all of them.
    pub(crate) fn stand(&self, now: Moment, fresh: impl Fn(&Match<'_>) -> Tally) -> Charge {
        let states = self.each().map(|(matched, counter)| {
            let tally = counter.copied().unwrap_or_else(|| fresh(matched));
            state(matched, tally.standing(matched.quota, now))
        });
        Charge {
            outcome: ChargeOutcome::Admitted,
            states: states.collect(),
        }
    }

    /// Charges every counter, once [`Charging::blocked`] found room in all of them. Every match must have one.
    pub(crate) fn commit(&mut self, now: Moment) -> Charge {
        let mut states = SmallVec::new();
        for (matched, counter) in self.matches.iter().zip(&mut self.counters) {
            if let Some(tally) = counter.as_mut().and_then(|guard| guard.as_mut()) {
                states.push(state(matched, tally.admit(matched.quota, now)));
            }
        }
        Charge {
            outcome: ChargeOutcome::Admitted,
            states,
        }
    }

    fn each(&self) -> impl Iterator<Item = (&'a Match<'a>, Option<&Tally>)> {
        self.matches.iter().zip(
            self.counters
                .iter()
                .map(|counter| counter.as_ref().and_then(|guard| guard.as_ref())),
        )
    }
}

fn state(matched: &Match<'_>, standing: Standing) -> RuleState {
    RuleState {
        rule: matched.rule,
        limit: matched.quota.limit(),
        remaining: standing.remaining,
        grows_in_us: standing.grows_in_us,
    }
}
