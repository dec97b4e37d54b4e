//! The limiter that counts in this process.
//!
//! Decides a request over all rules of its key at once: every rule is charged or none. Knows nothing of other gateways. The
//! engine charges it; whoever runs it calls `sweep` once a second.

use crate::charging::Charging;
use crate::plan::{Plan, RuleNamer};
use crate::reach::{Match, Matches, Reached};
use crate::table::CounterTable;
use portcullis_verify::{Charge, ChargeRequest, Limiter, Moment, StoredKey};
use smallvec::SmallVec;
use std::sync::atomic::{AtomicU64, Ordering};

/// What an operator can set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimiterSettings {
    /// Most subjects (keys, apps, addresses, each per rule) that have a counter of their own at the same time, at about
    /// 200 bytes each. Past it, new ones share: 1 024 further counters per rule that overflows.
    pub counters_max: usize,
}

/// What a limiter holds and has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimiterStats {
    /// Counters held now, shared ones included.
    pub counters: u64,
    /// Charges since the start, per rule, that went to a shared counter because the table was full.
    pub overflowed: u64,
    /// Idle counters dropped since the start.
    pub evicted: u64,
}

/// A [`Limiter`] over counters in this process's memory.
#[derive(Debug)]
pub struct LocalLimiter {
    namer: RuleNamer,
    table: CounterTable,
    overflowed: AtomicU64,
}

impl LocalLimiter {
    /// A limiter that has admitted nothing.
    #[must_use]
    pub fn new(settings: LimiterSettings) -> LocalLimiter {
        LocalLimiter {
            namer: RuleNamer::new(),
            table: CounterTable::new(settings.counters_max),
            overflowed: AtomicU64::new(0),
        }
    }

    /// Drops counters that have been idle for their whole window, in a part of the table: 32 calls go round once. To be
    /// called every second.
    pub fn sweep(&self, now: Moment) {
        self.table.sweep(now);
    }

    /// What the limiter holds and has done.
    #[must_use]
    pub fn stats(&self) -> LimiterStats {
        LimiterStats {
            counters: self.table.counters(),
            overflowed: self.overflowed.load(Ordering::Relaxed),
            evicted: self.table.evicted(),
        }
    }

    fn decide(&self, key: &StoredKey, request: &ChargeRequest<'_>, intent: Intent) -> Charge {
        let plan = key
            .counter_handles
            .get_or_init(|| Plan::new(key, &self.namer, &self.table));
        match plan.filter(|plan| plan.is_for(&self.namer)) {
            Some(plan) => self.decide_matches(&plan.matches(key, request, &self.table), request.now, intent),
            // The record already carries another limiter's counters.
            None => {
                let plan = Plan::new(key, &self.namer, &self.table);
                self.decide_matches(&plan.matches(key, request, &self.table), request.now, intent)
            }
        }
    }

    /// Looks without making counters, so that a refused request leaves nothing behind; only an admitted one gets those that
    /// it lacks, and is then looked at again.
    fn decide_matches(&self, matches: &Matches<'_>, now: Moment, intent: Intent) -> Charge {
        let mut placed = false;
        loop {
            let mut reached: SmallVec<[Reached; 4]> = SmallVec::new();
            for matched in matches {
                reached.push(matched.reach(&self.table));
            }
            let Some(mut charging) = Charging::lock(matches, &reached) else {
                matches.iter().for_each(|matched| matched.forget());
                continue;
            };
            let fresh = |matched: &Match<'_>| self.table.fresh(matched.quota);
            let blocked = charging.blocked(now);
            match intent {
                Intent::Peek => {
                    return match blocked {
                        Some(blocked) => charging.refuse(blocked, now, fresh),
                        None => charging.stand(now, fresh),
                    };
                }
                Intent::Charge if blocked.is_none() && self.lacks_counters(&reached, placed) => {
                    drop(charging);
                    self.place(matches, &reached);
                    placed = true;
                }
                Intent::Charge => {
                    self.count_overflow(&reached);
                    return match blocked {
                        Some(blocked) => charging.refuse(blocked, now, fresh),
                        None => charging.commit(now),
                    };
                }
            }
        }
    }

    /// Gives every subject that has no counter of its own one, or a share in one.
    fn place(&self, matches: &Matches<'_>, reached: &[Reached]) {
        for (matched, reached) in matches.iter().zip(reached) {
            if matches!(reached, Reached::Missing | Reached::Shared(_)) {
                self.table.place(matched.subject(), matched.quota);
            }
        }
    }

    /// Whether a subject has no counter, or shares one although there is room again (which is tried once).
    fn lacks_counters(&self, reached: &[Reached], placed: bool) -> bool {
        reached.iter().any(|reached| match reached {
            Reached::Missing => true,
            Reached::Shared(_) => !placed && self.table.has_room(),
            Reached::Held(_) | Reached::Own(_) => false,
        })
    }

    fn count_overflow(&self, reached: &[Reached]) {
        for reached in reached {
            if let Reached::Shared(_) = reached {
                self.overflowed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

impl Limiter for LocalLimiter {
    fn charge(&self, key: &StoredKey, request: &ChargeRequest<'_>) -> Charge {
        self.decide(key, request, Intent::Charge)
    }

    fn peek(&self, key: &StoredKey, request: &ChargeRequest<'_>) -> Charge {
        self.decide(key, request, Intent::Peek)
    }
}

#[derive(Debug, Clone, Copy)]
enum Intent {
    Charge,
    Peek,
}

#[cfg(test)]
mod tests;
