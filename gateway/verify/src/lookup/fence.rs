//! Up to which change an answer must have been read to be good.
//!
//! Plain values: locks, caches and the order in which to touch them are the parent's business.

use crate::{AppId, SchemeId, StoredKey, Version};
use std::collections::HashMap;

/// Most apps, and most schemes, whose fences are remembered one by one.
const FENCES_MAX: usize = 65_536;

/// The newest change of a single key in one stripe.
#[derive(Debug, Default)]
pub(super) struct StripeFence(Option<Version>);

impl StripeFence {
    pub(super) fn raise(&mut self, to: Version) {
        if self
            .0
            .is_none_or(|fence| fence.epoch != to.epoch || fence.revision < to.revision)
        {
            self.0 = Some(to);
        }
    }

    /// A fence from another history says nothing: [`WideFences::admit`] refuses what is not of the present one.
    pub(super) fn admits(&self, as_of: Version) -> bool {
        self.0
            .is_none_or(|fence| fence.epoch != as_of.epoch || as_of.revision >= fence.revision)
    }
}

/// What concerns more than one key.
#[derive(Debug, Default)]
pub(super) struct WideFences {
    /// Nothing read before this is good. `None` until something was heard of the store's history; until then everything is.
    floor: Option<Version>,
    /// Revisions, in the floor's history, of the newest change of each app...
    apps: HashMap<AppId, u64>,
    /// ...and of each scheme.
    schemes: HashMap<SchemeId, u64>,
}

/// What a wide change came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Raised {
    /// The fence of one app or scheme.
    One,
    /// The floor.
    Floor,
}

impl WideFences {
    /// Whether what was read at `as_of` is good; a `key`'s app and scheme are looked at too.
    pub(super) fn admit(&self, as_of: Version, key: Option<&StoredKey>) -> bool {
        let Some(floor) = self.floor else { return true };
        let covers = |fence: Option<&u64>| fence.is_none_or(|&revision| as_of.revision >= revision);
        as_of.covers(floor)
            && key.is_none_or(|key| {
                covers(self.apps.get(&key.app.id))
                    && covers(key.rules.scheme_id.and_then(|scheme| self.schemes.get(&scheme)))
            })
    }

    /// Whether the floor is set and in the same history as `version`.
    pub(super) fn is_in_history_of(&self, version: Version) -> bool {
        self.floor.is_some_and(|floor| floor.epoch == version.epoch)
    }

    /// In the same history the floor only rises. Fences of another history mean nothing in this one.
    pub(super) fn raise_floor(&mut self, to: Version) -> Raised {
        let floor = match self.floor {
            Some(floor) if floor.epoch == to.epoch => Version {
                revision: floor.revision.max(to.revision),
                ..to
            },
            _ => {
                self.apps.clear();
                self.schemes.clear();
                to
            }
        };
        self.floor = Some(floor);
        self.apps.retain(|_, revision| *revision > floor.revision);
        self.schemes.retain(|_, revision| *revision > floor.revision);
        Raised::Floor
    }

    /// The floor must be in the change's history: see [`WideFences::is_in_history_of`].
    pub(super) fn raise_app(&mut self, app: AppId, revision: u64) -> Raised {
        raise(&mut self.apps, app, revision);
        self.compact()
    }

    /// As [`WideFences::raise_app`].
    pub(super) fn raise_scheme(&mut self, scheme: SchemeId, revision: u64) -> Raised {
        raise(&mut self.schemes, scheme, revision);
        self.compact()
    }

    /// When there are too many fences, the older half becomes one floor: stricter for keys read before it, which are read again
    /// when they are next asked for, and never laxer.
    fn compact(&mut self) -> Raised {
        if self.apps.len() <= FENCES_MAX && self.schemes.len() <= FENCES_MAX {
            return Raised::One;
        }
        let mut revisions: Vec<u64> = self.apps.values().chain(self.schemes.values()).copied().collect();
        let middle = revisions.len() / 2;
        let (_, median, _) = revisions.select_nth_unstable(middle);
        let to = *median;
        match self.floor {
            Some(floor) => self.raise_floor(Version { revision: to, ..floor }),
            None => Raised::One,
        }
    }
}

fn raise<K: std::hash::Hash + Eq>(fences: &mut HashMap<K, u64>, subject: K, revision: u64) {
    let fence = fences.entry(subject).or_insert(revision);
    *fence = revision.max(*fence);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lookup::scripted_source::record;
    use crate::{KeyId, RuleSet};
    use std::sync::Arc;

    const fn at(epoch: u64, revision: u64) -> Version {
        Version { epoch, revision }
    }

    fn key(app: i64, as_of: Version) -> StoredKey {
        let mut record = record(KeyId(1));
        record.app.id = AppId(app);
        StoredKey::compile(record, as_of, &Arc::new(RuleSet::compile(None, &[])))
    }

    #[test]
    fn nothing_heard_admits_everything() {
        let fences = WideFences::default();
        assert!(fences.admit(at(0, 0), None));
        assert!(fences.admit(at(7, 0), Some(&key(1, at(7, 0)))));
        assert!(StripeFence::default().admits(at(0, 0)));
    }

    #[test]
    fn revision_zero_of_a_fresh_store_is_a_version_like_any_other() {
        let mut fences = WideFences::default();
        fences.raise_floor(at(7, 0));
        assert!(fences.admit(at(7, 0), None));
        assert!(!fences.admit(at(0, 0), None), "another history");
        let mut stripe = StripeFence::default();
        stripe.raise(at(7, 1));
        assert!(!stripe.admits(at(7, 0)));
        assert!(stripe.admits(at(7, 1)));
    }

    #[test]
    fn the_floor_only_rises_within_a_history() {
        let mut fences = WideFences::default();
        fences.raise_floor(at(7, 5));
        fences.raise_floor(at(7, 3));
        assert!(!fences.admit(at(7, 4), None));
        fences.raise_floor(at(8, 1));
        assert!(fences.admit(at(8, 1), None));
        assert!(!fences.admit(at(7, 9), None));
    }

    #[test]
    fn app_fences_end_with_their_history() {
        let mut fences = WideFences::default();
        fences.raise_floor(at(7, 0));
        fences.raise_app(AppId(1), 5);
        assert!(!fences.admit(at(7, 4), Some(&key(1, at(7, 4)))));
        assert!(fences.admit(at(7, 5), Some(&key(1, at(7, 5)))));
        assert!(fences.admit(at(7, 4), Some(&key(2, at(7, 4)))));
        fences.raise_app(AppId(1), 3);
        assert!(
            !fences.admit(at(7, 4), Some(&key(1, at(7, 4)))),
            "an older change applied again lowers nothing"
        );
        fences.raise_floor(at(8, 0));
        assert!(fences.admit(at(8, 0), Some(&key(1, at(8, 0)))));
    }

    #[test]
    fn fences_are_bounded_and_stay_strict() {
        let mut fences = WideFences::default();
        fences.raise_floor(at(7, 0));
        let count = i64::try_from(FENCES_MAX).unwrap() * 3;
        let mut floors = 0;
        for app in 1..=count {
            floors += u32::from(fences.raise_app(AppId(app), u64::try_from(app).unwrap()) == Raised::Floor);
            assert!(fences.apps.len() <= FENCES_MAX);
        }
        assert!((1..10).contains(&floors), "{floors}");
        for app in [1, 2, count / 2, count - 1, count] {
            let revision = u64::try_from(app).unwrap();
            assert!(
                !fences.admit(at(7, revision - 1), Some(&key(app, at(7, revision - 1)))),
                "app {app}"
            );
        }
        let newest = at(7, u64::try_from(count).unwrap());
        assert!(fences.admit(newest, Some(&key(1, newest))));
    }
}
