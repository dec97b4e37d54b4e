//! One compiled rule set per scheme, shared by all records under it.
//!
//! Decides when two records mean the same rules: when these are equal, whatever was read when. Knows no keys; fills ask it.

use crate::{RuleSet, SchemeId, SchemeRecord};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::{Arc, Weak};

/// Schemes remembered before the first look for those that nobody uses any more.
const FIRST_PRUNING: usize = 64;

/// The rule sets in use.
pub(crate) struct SharedRules {
    default: Arc<RuleSet>,
    schemes: Mutex<Schemes>,
}

struct Schemes {
    newest: HashMap<(SchemeId, bool), Weak<RuleSet>>,
    prune_at: usize,
}

impl SharedRules {
    /// `default` holds for records without a scheme.
    pub(crate) fn new(default: Arc<RuleSet>) -> SharedRules {
        SharedRules {
            default,
            schemes: Mutex::new(Schemes {
                newest: HashMap::new(),
                prune_at: FIRST_PRUNING,
            }),
        }
    }

    /// The rules of a record.
    pub(crate) fn of(&self, scheme: Option<&SchemeRecord>) -> Arc<RuleSet> {
        let Some(scheme) = scheme else {
            return Arc::clone(&self.default);
        };
        let compiled = RuleSet::of_record(scheme);
        let name = (scheme.id, scheme.is_keys_own);
        let mut schemes = self.schemes.lock();
        let newest = schemes.newest.get(&name).and_then(Weak::upgrade);
        if let Some(same) = newest.filter(|newest| **newest == compiled) {
            return same;
        }
        let rules = Arc::new(compiled);
        schemes.newest.insert(name, Arc::downgrade(&rules));
        if schemes.newest.len() >= schemes.prune_at {
            schemes.newest.retain(|_, rules| rules.strong_count() > 0);
            schemes.prune_at = (schemes.newest.len() * 2).max(FIRST_PRUNING);
        }
        rules
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Rule, Unit};

    fn scheme(id: i64, max_requests: i32) -> SchemeRecord {
        SchemeRecord {
            is_keys_own: false,
            id: SchemeId(id),
            rules: vec![Rule {
                unit: Unit::Minute,
                duration: 1,
                max_requests,
                mode: None,
                endpoints: None,
                priority: None,
            }],
        }
    }

    #[test]
    fn records_of_a_scheme_share_its_rules_until_they_change() {
        let shared = SharedRules::new(Arc::new(RuleSet::compile(None, &[])));
        let first = shared.of(Some(&scheme(1, 10)));
        let check = |record: Option<&SchemeRecord>, is_first: bool| {
            let rules = shared.of(record);
            assert_eq!(Arc::ptr_eq(&rules, &first), is_first, "{record:?}");
            assert_eq!(rules.scheme_id, record.map(|record| record.id));
        };
        check(Some(&scheme(1, 10)), true);
        check(Some(&scheme(2, 10)), false);
        check(None, false);
        check(Some(&scheme(1, 11)), false);
        // A record read before the change is held to what it says.
        assert_eq!(shared.of(Some(&scheme(1, 10))).rules[0].limit, 10);
        assert!(Arc::ptr_eq(&shared.of(None), &shared.of(None)));
    }

    #[test]
    fn schemes_that_nobody_uses_are_forgotten() {
        let shared = SharedRules::new(Arc::new(RuleSet::compile(None, &[])));
        let held = shared.of(Some(&scheme(0, 10)));
        for id in 1..10_000 {
            drop(shared.of(Some(&scheme(id, 10))));
        }
        assert!(shared.schemes.lock().newest.len() <= FIRST_PRUNING);
        assert!(Arc::ptr_eq(&held, &shared.of(Some(&scheme(0, 10)))));
    }
}
