//! The usual request, charged in one go: every rule has a counter in its shape, with room to be seen at a glance.
//!
//! Decides whether a request is such a one, and charges it; any other it leaves untouched to `charging`, which can do all.
//! Knows nothing of keys; the limiter tries it first.

use crate::charging::in_order;
use crate::decimated_log::Prospect;
use crate::plan::Aim;
use crate::quota::Quota;
use crate::shard::Shard;
use crate::sync::MutexGuard;
use crate::table::CounterTable;
use portcullis_verify::{Charge, ChargeOutcome, RuleState};
use smallvec::SmallVec;

/// Charges the counters aimed at, which are in the order of locking. `None`, with nothing charged, when that takes a closer look.
#[inline]
pub(crate) fn charge(table: &CounterTable, aims: &[Aim<'_>], now_us: u64) -> Option<Charge> {
    match aims {
        [first] => charge_all(table, [first], now_us),
        [first, second] => charge_all(table, [first, second], now_us),
        [first, second, third] => charge_all(table, [first, second, third], now_us),
        [first, second, third, fourth] => charge_all(table, [first, second, third, fourth], now_us),
        _ => None,
    }
}

#[inline]
fn charge_all<const N: usize>(table: &CounterTable, aims: [&Aim<'_>; N], now_us: u64) -> Option<Charge> {
    // Two counters in one shard would wait for each other's lock.
    if (1..N).any(|at| aims[at].shard <= aims[at - 1].shard) {
        return None;
    }
    let mut shards: [MutexGuard<'_, Shard>; N] = std::array::from_fn(|at| table.lock(aims[at].shard));
    let mut prospects = [(0, Prospect::default()); N];
    for at in 0..N {
        let Quota::Rolling(layout) = &aims[at].planned.quota else {
            return None;
        };
        prospects[at] = shards[at].prospect(aims[at].tag, layout, now_us)?;
    }
    let mut states = SmallVec::new();
    for at in 0..N {
        let (index, prospect) = &prospects[at];
        shards[at].fulfil(*index, prospect);
        states.push(RuleState {
            rule: aims[at].planned.rule,
            limit: aims[at].planned.quota.limit(),
            remaining: prospect.standing.remaining,
            grows_in_us: prospect.standing.grows_in_us,
        });
    }
    drop(shards);
    Some(in_order(states, ChargeOutcome::Admitted))
}
