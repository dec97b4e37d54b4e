//! What charging a key takes, worked out once per cached record: its rules' quotas, identities and counters.
//!
//! Decides what a rule's counters are called across edits, and which of them a record may hold on to. Counts nothing; hangs
//! on the record, while the counters stay in their table and survive it.

use crate::counter::Counter;
use crate::quota::Quota;
use crate::sharded_map::Hashed;
use crate::subject::{Network, RuleDigest, Subject};
use crate::table::{CounterTable, Found};
use arc_swap::{ArcSwapOption, Guard};
use portcullis_verify::rule::{EndpointPattern, Endpoints};
use portcullis_verify::{ChargeRequest, CompiledRule, Mode, StoredKey};
use smallvec::SmallVec;
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

/// One rule, ready to charge.
#[derive(Debug)]
struct PlannedRule {
    quota: Quota,
    counters: Counters,
}

/// Where a rule's counters are.
#[derive(Debug)]
enum Counters {
    /// There is one for this record. Once it is found, it is held here.
    One {
        subject: Hashed<Subject>,
        held: ArcSwapOption<Counter>,
    },
    /// There is one per client address.
    PerAddress { rule: RuleDigest, owner: i64 },
}

/// A rule that holds for a request, and the counter that it means.
#[derive(Debug)]
pub(crate) struct Match<'a> {
    /// Index in the record's rules.
    pub(crate) rule: usize,
    /// What the counter is held to.
    pub(crate) quota: &'a Quota,
    /// Whom it counts.
    pub(crate) subject: Hashed<Subject>,
    held: Option<&'a ArcSwapOption<Counter>>,
}

/// The rules that hold for a request.
pub(crate) type Matches<'a> = SmallVec<[Match<'a>; 4]>;

/// The counter of a [`Match`].
pub(crate) enum Reached {
    /// The subject's own, through the record.
    Held(Guard<Option<Arc<Counter>>>),
    /// The subject's own, through the table.
    Own(Arc<Counter>),
    /// One that the subject shares.
    Shared(Arc<Counter>),
    /// There is none, because the subject has admitted nothing that counts.
    Missing,
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
                    subject,
                    held: ArcSwapOption::empty(),
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
        for (index, (compiled, planned)) in key.rules.rules.iter().zip(&self.rules).enumerate() {
            if !compiled.endpoints.matches(request.path) {
                continue;
            }
            let (subject, held) = match &planned.counters {
                Counters::One { subject, held } => (*subject, Some(held)),
                Counters::PerAddress { rule, owner } => {
                    let Some(address) = request.address else { continue };
                    let network = *network.get_or_insert_with(|| Network::of(address));
                    (
                        table.hashed(Subject {
                            rule: *rule,
                            owner: *owner,
                            network,
                        }),
                        None,
                    )
                }
            };
            matches.push(Match {
                rule: index,
                quota: &planned.quota,
                subject,
                held,
            });
        }
        matches
    }
}

fn same_identity(left: &CompiledRule, right: &CompiledRule) -> bool {
    (left.mode, left.position, &left.endpoints) == (right.mode, right.position, &right.endpoints)
}

impl Match<'_> {
    /// Reaches the counter, without making one.
    pub(crate) fn reach(&self, table: &CounterTable) -> Reached {
        if let Some(slot) = self.held {
            let counter = slot.load();
            if counter.is_some() {
                return Reached::Held(counter);
            }
        }
        match table.find(&self.subject) {
            Some(Found::Own(counter)) => {
                if let Some(slot) = self.held {
                    slot.store(Some(Arc::clone(&counter)));
                }
                Reached::Own(counter)
            }
            Some(Found::Shared(counter)) => Reached::Shared(counter),
            None => Reached::Missing,
        }
    }

    /// Lets go of a counter that turned out to be retired.
    pub(crate) fn forget(&self) {
        if let Some(slot) = self.held {
            slot.store(None);
        }
    }
}

impl Reached {
    /// The counter.
    pub(crate) fn counter(&self) -> Option<&Counter> {
        match self {
            Reached::Held(counter) => counter.as_deref(),
            Reached::Own(counter) | Reached::Shared(counter) => Some(counter),
            Reached::Missing => None,
        }
    }
}
