//! One copy of what keys may do, shared by all that may do the same.
//!
//! Decides when two lists are one: when they are equal. Knows no keys; fills ask it.

use parking_lot::Mutex;
use std::collections::HashSet;
use std::sync::Arc;

/// Lists remembered before the first look for those that nobody uses any more.
const FIRST_PRUNING: usize = 64;

/// The lists in use, and some that were: at most as many again.
#[derive(Debug, Default)]
pub(crate) struct SharedGrants(Mutex<Grants>);

#[derive(Debug, Default)]
struct Grants {
    lists: HashSet<Arc<[Box<str>]>>,
    prune_at: usize,
}

impl SharedGrants {
    /// The shared copy of a list.
    pub(crate) fn of(&self, permissions: Vec<Box<str>>) -> Arc<[Box<str>]> {
        let mut grants = self.0.lock();
        if let Some(same) = grants.lists.get(permissions.as_slice()) {
            return Arc::clone(same);
        }
        if grants.lists.len() >= grants.prune_at.max(FIRST_PRUNING) {
            grants.lists.retain(|list| Arc::strong_count(list) > 1);
            grants.lists.shrink_to_fit();
            grants.prune_at = grants.lists.len() * 2;
        }
        let own: Arc<[Box<str>]> = permissions.into();
        grants.lists.insert(Arc::clone(&own));
        own
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(n: usize) -> Vec<Box<str>> {
        vec!["read".into(), n.to_string().into()]
    }

    #[test]
    fn equal_lists_are_one() {
        let shared = SharedGrants::default();
        let first = shared.of(list(1));
        assert!(Arc::ptr_eq(&first, &shared.of(list(1))));
        assert_eq!(*shared.of(list(2)), *list(2));
        assert!(shared.of(Vec::new()).is_empty());
    }

    #[test]
    fn lists_that_nobody_uses_are_forgotten() {
        let shared = SharedGrants::default();
        let held: Vec<_> = (0..10).map(|n| shared.of(list(n))).collect();
        for n in 0..10_000 {
            drop(shared.of(list(n)));
        }
        assert!(shared.0.lock().lists.len() <= FIRST_PRUNING);
        for (n, held) in held.iter().enumerate() {
            assert!(Arc::ptr_eq(held, &shared.of(list(n))));
        }
    }
}
