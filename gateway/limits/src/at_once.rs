//! The usual request, charged in one go: every rule has a counter in its shape, with room to be seen at a glance.
//!
//! Decides whether a request is such a one, and charges it; any other it leaves untouched to `charging`, which can do all.
//! Knows nothing of keys' rights and no rule's past; the limiter tries it first.

use crate::charging::in_order;
use crate::decimated_log::Prospect;
use crate::plan::{Aim, Plan, PlannedRule, sort};
use crate::quota::Quota;
use crate::shard::Shard;
use crate::sync::MutexGuard;
use crate::table::CounterTable;
use portcullis_verify::{Charge, ChargeOutcome, ChargeRequest, RuleState, StoredKey};
use smallvec::SmallVec;

/// Charges the counters of a request under `key`, whose rule set the plan was made from. `None`, with nothing charged, when that
/// takes a closer look.
#[inline]
pub(crate) fn charge(
    table: &CounterTable,
    plan: &Plan,
    key: &StoredKey,
    request: &ChargeRequest<'_>,
) -> Option<Charge> {
    let now_us = request.now.monotonic_us;
    // Written out by number, so that each is compiled without a loop.
    match plan.rules() {
        [first] => {
            if let Some(aims) = aim([first], table, key, request) {
                return charge_aims(table, aims, now_us);
            }
        }
        [first, second] => {
            if let Some(aims) = aim([first, second], table, key, request) {
                return charge_aims(table, aims, now_us);
            }
        }
        [first, second, third] => {
            if let Some(aims) = aim([first, second, third], table, key, request) {
                return charge_aims(table, aims, now_us);
            }
        }
        _ => {}
    }
    charge_matching(table, plan, key, request)
}

/// Where the counters of rules are, if all of these hold for the request.
#[inline]
fn aim<'a, const N: usize>(
    rules: [&'a PlannedRule; N],
    table: &CounterTable,
    key: &StoredKey,
    request: &ChargeRequest<'_>,
) -> Option<[Aim<'a>; N]> {
    let mut aims = rules.map(Aim::at_rest);
    for aim in &mut aims {
        *aim = aim.planned.aim(key, request, table)?;
    }
    Some(aims)
}

/// The same where not all rules hold for the request, or they are many.
#[inline(never)]
fn charge_matching(table: &CounterTable, plan: &Plan, key: &StoredKey, request: &ChargeRequest<'_>) -> Option<Charge> {
    let aims = plan.rules().iter().filter_map(|rule| rule.aim(key, request, table));
    let aims: SmallVec<[Aim<'_>; 4]> = aims.collect();
    let now_us = request.now.monotonic_us;
    match *aims {
        [first] => charge_aims(table, [first], now_us),
        [first, second] => charge_aims(table, [first, second], now_us),
        [first, second, third] => charge_aims(table, [first, second, third], now_us),
        [first, second, third, fourth] => charge_aims(table, [first, second, third, fourth], now_us),
        _ => None,
    }
}

#[inline]
fn charge_aims<const N: usize>(table: &CounterTable, mut aims: [Aim<'_>; N], now_us: u64) -> Option<Charge> {
    sort(&mut aims, |aim| aim.shard);
    // Two counters in one shard would wait for each other's lock.
    if (1..N).any(|at| aims[at].shard == aims[at - 1].shard) {
        return None;
    }
    // Taking a lock waits for whatever was read before it, so that lines are asked for and not read until all locks are held: the
    // wait for one is then the wait for all.
    let mut shards: [MutexGuard<'_, Shard>; N] = std::array::from_fn(|at| {
        let shard = table.lock(aims[at].shard);
        shard.fetch(aims[at].tag);
        shard
    });
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
