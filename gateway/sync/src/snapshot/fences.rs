//! Which saved records a change made outdated.
//!
//! Decides by what the journal holds of changes; plain values, no files. Reading and rewriting ask it.

use super::entry::{FenceList, PutHead};
use crate::message::{ChangeLine, Touches};
use portcullis_verify::{AppId, KeyHash, SchemeId, Version};
use std::collections::HashMap;

/// Most changes that are carried over into a new base.
const CARRIED_MAX: usize = 4_096;

/// The newest change of each thing, in one history.
#[derive(Debug, Clone, Default)]
pub(super) struct Fences {
    epoch: u64,
    /// What was read before this revision is outdated.
    floor: u64,
    keys: HashMap<KeyHash, u64>,
    apps: HashMap<AppId, u64>,
    schemes: HashMap<SchemeId, u64>,
}

impl Fences {
    /// Nothing read before `at` counts.
    pub(super) fn from(at: Version) -> Fences {
        Fences {
            epoch: at.epoch,
            floor: at.revision,
            ..Fences::default()
        }
    }

    /// Those that a base carried over.
    pub(super) fn of_list(at: Version, list: &FenceList) -> Fences {
        let mut fences = Fences::from(Version {
            revision: list.floor,
            ..at
        });
        for &(revision, touches) in &list.changes {
            fences.raise(ChangeLine { revision, touches });
        }
        fences
    }

    pub(super) fn raise(&mut self, line: ChangeLine) {
        let fence = match line.touches {
            Touches::KeyCreated(hash) | Touches::KeyChanged(hash) => self.keys.entry(hash.0).or_default(),
            Touches::App(app) => self.apps.entry(app).or_default(),
            Touches::Scheme(scheme) => self.schemes.entry(scheme).or_default(),
        };
        *fence = line.revision.max(*fence);
    }

    /// Whether no change came after this was read.
    pub(super) fn admit(&self, put: &PutHead) -> bool {
        let covers = |fence: Option<&u64>| fence.is_none_or(|&revision| put.as_of.revision >= revision);
        put.as_of.epoch == self.epoch
            && put.as_of.revision >= self.floor
            && covers(self.keys.get(&put.hash))
            && covers(self.apps.get(&put.app))
            && covers(put.scheme.and_then(|scheme| self.schemes.get(&scheme)))
    }

    /// The newest of them; in place of the others, the floor is raised.
    pub(super) fn list(&self) -> FenceList {
        let keys = self
            .keys
            .iter()
            .map(|(&hash, &at)| (at, Touches::KeyChanged(crate::message::HashText(hash))));
        let apps = self.apps.iter().map(|(&app, &at)| (at, Touches::App(app)));
        let schemes = self.schemes.iter().map(|(&scheme, &at)| (at, Touches::Scheme(scheme)));
        let mut changes: Vec<_> = keys.chain(apps).chain(schemes).collect();
        changes.sort_unstable_by_key(|&(at, _)| std::cmp::Reverse(at));
        let dropped = changes.get(CARRIED_MAX).map_or(0, |&(at, _)| at);
        changes.truncate(CARRIED_MAX);
        FenceList {
            floor: self.floor.max(dropped),
            changes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::HashText;

    fn put(n: u64, revision: u64) -> PutHead {
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&n.to_le_bytes());
        PutHead {
            hash: KeyHash(hash),
            as_of: Version { epoch: 7, revision },
            app: AppId(1),
            scheme: Some(SchemeId(2)),
        }
    }

    fn line(revision: u64, touches: Touches) -> ChangeLine {
        ChangeLine { revision, touches }
    }

    #[test]
    fn a_record_counts_if_it_was_read_at_its_last_change_or_later() {
        fn check(touches: Touches) {
            let mut fences = Fences::from(Version { epoch: 7, revision: 3 });
            assert!(fences.admit(&put(1, 3)) && !fences.admit(&put(1, 2)));
            fences.raise(line(5, touches));
            fences.raise(line(4, touches));
            assert!(!fences.admit(&put(1, 4)), "{touches:?}");
            assert!(fences.admit(&put(1, 5)), "{touches:?}");
            let carried = Fences::of_list(Version { epoch: 7, revision: 9 }, &fences.list());
            assert!(!carried.admit(&put(1, 4)) && carried.admit(&put(1, 5)), "{touches:?}");
        }
        check(Touches::KeyChanged(HashText(put(1, 0).hash)));
        check(Touches::KeyCreated(HashText(put(1, 0).hash)));
        check(Touches::App(AppId(1)));
        check(Touches::Scheme(SchemeId(2)));
        let mut fences = Fences::from(Version { epoch: 7, revision: 0 });
        fences.raise(line(5, Touches::App(AppId(9))));
        fences.raise(line(5, Touches::Scheme(SchemeId(9))));
        assert!(fences.admit(&put(1, 0)), "what others changed");
        assert!(
            !Fences::from(Version { epoch: 8, revision: 0 }).admit(&put(1, 4)),
            "another history"
        );
    }

    #[test]
    fn few_are_carried_over_and_they_are_never_laxer() {
        let mut fences = Fences::from(Version { epoch: 7, revision: 0 });
        let count = u64::try_from(CARRIED_MAX).unwrap() + 100;
        for n in 1..=count {
            fences.raise(line(n, Touches::KeyChanged(HashText(put(n, 0).hash))));
        }
        let list = fences.list();
        assert_eq!((list.changes.len(), list.floor), (CARRIED_MAX, 100));
        let carried = Fences::of_list(
            Version {
                epoch: 7,
                revision: count,
            },
            &list,
        );
        for n in 1..=count {
            assert!(!carried.admit(&put(n, n - 1)), "{n}");
            assert!(carried.admit(&put(n, n.max(100))), "{n}");
        }
    }
}
