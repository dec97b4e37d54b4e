//! Where counters stand now, for people who ask why requests are refused.
//!
//! Decides which counters belong to a key, an app or an address, and which of many are worth showing. Charges nothing and makes
//! no counter. The control API asks it; no request waits for it, but for one shard at a time while that one is looked at.

use crate::decimated_log::Standing;
use crate::local::LocalLimiter;
use crate::plan::{Plan, PlannedRule};
use crate::quota::Quota;
use crate::shard::Located;
use crate::subject::{Network, Subject};
use crate::table::CounterTable;
use portcullis_verify::{AppId, DeploymentId, KeyId, Mode, Moment, RuleSet};
use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

/// Whose counters are asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// All that a request with this key may meet: its own, its app's, and those of addresses.
    Key {
        /// The chain of rotations that the key belongs to.
        lineage_id: KeyId,
        /// Its app.
        app_id: AppId,
        /// The tenant.
        deployment_id: DeploymentId,
    },
    /// Those that count an app, as a whole and by address.
    App(AppId),
    /// Those that count an address: alone, with any key, with any app.
    Address {
        /// The address; all of its /64 when it is IPv6.
        address: IpAddr,
        /// The tenant whose counter it is where the rule tells only addresses apart.
        deployment_id: DeploymentId,
    },
}

/// The counters of one rule, as far as they were asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleUsage {
    /// Index in the rule set.
    pub rule: usize,
    /// The counters, most used first. Those that must be searched for are here only while something counts in them.
    pub counters: Vec<CounterUsage>,
    /// How many there are, also of those that were too many to show.
    pub counters_total: usize,
    /// Whether there are subjects of the rule that share counters for want of room, so that some asked about may be counted in
    /// one of those instead.
    pub is_overflowing: bool,
}

/// Where one counter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CounterUsage {
    /// Whose it is: the id of a lineage, an app or a tenant, as the rule's mode says.
    pub owner: i64,
    /// The address it counts, for a mode that tells addresses apart; the first of its /64 when it is IPv6.
    pub address: Option<IpAddr>,
    /// Requests that would be admitted now, one after the other.
    pub remaining: u32,
    /// Microseconds until `remaining` grows; 0 when nothing is used.
    pub grows_in_us: u64,
    /// Whether others are counted in it too, for want of room.
    pub is_shared: bool,
}

impl CounterUsage {
    /// Microseconds until one more request has room, if nobody else spends it; 0 when it has room now.
    #[must_use]
    pub fn next_in_us(&self) -> u64 {
        if self.remaining == 0 { self.grows_in_us } else { 0 }
    }
}

/// A rule whose counters are searched for.
struct Sought<'a> {
    /// Which of the answers it is.
    answer: (usize, usize),
    quota: &'a Quota,
    owner: Option<i64>,
    network: Option<Network>,
}

impl LocalLimiter {
    /// Where the rules of every set stand for somebody, one list a set: every rule that tells them apart, in the set's order. Of
    /// the counters of a rule at most `counters_max` are told.
    ///
    /// Looks through all counters of addresses when a rule asks for it, which takes long enough to keep it off an async worker.
    #[must_use]
    pub fn usage(&self, sets: &[&RuleSet], whose: Whose, counters_max: usize, now: Moment) -> Vec<Vec<RuleUsage>> {
        let made: Vec<Plan> = sets.iter().map(|set| Plan::new(set)).collect();
        let mut answers: Vec<Vec<RuleUsage>> = Vec::with_capacity(sets.len());
        let mut sought: HashMap<u64, Sought<'_>> = HashMap::new();
        for plan in &made {
            let mut rules: Vec<&PlannedRule> = plan.rules().iter().collect();
            rules.sort_unstable_by_key(|rule| rule.rule);
            let mut usages = Vec::new();
            for planned in rules {
                let mut usage = RuleUsage {
                    rule: planned.rule,
                    counters: Vec::new(),
                    counters_total: 0,
                    is_overflowing: false,
                };
                match whose.means(planned) {
                    Meant::None => continue,
                    Meant::One(subject) => {
                        usage.counters.push(look(self.table(), planned, subject, now));
                        usage.counters_total = 1;
                    }
                    Meant::Any { owner, network } => {
                        let answer = (answers.len(), usages.len());
                        let quota = &planned.quota;
                        sought.insert(
                            planned.digest.name(),
                            Sought {
                                answer,
                                quota,
                                owner,
                                network,
                            },
                        );
                    }
                }
                usages.push(usage);
            }
            answers.push(usages);
        }
        if !sought.is_empty() {
            search(self.table(), &sought, &mut answers, counters_max, now);
        }
        answers
    }
}

/// The counters of a rule that are meant.
enum Meant {
    /// None: the rule does not tell them apart.
    None,
    /// This subject's.
    One(Subject),
    /// All that are of this owner and at this network, where one is given.
    Any {
        owner: Option<i64>,
        network: Option<Network>,
    },
}

impl Whose {
    fn means(self, rule: &PlannedRule) -> Meant {
        let anywhere = |owner| Meant::One(Subject::anywhere(rule.digest, owner));
        let at_any = |owner| Meant::Any {
            owner: Some(owner),
            network: None,
        };
        match (self, rule.mode) {
            (Whose::Key { lineage_id, .. }, Mode::PerKey) => anywhere(lineage_id.0),
            (Whose::Key { lineage_id, .. }, Mode::PerKeyAndIp) => at_any(lineage_id.0),
            (Whose::Key { app_id, .. } | Whose::App(app_id), Mode::PerApp) => anywhere(app_id.0),
            (Whose::Key { app_id, .. } | Whose::App(app_id), Mode::PerAppAndIp) => at_any(app_id.0),
            (Whose::Key { deployment_id, .. }, Mode::PerIp) => at_any(deployment_id.0),
            (Whose::App(_), Mode::PerKey | Mode::PerKeyAndIp | Mode::PerIp) => Meant::None,
            (Whose::Address { address, deployment_id }, Mode::PerIp) => {
                let network = Network::of(address);
                Meant::One(Subject::at(rule.digest, deployment_id.0, network))
            }
            (Whose::Address { address, .. }, Mode::PerKeyAndIp | Mode::PerAppAndIp) => Meant::Any {
                owner: None,
                network: Some(Network::of(address)),
            },
            (Whose::Address { .. }, Mode::PerKey | Mode::PerApp) => Meant::None,
        }
    }
}

/// Where the counter of one subject stands, own or shared.
fn look(table: &CounterTable, rule: &PlannedRule, subject: Subject, now: Moment) -> CounterUsage {
    let (key, shard) = table.key(rule.mode, subject);
    let shard = table.lock(shard);
    let located = shard.locate(&key, table.hasher());
    let standing = shard.standing(&key, located.spot(), &rule.quota, now);
    let is_shared = matches!(located, Located::Shared(_));
    counter(rule.mode == Mode::PerIp, &subject, standing, is_shared)
}

/// Looks through the counters of addresses, one shard at a time.
fn search(
    table: &CounterTable,
    sought: &HashMap<u64, Sought<'_>>,
    answers: &mut [Vec<RuleUsage>],
    counters_max: usize,
    now: Moment,
) {
    for shard in table.shards_of_addresses() {
        for (subject, tally) in shard.tallies() {
            let Some(rule) = sought.get(&subject.rule.name()) else {
                continue;
            };
            let is_meant = subject.is_shared()
                || rule.owner.is_none_or(|owner| subject.is_of(owner))
                    && rule.network.is_none_or(|network| subject.network() == network);
            if !is_meant {
                continue;
            }
            let standing = tally.standing(rule.quota, now);
            if standing.grows_in_us == 0 {
                // Nothing counts any more: it is only not swept yet.
                continue;
            }
            let usage = &mut answers[rule.answer.0][rule.answer.1];
            if subject.is_shared() {
                usage.is_overflowing = true;
                continue;
            }
            usage.counters_total += 1;
            let found = counter(true, &subject, standing, false);
            let at = usage.counters.partition_point(|other| rank(other) <= rank(&found));
            if at < counters_max {
                usage.counters.insert(at, found);
                usage.counters.truncate(counters_max);
            }
        }
    }
}

/// Most used first; who frees up last comes before others that have used as much.
fn rank(counter: &CounterUsage) -> impl Ord {
    (
        counter.remaining,
        Reverse(counter.grows_in_us),
        counter.owner,
        counter.address,
    )
}

fn counter(has_address: bool, subject: &Subject, standing: Standing, is_shared: bool) -> CounterUsage {
    CounterUsage {
        owner: subject.id(),
        address: has_address.then(|| match subject.network() {
            Network::V4(bits) => IpAddr::from(bits.to_be_bytes()),
            Network::V6(bits) => IpAddr::V6(Ipv6Addr::from_bits(u128::from(bits) << 64)),
        }),
        remaining: standing.remaining,
        grows_in_us: standing.grows_in_us,
        is_shared,
    }
}

#[cfg(test)]
mod tests;
