//! What becomes of an answer when it comes: kept and handed out, or thrown away because a change came after it was read.
//!
//! Decides that under the lock of the hash's stripe. Knows nothing of who asked, nor of how often it is asked again: that is
//! [`super::flight`]'s, and [`super::table`] brings what was told unasked.

use super::stripe::Stripe;
use super::{Absence, Found, Lookup};
use crate::{KeyHash, KeyRecord, StoredKey, Version};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Stripes whose keys must all be in use before one of those goes.
const BUSY_MAX: usize = 32;

/// What became of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    /// It is held, or remembered.
    Held,
    /// It is good, and one that was read later is held.
    NewerHeld,
    /// It is good, and there is no room for it.
    NoRoom,
    /// A change that was applied came after it.
    Outdated,
}

/// An answer of the source that may still turn out to be outdated.
#[derive(Debug, Clone)]
pub(super) struct Landed {
    pub(super) found: Found,
    pub(super) as_of: Version,
}

impl Lookup {
    /// What is kept of a record: what it has in common with others is held once.
    pub(super) fn compile(&self, hash: &KeyHash, record: KeyRecord, as_of: Version) -> Arc<StoredKey> {
        let shared = (
            self.apps.of(&record.app),
            self.rules.of(record.scheme.as_ref()),
            self.grants.of(StoredKey::permissions_of(&record)),
        );
        Arc::new(StoredKey::sharing(*hash, record, as_of, shared))
    }

    /// Lets an answer to a flight in, if it is not outdated, and ends the flight. The flight goes on otherwise.
    pub(super) fn land(&self, hash: &KeyHash, answer: &Landed) -> bool {
        let mut stripe = self.stripes.of(hash);
        let kept = self.keep(&mut stripe, hash, answer);
        if kept != Kept::Outdated {
            stripe.flights.remove(hash);
        }
        drop(stripe);
        self.make_room();
        kept != Kept::Outdated
    }

    /// Lets an answer in that nobody asked for, if it is not outdated.
    pub(super) fn take_in(&self, hash: &KeyHash, answer: &Landed) -> Kept {
        let kept = self.keep(&mut self.stripes.of(hash), hash, answer);
        self.make_room();
        kept
    }

    /// Keeps an answer, if no change that was applied came after it.
    fn keep(&self, stripe: &mut Stripe, hash: &KeyHash, answer: &Landed) -> Kept {
        // Read before the notes, as in `trusts`.
        let wide = self.wide.load(Ordering::Acquire);
        let floors = self.floors.load(Ordering::Acquire);
        if !self.is_current(stripe, answer) {
            // There was a key, and all that is known of it is outdated.
            if matches!(answer.found, Found::Known(_)) && stripe.held.get(hash).is_none() {
                self.make_pending(stripe, hash);
            }
            return Kept::Outdated;
        }
        if self.holds_newer(stripe, hash, answer.as_of) {
            return Kept::NewerHeld;
        }
        match &answer.found {
            Found::Known(key) => {
                key.trusted_at.fetch_max(wide, Ordering::Relaxed);
                self.unknown.invalidate(hash);
                if stripe.held.get(hash).is_none() && !self.room.enter() {
                    self.completeness.spoil(None);
                    return Kept::NoRoom;
                }
                stripe.held.insert(Arc::clone(key));
            }
            Found::Unknown => {
                let ttl_us = u64::try_from(self.settings.unknown_ttl.as_micros()).unwrap_or(u64::MAX);
                let until_us = self.clock.now().monotonic_us.saturating_add(ttl_us);
                self.drop_held(stripe, hash);
                self.unknown.insert(*hash, Absence { floors, until_us });
            }
        }
        self.settle(stripe, hash);
        Kept::Held
    }

    /// Whether a key is held that was read after `as_of`, and is still good: an older answer must not take its place.
    fn holds_newer(&self, stripe: &Stripe, hash: &KeyHash, as_of: Version) -> bool {
        stripe
            .held
            .get(hash)
            .is_some_and(|held| held.as_of != as_of && held.as_of.covers(as_of) && self.trusts(held))
    }

    /// Whether no change applied so far came after `answer` was read.
    pub(super) fn is_current(&self, stripe: &Stripe, answer: &Landed) -> bool {
        let key = match &answer.found {
            Found::Known(key) => Some(&**key),
            Found::Unknown => None,
        };
        stripe.fence.admits(answer.as_of) && self.wide_fences.read().admit(answer.as_of, key)
    }

    /// Lets go of what is held of this key.
    pub(super) fn drop_held(&self, stripe: &mut Stripe, hash: &KeyHash) {
        if stripe.held.remove(hash).is_some() {
            self.room.leave(1);
        }
    }

    /// Lets go of as many keys as are too many. The stripe must have been given back: keys of any may have to go.
    fn make_room(&self) {
        while self.room.is_short() && self.dismiss_one() {}
    }

    /// Lets go of one key, if one is held: one that was not asked for lately, if such a one is near.
    fn dismiss_one(&self) -> bool {
        let stripes = self.stripes.count();
        let mut busy = 0;
        for _ in 0..stripes + BUSY_MAX {
            let mut stripe = self.stripes.nth(self.room.next_stripe(stripes));
            let held = stripe.held.count();
            if held == 0 || !self.room.is_share(held, stripes) {
                continue;
            }
            let gone = if busy < BUSY_MAX {
                stripe.held.take_idle()
            } else {
                stripe.held.take_any()
            };
            busy += 1;
            if gone.is_some() {
                self.room.leave(1);
                // The memory is given back after the lock.
                drop(stripe);
                return true;
            }
        }
        false
    }
}
