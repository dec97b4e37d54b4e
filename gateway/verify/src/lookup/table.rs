//! A look-up that holds every key: how it is filled, and when what it does not hold is unknown.
//!
//! Decides what is pending. What is outdated is decided where every answer lands, by the parent; who reads the keys, and in what
//! order, is not known here. The verifier passes on what it is told.

use super::landing::{Kept, Landed};
use super::room::Room;
use super::stripe::Stripe;
use super::{CacheSettings, Found, Lookup, TableState};
use crate::{Clock, KeyHash, KeyRecord, KeySource, RuleSet, Version};
use std::sync::Arc;

impl Lookup {
    /// One for all keys that there are: none is forgotten because another comes, and past `keys_max` none is let in.
    /// [`Lookup::admit`] fills it, and [`Lookup::complete`] says when it is whole.
    #[must_use]
    pub fn of_every_key(
        settings: CacheSettings,
        source: Arc<dyn KeySource>,
        default_rules: Arc<RuleSet>,
        clock: Clock,
    ) -> Lookup {
        let room = Room::table(settings.keys_max);
        Lookup::holding(room, settings, source, default_rules, clock)
    }

    /// A key that existed at `as_of`, told unasked. Answers whether it, or what was read later, is held now: it is not if it is
    /// outdated, or if there is no room.
    ///
    /// In a table, a key that is not let in is not taken for unknown either.
    pub fn admit(&self, hash: KeyHash, record: KeyRecord, as_of: Version) -> bool {
        let answer = Landed {
            found: Found::Known(self.compile(&hash, record, as_of)),
            as_of,
        };
        matches!(self.take_in(&hash, &answer), Kept::Held | Kept::NewerHeld)
    }

    /// No key had this hash at `as_of`, told unasked.
    pub fn note_absent(&self, hash: &KeyHash, as_of: Version) {
        let answer = Landed {
            found: Found::Unknown,
            as_of,
        };
        self.take_in(hash, &answer);
    }

    /// Every key that existed at `at` was told, and so was every key that a change named that has been applied by now. Answers
    /// whether the table is whole: it is not if keys found no room, or if more was lost since [`Lookup::incomplete`] than a walk
    /// that was under way can have found.
    pub fn complete(&self, at: Version) -> bool {
        self.room.is_table() && self.completeness.complete(at)
    }

    /// Keys may be missing. To be called when a walk over all of them begins, or will.
    pub fn incomplete(&self) {
        self.completeness.walk();
    }

    /// How far the table is filled; `None` when it need not be, because this is a cache.
    #[must_use]
    pub fn table(&self) -> Option<TableState> {
        self.room.is_table().then(|| self.completeness.state())
    }

    /// From now on it is not known what became of this key.
    pub(super) fn make_pending(&self, stripe: &mut Stripe, hash: &KeyHash) {
        if !self.room.is_table() || stripe.pending.contains(hash) {
            return;
        }
        if self.completeness.one_more() {
            stripe.pending.insert(*hash);
        } else {
            self.completeness.spoil(None);
        }
    }

    /// What became of this key is known again.
    pub(super) fn settle(&self, stripe: &mut Stripe, hash: &KeyHash) {
        if stripe.pending.remove(hash) {
            self.completeness.one_less();
        }
    }
}
