//! What charging under a set of rules takes, worked out once per set: quotas, identities, and the order of looking.
//!
//! Decides what a rule's counters are called across edits of its scheme. Counts nothing and holds no counter; hangs on the rule
//! set, which all records of a scheme share.

use crate::quota::Quota;
use crate::subject::{Network, RuleDigest, Subject};
use crate::table::{CounterTable, ShardIndex};
use crate::{shard::Located, subject::Hashed};
use portcullis_verify::rule::{EndpointPattern, Endpoints};
use portcullis_verify::{ChargeRequest, CompiledRule, Mode, RuleSet, StoredKey};
use smallvec::SmallVec;

/// The rules of one set, ready to charge, in the order in which their shards are locked.
#[derive(Debug)]
pub(crate) struct Plan {
    rules: Box<[PlannedRule]>,
}

/// One rule, ready to charge: what every request needs of it, so that the rule itself stays out of the processor's cache.
#[derive(Debug)]
pub(crate) struct PlannedRule {
    /// Index in the set.
    pub(crate) rule: usize,
    /// Whose requests count together.
    pub(crate) mode: Mode,
    /// What the rule is called.
    pub(crate) digest: RuleDigest,
    /// What it is held to.
    pub(crate) quota: Quota,
    holds_everywhere: bool,
}

/// A rule that holds for a request, and whom it counts.
#[derive(Debug)]
pub(crate) struct Match<'a> {
    /// Whom it counts.
    pub(crate) key: Hashed,
    planned: &'a PlannedRule,
    /// Where.
    pub(crate) shard: ShardIndex,
    /// The lock on the shard, among those that the charge holds.
    pub(crate) lock: usize,
    /// The counter in the shard.
    pub(crate) located: Located,
}

impl<'a> Match<'a> {
    /// Index in the record's rules.
    #[inline]
    pub(crate) fn rule(&self) -> usize {
        self.planned.rule
    }

    /// What the counter is held to.
    #[inline]
    pub(crate) fn quota(&self) -> &'a Quota {
        &self.planned.quota
    }
}

/// A counter of a request, as far as the usual request needs to know it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Aim<'a> {
    /// The rule.
    pub(crate) planned: &'a PlannedRule,
    /// The subject's hash, which stands for it.
    pub(crate) tag: u64,
    /// Where.
    pub(crate) shard: ShardIndex,
}

impl<'a> Aim<'a> {
    /// At no counter yet.
    #[inline]
    pub(crate) fn at_rest(planned: &'a PlannedRule) -> Aim<'a> {
        Aim {
            planned,
            tag: 0,
            shard: ShardIndex::default(),
        }
    }
}

/// The rules that hold for a request, in the order in which their shards are locked.
pub(crate) type Matches<'a> = SmallVec<[Match<'a>; 4]>;

impl Plan {
    /// The plan of a rule set.
    pub(crate) fn new(rules: &RuleSet) -> Plan {
        let mut planned: Vec<PlannedRule> = rules
            .rules
            .iter()
            .enumerate()
            .map(|(index, rule)| {
                let earlier = rules.rules.iter().take(index);
                let twin = earlier.filter(|earlier| same_identity(earlier, rule)).count();
                PlannedRule {
                    rule: index,
                    mode: rule.mode,
                    digest: digest(rules, rule, twin),
                    quota: Quota::of(rule),
                    holds_everywhere: rule.endpoints == Endpoints::Every,
                }
            })
            .collect();
        planned.sort_by_key(|rule| match rule.mode {
            Mode::PerIp | Mode::PerKeyAndIp | Mode::PerAppAndIp => 0,
            Mode::PerKey => 1,
            Mode::PerApp => 2,
        });
        Plan {
            rules: planned.into_boxed_slice(),
        }
    }

    /// The rules.
    pub(crate) fn rules(&self) -> &[PlannedRule] {
        &self.rules
    }

    /// Adds the rules that hold for a request under `key`, whose rule set this plan was made from.
    #[inline]
    pub(crate) fn find<'a>(
        &'a self,
        matches: &mut Matches<'a>,
        key: &StoredKey,
        request: &ChargeRequest<'_>,
        table: &CounterTable,
    ) {
        for planned in &self.rules {
            if !planned.holds_for(key, request) {
                continue;
            }
            let Some(subject) = planned.subject(key, request) else {
                continue;
            };
            let (key, shard) = table.key(planned.mode, subject);
            matches.push(Match {
                key,
                planned,
                shard,
                lock: 0,
                located: Located::Missing,
            });
        }
        sort(matches, |matched| matched.shard);
    }
}

impl PlannedRule {
    /// Where the rule's counter for a request is; `None` when the rule does not hold for it.
    #[inline(always)]
    pub(crate) fn aim(&self, key: &StoredKey, request: &ChargeRequest<'_>, table: &CounterTable) -> Option<Aim<'_>> {
        let subject = self.holds_for(key, request).then(|| self.subject(key, request))??;
        let (Hashed { hash: tag, .. }, shard) = table.key(self.mode, subject);
        Some(Aim {
            planned: self,
            tag,
            shard,
        })
    }

    #[inline]
    fn holds_for(&self, key: &StoredKey, request: &ChargeRequest<'_>) -> bool {
        self.holds_everywhere || key.rules.rules[self.rule].endpoints.matches(request.path)
    }

    /// Whom the rule counts; `None` when it looks at addresses and there is none.
    #[inline]
    fn subject(&self, key: &StoredKey, request: &ChargeRequest<'_>) -> Option<Subject> {
        let owner = self.owner(key);
        match self.mode {
            Mode::PerKey | Mode::PerApp => Some(Subject::anywhere(self.digest, owner)),
            Mode::PerIp | Mode::PerKeyAndIp | Mode::PerAppAndIp => request
                .address
                .map(|address| Subject::at(self.digest, owner, Network::of(address))),
        }
    }

    /// Whose the rule's counters are, as far as the key says: its lineage's, its app's, or everyone's of the tenant.
    #[inline]
    pub(crate) fn owner(&self, key: &StoredKey) -> i64 {
        match self.mode {
            Mode::PerKey | Mode::PerKeyAndIp => key.lineage_id.0,
            Mode::PerApp | Mode::PerAppAndIp => key.app.id.0,
            Mode::PerIp => key.deployment_id.0,
        }
    }
}

/// Puts a few matches, most often in order already, in the order of their shards.
#[inline]
pub(crate) fn sort<T>(matches: &mut [T], shard: impl Fn(&T) -> ShardIndex) {
    for end in 1..matches.len() {
        let mut at = end;
        while at > 0 && shard(&matches[at]) < shard(&matches[at - 1]) {
            matches.swap(at, at - 1);
            at -= 1;
        }
    }
}

/// The name that a rule keeps as long as its mode, endpoints and position stay. `twin` tells apart those that would share it
/// all the same.
///
/// A key is under one scheme at a time, and an app has one. What counts for keys is therefore kin across schemes, and so is what
/// counts for apps by the schemes that these have: who comes under another scheme takes the counters along, to the rule in the
/// same position. Keys of an app that have schemes by themselves are counted for these as often as the app is.
fn digest(rules: &RuleSet, rule: &CompiledRule, twin: usize) -> RuleDigest {
    let kin: Option<&[u8]> = match rule.mode {
        Mode::PerKey | Mode::PerKeyAndIp => Some(&[2]),
        Mode::PerApp | Mode::PerAppAndIp => (!rules.is_keys_own).then_some(&[3]),
        Mode::PerIp => None,
    };
    let of_scheme = rules.scheme_id.map_or([0; 9], |id| {
        let mut bytes = [1; 9];
        bytes[1..].copy_from_slice(&id.0.to_le_bytes());
        bytes
    });
    let [name, _] = hash(&of_scheme, rule, twin);
    let [_, place] = hash(kin.unwrap_or(&of_scheme), rule, twin);
    RuleDigest([name, place])
}

fn hash(scheme: &[u8], rule: &CompiledRule, twin: usize) -> [u64; 2] {
    let mut hasher = blake3::Hasher::new_derive_key("portcullis 2026 rate limit rule");
    let mut part = |bytes: &[u8]| {
        hasher.update(&u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_le_bytes());
        hasher.update(bytes);
    };
    part(scheme);
    part(rule.mode.name().as_bytes());
    part(&rule.position.to_le_bytes());
    part(&u64::try_from(twin).unwrap_or(u64::MAX).to_le_bytes());
    if let Endpoints::Any(patterns) = &rule.endpoints {
        let mut endpoints: Vec<(&str, &str)> = patterns.iter().map(pattern).collect();
        endpoints.sort_unstable();
        endpoints.dedup();
        for (kind, path) in endpoints {
            part(kind.as_bytes());
            part(path.as_bytes());
        }
    }
    let hash = hasher.finalize();
    let bytes = hash.as_bytes();
    let half = |at: usize| u64::from_le_bytes(std::array::from_fn(|index| bytes[at + index]));
    [half(0), half(8)]
}

fn pattern(pattern: &EndpointPattern) -> (&str, &str) {
    match pattern {
        EndpointPattern::Exact(path) => ("exact", path),
        EndpointPattern::Below(path) => ("below", path),
    }
}

fn same_identity(left: &CompiledRule, right: &CompiledRule) -> bool {
    (left.mode, left.position, &left.endpoints) == (right.mode, right.position, &right.endpoints)
}
