//! The limiter that counts in this process.
//!
//! Decides a request over all rules of its key at once: every rule is charged or none. Knows nothing of other gateways. The
//! engine charges it; whoever runs it calls `sweep` once a second.

use crate::at_once;
use crate::charging::{Answer, Charging};
use crate::plan::{Matches, Plan};
use crate::sync::{AtomicU64, Ordering};
use crate::table::CounterTable;
use portcullis_verify::{Charge, ChargeRequest, Limiter, Moment, StoredKey};

/// What an operator can set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimiterSettings {
    /// Most subjects (keys, apps, addresses, each per rule) that have a counter of their own at the same time. Each
    /// takes up to 256 bytes, all told. Past it, new ones share: up to 256 further counters per rule that overflows.
    pub counters_max: usize,
}

/// What a limiter holds and has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimiterStats {
    /// Counters held now, shared ones included.
    pub counters: u64,
    /// Most subjects that have a counter of their own at the same time.
    pub counters_max: u64,
    /// Charges since the start, per rule, that went to a shared counter because the table was full.
    pub overflowed: u64,
    /// Idle counters dropped since the start.
    pub evicted: u64,
}

/// A [`Limiter`] over counters in this process's memory.
#[derive(Debug)]
pub struct LocalLimiter {
    table: CounterTable,
    overflowed: AtomicU64,
}

impl LocalLimiter {
    /// A limiter that has admitted nothing.
    #[must_use]
    pub fn new(settings: LimiterSettings) -> LocalLimiter {
        LocalLimiter::over(CounterTable::new(settings.counters_max))
    }

    /// A limiter that goes on from these counters.
    pub(crate) fn over(table: CounterTable) -> LocalLimiter {
        LocalLimiter {
            table,
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
            counters_max: u64::try_from(self.table.own_max()).unwrap_or(u64::MAX),
            overflowed: self.overflowed.load(Ordering::Relaxed),
            evicted: self.table.evicted(),
        }
    }

    /// The counters.
    pub(crate) fn table(&self) -> &CounterTable {
        &self.table
    }

    /// Looks at the counters that a request means, with their shards locked.
    #[inline]
    fn look(
        &self,
        key: &StoredKey,
        request: &ChargeRequest<'_>,
        act: impl FnOnce(Charging<'_, '_>) -> Charge,
    ) -> Charge {
        match key.rules.limiter_view.get_or_init(|| Plan::new(&key.rules)) {
            Some(plan) => {
                let mut matches = Matches::new();
                plan.find(&mut matches, key, request, &self.table);
                act(Charging::lock(&self.table, &mut matches, request.now))
            }
            // The slot holds another limiter's view.
            None => {
                let plan = Plan::new(&key.rules);
                let mut matches = Matches::new();
                plan.find(&mut matches, key, request, &self.table);
                act(Charging::lock(&self.table, &mut matches, request.now))
            }
        }
    }
}

impl Limiter for LocalLimiter {
    #[inline]
    fn charge(&self, key: &StoredKey, request: &ChargeRequest<'_>) -> Charge {
        if let Some(plan) = key.rules.limiter_view.get_or_init(|| Plan::new(&key.rules))
            && let Some(charge) = at_once::charge(&self.table, plan, key, request)
        {
            return charge;
        }
        self.charge_closely(key, request)
    }

    fn peek(&self, key: &StoredKey, request: &ChargeRequest<'_>) -> Charge {
        self.look(key, request, |charging| charging.stand(charging.look()))
    }
}

impl LocalLimiter {
    /// Charges a request that may be unlike most.
    #[inline(never)]
    fn charge_closely(&self, key: &StoredKey, request: &ChargeRequest<'_>) -> Charge {
        self.look(key, request, |mut charging| {
            let answer = charging.look();
            if answer == Answer::RoomOnceMade {
                charging.place();
            }
            let overflowed = charging.overflowed();
            if overflowed > 0 {
                self.overflowed.fetch_add(overflowed, Ordering::Relaxed);
            }
            match answer {
                Answer::Room | Answer::RoomOnceMade => charging.commit(),
                Answer::Blocked { .. } => charging.stand(answer),
            }
        })
    }
}

#[cfg(test)]
mod tests;
