//! What must be read again, because changes said so. Bounded: where it would be too much, everything is read.
//!
//! Plain values; reads nothing itself and knows no table.

use portcullis_verify::{AppId, Change, ChangeKind, KeyHash, Version};
use std::collections::{BTreeMap, HashMap, VecDeque};

/// Most hashes that may wait; half of those that a table may have pending.
const HASHES_MAX: usize = 32_768;
/// Most apps that may wait.
const APPS_MAX: usize = 64;

/// How much a change made wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// Nothing.
    Nothing,
    /// Keys that are known of.
    Some,
    /// Everything: keys may be missing that nobody named.
    Everything,
}

/// A walk over keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Plan {
    /// Those of one app; `None`: all.
    pub(super) app: Option<AppId>,
    /// What is read before this does not count.
    pub(super) floor: Version,
    /// The table is whole after it.
    pub(super) is_filling: bool,
    /// It is of no use any more when [`Wanted::generation`] is another.
    pub(super) generation: u64,
}

/// What is wanted. Revisions are those of `epoch`.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// `None`: it is not known yet from where on changes are heard.
    epoch: Option<u64>,
    generation: u64,
    /// The table lacks keys until a whole walk is through.
    is_filling: bool,
    /// All keys, read at this revision or later.
    all: Option<u64>,
    /// Those of an app, likewise.
    apps: BTreeMap<AppId, u64>,
    /// Single hashes, in the order in which they changed...
    queue: VecDeque<KeyHash>,
    /// ...and at which revision.
    revisions: HashMap<KeyHash, u64>,
}

impl Wanted {
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// Changes are heard after `applied`: everything is read, unless that was said already.
    pub(super) fn begin(&mut self, applied: Version) -> Extent {
        if self.epoch == Some(applied.epoch) {
            return Extent::Nothing;
        }
        self.everything(applied);
        Extent::Everything
    }

    /// All that is held, and all that was wanted, is of no use: everything is read at `at` or later.
    pub(super) fn everything(&mut self, at: Version) {
        *self = Wanted {
            epoch: Some(at.epoch),
            generation: self.generation + 1,
            is_filling: true,
            all: Some(at.revision),
            ..Wanted::default()
        };
    }

    pub(super) fn change(&mut self, change: &Change) -> Extent {
        let Version { epoch, revision } = change.version;
        if self.epoch != Some(epoch) {
            // The changes before it may not have been heard.
            self.everything(change.version);
            return Extent::Everything;
        }
        match change.kind {
            ChangeKind::KeyCreated(hash) | ChangeKind::KeyChanged(hash) => {
                if self.revisions.insert(hash, revision).is_none() {
                    self.queue.push_back(hash);
                }
                if self.revisions.len() > HASHES_MAX {
                    self.everything(change.version);
                    return Extent::Everything;
                }
            }
            ChangeKind::AppChanged(app) => {
                self.apps.insert(app, revision);
                if self.all.is_some() || self.apps.len() > APPS_MAX {
                    self.all = Some(revision);
                    self.apps.clear();
                }
            }
            ChangeKind::SchemeChanged(_) => {
                self.all = Some(revision);
                self.apps.clear();
            }
            ChangeKind::TokenRevoked(_) | ChangeKind::NoKey => return Extent::Nothing,
        }
        Extent::Some
    }

    /// The next walk.
    pub(super) fn take_walk(&mut self) -> Option<Plan> {
        let epoch = self.epoch?;
        let (app, revision) = match self.all.take() {
            Some(revision) => (None, revision),
            None => {
                let (app, revision) = self.apps.pop_first()?;
                (Some(app), revision)
            }
        };
        Some(Plan {
            app,
            floor: Version { epoch, revision },
            is_filling: app.is_none() && self.is_filling,
            generation: self.generation,
        })
    }

    /// A walk that filled the table is through; nothing is lost any more unless it is said again.
    pub(super) fn filled(&mut self) {
        self.is_filling = false;
    }

    /// The next hashes, at most `max`, each with the version at which it changed.
    pub(super) fn take_hashes(&mut self, max: usize) -> Vec<(KeyHash, Version)> {
        let Some(epoch) = self.epoch else {
            return Vec::new();
        };
        let count = self.queue.len().min(max);
        let taken = self.queue.drain(..count);
        taken
            .filter_map(|hash| {
                let revision = self.revisions.remove(&hash)?;
                Some((hash, Version { epoch, revision }))
            })
            .collect()
    }

    /// These could not be read. Those that changed again meanwhile, or are to be read with everything, wait already.
    pub(super) fn give_back(&mut self, hashes: &[(KeyHash, Version)]) {
        for (hash, version) in hashes.iter().rev() {
            if self.epoch == Some(version.epoch) && !self.revisions.contains_key(hash) {
                self.revisions.insert(*hash, version.revision);
                self.queue.push_front(*hash);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_verify::{DeploymentId, SchemeId};

    const EPOCH: u64 = 7;

    fn at(revision: u64) -> Version {
        Version { epoch: EPOCH, revision }
    }

    fn change(revision: u64, kind: ChangeKind) -> Change {
        Change {
            version: at(revision),
            deployment_id: DeploymentId(1),
            kind,
        }
    }

    fn hash(number: u64) -> KeyHash {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        KeyHash(bytes)
    }

    /// Walks that are wanted: (app, floor, fills).
    fn walks(wanted: &mut Wanted) -> Vec<(Option<i64>, u64, bool)> {
        std::iter::from_fn(|| wanted.take_walk())
            .map(|plan| (plan.app.map(|app| app.0), plan.floor.revision, plan.is_filling))
            .collect()
    }

    /// Everything was read at 10.
    fn whole() -> Wanted {
        let mut wanted = Wanted::default();
        assert_eq!(wanted.begin(at(10)), Extent::Everything);
        assert_eq!(wanted.begin(at(11)), Extent::Nothing);
        assert_eq!(walks(&mut wanted), [(None, 10, true)]);
        wanted.filled();
        wanted
    }

    #[test]
    fn changes_of_many_keys_are_walked_once_each_and_from_where_they_changed() {
        fn check(kinds: &[ChangeKind], expected: &[(Option<i64>, u64, bool)]) {
            let mut wanted = whole();
            for (revision, kind) in (11..).zip(kinds) {
                assert_eq!(wanted.change(&change(revision, *kind)), Extent::Some);
            }
            assert_eq!(walks(&mut wanted), expected, "{kinds:?}");
        }
        let (one, two) = (ChangeKind::AppChanged(AppId(1)), ChangeKind::AppChanged(AppId(2)));
        let scheme = ChangeKind::SchemeChanged(SchemeId(5));
        check(&[one], &[(Some(1), 11, false)]);
        check(&[one, one, two], &[(Some(1), 12, false), (Some(2), 13, false)]);
        check(&[one, scheme], &[(None, 12, false)]);
        check(&[scheme, one], &[(None, 12, false)]);
        let many: Vec<ChangeKind> = (0..100).map(|app| ChangeKind::AppChanged(AppId(app))).collect();
        check(&many, &[(None, 110, false)]);
    }

    #[test]
    fn what_changes_during_a_walk_is_walked_after_it() {
        let mut wanted = Wanted::default();
        wanted.everything(at(10));
        let plan = wanted.take_walk().unwrap();
        assert_eq!(
            wanted.change(&change(11, ChangeKind::AppChanged(AppId(1)))),
            Extent::Some
        );
        assert_eq!(plan.generation, wanted.generation(), "the walk goes on");
        assert_eq!(walks(&mut wanted), [(Some(1), 11, false)]);
        wanted.everything(at(20));
        assert_ne!(plan.generation, wanted.generation(), "the walk is of no use any more");
        assert_eq!(walks(&mut wanted), [(None, 20, true)]);
    }

    #[test]
    fn hashes_wait_once_each_and_come_back_when_they_could_not_be_read() {
        let mut wanted = whole();
        for (revision, number) in [(11, 1), (12, 2), (13, 1), (14, 3)] {
            wanted.change(&change(revision, ChangeKind::KeyChanged(hash(number))));
        }
        let taken = wanted.take_hashes(2);
        assert_eq!(taken, [(hash(1), at(13)), (hash(2), at(12))]);
        wanted.change(&change(15, ChangeKind::KeyChanged(hash(2))));
        wanted.give_back(&taken);
        let taken = wanted.take_hashes(9);
        assert_eq!(taken, [(hash(1), at(13)), (hash(3), at(14)), (hash(2), at(15))]);
        wanted.everything(Version { epoch: 8, revision: 1 });
        wanted.give_back(&taken);
        assert!(wanted.take_hashes(9).is_empty(), "they are of another history");
    }

    #[test]
    fn too_many_hashes_become_everything() {
        let mut wanted = whole();
        let mut extents = Vec::new();
        for number in 0..=u64::try_from(HASHES_MAX).unwrap() {
            extents.push(wanted.change(&change(11 + number, ChangeKind::KeyCreated(hash(number)))));
        }
        let last = extents.pop();
        assert!(extents.iter().all(|extent| *extent == Extent::Some));
        assert_eq!(last, Some(Extent::Everything));
        assert!(wanted.take_hashes(9).is_empty());
        assert_eq!(walks(&mut wanted), [(None, 11 + 32_768, true)]);
    }

    #[test]
    fn a_change_of_another_history_makes_everything_wanted() {
        let mut wanted = whole();
        let mut foreign = change(3, ChangeKind::KeyCreated(hash(1)));
        foreign.version.epoch = 8;
        assert_eq!(wanted.change(&foreign), Extent::Everything);
        assert_eq!(walks(&mut wanted), [(None, 3, true)]);
    }

    #[test]
    fn what_touches_no_key_makes_nothing_wanted() {
        let mut wanted = whole();
        for kind in [ChangeKind::NoKey, ChangeKind::TokenRevoked(1)] {
            assert_eq!(wanted.change(&change(11, kind)), Extent::Nothing);
        }
        assert!(walks(&mut wanted).is_empty() && wanted.take_hashes(9).is_empty());
    }
}
