//! One look at all counters of a request at once.
//!
//! Decides whether all of them have room, and charges all or none. Knows nothing of tables or keys; the limiter hands it
//! counters and does over what it may have missed.

use crate::counter::Counter;
use crate::decimated_log::Standing;
use crate::plan::{Match, Reached};
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
        let mut counters: SmallVec<[_; 4]> = reached.iter().map(|_| None).collect();
        for (_, index, counter) in order {
            let guard = counter.lock();
            if guard.is_none() {
                return None;
            }
            counters[index] = Some(guard);
        }
        Some(Charging { matches, counters })
    }

    /// The answer if a rule has no room. `fresh` is what a match without a counter has admitted.
    pub(crate) fn refused(&self, now: Moment, fresh: impl Fn(&Match<'_>) -> Tally) -> Option<Charge> {
        let mut blocked: Option<(usize, u64)> = None;
        for (matched, counter) in self.each() {
            let wait_us = counter.and_then(|tally| tally.wait_us(matched.quota, now));
            if let Some(wait_us) = wait_us
                && blocked.is_none_or(|(_, longest_us)| wait_us > longest_us)
            {
                blocked = Some((matched.rule, wait_us));
            }
        }
        let (blocked_rule, retry_after_us) = blocked?;
        let states = self.each().map(|(matched, counter)| match counter {
            Some(tally) => state(matched, tally.standing(matched.quota, now)),
            None => state(matched, fresh(matched).standing(matched.quota, now)),
        });
        Some(Charge {
            outcome: ChargeOutcome::Refused {
                blocked_rule,
                retry_after_us,
            },
            states: states.collect(),
        })
    }

    /// The answer of [`Charging::commit`], without charging.
    pub(crate) fn rehearse(&self, now: Moment, fresh: impl Fn(&Match<'_>) -> Tally) -> Charge {
        let states = self.each().map(|(matched, counter)| {
            let mut tally = counter.copied().unwrap_or_else(|| fresh(matched));
            tally.admit(matched.quota, now);
            state(matched, tally.standing(matched.quota, now))
        });
        Charge {
            outcome: ChargeOutcome::Admitted,
            states: states.collect(),
        }
    }

    /// Charges every counter, once [`Charging::refused`] found room in all of them. Every match must have one.
    pub(crate) fn commit(mut self, now: Moment) -> Charge {
        let mut states = SmallVec::new();
        for (matched, counter) in self.matches.iter().zip(&mut self.counters) {
            if let Some(tally) = counter.as_mut().and_then(|guard| guard.as_mut()) {
                tally.admit(matched.quota, now);
                states.push(state(matched, tally.standing(matched.quota, now)));
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
