//! What charging a key takes, worked out once per cached record: its rules' quotas, identities and counters.
//!
//! Decides what a rule's counters are called across edits, and which of them a record may hold on to. Counts nothing; hangs
//! on the record, while the counters stay in their table and survive it.

use crate::counter::Counter;
use crate::quota::Quota;
use crate::reach::{Match, Matches, Place};
use crate::sharded_map::Hashed;
use crate::subject::{Network, RuleDigest, Subject};
use crate::table::CounterTable;
use arc_swap::ArcSwapOption;
use portcullis_verify::rule::{EndpointPattern, Endpoints};
use portcullis_verify::{ChargeRequest, CompiledRule, Mode, StoredKey};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

/// Names rules, differently in every limiter.
#[derive(Debug, Clone)]
pub(crate) struct RuleNamer(Arc<[RandomState; 2]>);

/// The rules of one record, ready to charge.
#[derive(Debug)]
pub(crate) struct Plan {
    namer: RuleNamer,
    rules: Box<[PlannedRule]>,
}

/// One rule, ready to charge: what every request needs of it, so that the rule itself stays out of the processor's cache.
#[derive(Debug)]
struct PlannedRule {
    holds_everywhere: bool,
    quota: Quota,
    counters: Counters,
}

/// Where a rule's counters are.
#[derive(Debug)]
enum Counters {
    /// There is one for this record. Once it is found, it is held here.
    One {
        held: ArcSwapOption<Counter>,
        subject: Box<Hashed<Subject>>,
    },
    /// There is one per client address.
    PerAddress { rule: RuleDigest, owner: i64 },
}

impl RuleNamer {
    /// A namer unlike any other.
    pub(crate) fn new() -> RuleNamer {
        RuleNamer(Arc::new([RandomState::new(), RandomState::new()]))
    }

    /// The name that a rule keeps as long as its mode, endpoints and position stay. `twin` tells apart those that would
    /// share it all the same.
    fn name(&self, key: &StoredKey, rule: &CompiledRule, twin: usize) -> RuleDigest {
        let mut endpoints: Vec<(&str, &str)> = match &rule.endpoints {
            Endpoints::Every => vec![("every", "")],
            Endpoints::Any(patterns) => patterns.iter().map(pattern).collect(),
        };
        endpoints.sort_unstable();
        endpoints.dedup();
        let identity = (
            key.deployment_id,
            key.rules.scheme_id,
            rule.mode,
            rule.position,
            endpoints,
            twin,
        );
        RuleDigest(self.0.each_ref().map(|state| state.hash_one(&identity)))
    }
}

fn pattern(pattern: &EndpointPattern) -> (&str, &str) {
    match pattern {
        EndpointPattern::Exact(path) => ("exact", path),
        EndpointPattern::Below(path) => ("below", path),
    }
}

impl Plan {
    /// Works out the plan of a record.
    pub(crate) fn new(key: &StoredKey, namer: &RuleNamer, table: &CounterTable) -> Plan {
        let mut rules: Vec<PlannedRule> = Vec::with_capacity(key.rules.rules.len());
        for (index, rule) in key.rules.rules.iter().enumerate() {
            let twin = key
                .rules
                .rules
                .iter()
                .take(index)
                .filter(|earlier| same_identity(earlier, rule))
                .count();
            let name = namer.name(key, rule, twin);
            let one = |owner| {
                let subject = table.hashed(Subject {
                    rule: name,
                    owner,
                    network: Network::Any,
                });
                Counters::One {
                    held: ArcSwapOption::empty(),
                    subject: Box::new(subject),
                }
            };
            let counters = match rule.mode {
                Mode::PerKey => one(key.lineage_id.0),
                Mode::PerApp => one(key.app.id.0),
                Mode::PerIp => Counters::PerAddress { rule: name, owner: 0 },
                Mode::PerKeyAndIp => Counters::PerAddress {
                    rule: name,
                    owner: key.lineage_id.0,
                },
                Mode::PerAppAndIp => Counters::PerAddress {
                    rule: name,
                    owner: key.app.id.0,
                },
            };
            rules.push(PlannedRule {
                holds_everywhere: rule.endpoints == Endpoints::Every,
                quota: Quota::of(rule),
                counters,
            });
        }
        Plan {
            namer: namer.clone(),
            rules: rules.into(),
        }
    }

    /// Whether the plan was made for the limiter with this namer.
    pub(crate) fn is_for(&self, namer: &RuleNamer) -> bool {
        Arc::ptr_eq(&self.namer.0, &namer.0)
    }

    /// The rules that hold for a request under `key`, the record this plan was made from.
    pub(crate) fn matches<'a>(
        &'a self,
        key: &StoredKey,
        request: &ChargeRequest<'_>,
        table: &CounterTable,
    ) -> Matches<'a> {
        let mut network = None;
        let mut matches = Matches::new();
        for (index, planned) in self.rules.iter().enumerate() {
            if !planned.holds_everywhere && !key.rules.rules[index].endpoints.matches(request.path) {
                continue;
            }
            let place = match &planned.counters {
                Counters::One { held, subject } => Place::One { held, subject },
                Counters::PerAddress { rule, owner } => {
                    let Some(address) = request.address else { continue };
                    let network = *network.get_or_insert_with(|| Network::of(address));
                    Place::PerAddress(table.hashed(Subject {
                        rule: *rule,
                        owner: *owner,
                        network,
                    }))
                }
            };
            matches.push(Match {
                rule: index,
                quota: &planned.quota,
                place,
            });
        }
        matches
    }
}

fn same_identity(left: &CompiledRule, right: &CompiledRule) -> bool {
    (left.mode, left.position, &left.endpoints) == (right.mode, right.position, &right.endpoints)
}
