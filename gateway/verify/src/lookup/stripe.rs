//! One part of the hashes: the keys held of it, and all that says which answers may still be given.
//!
//! Decides the order of these in memory, and which stripe a hash belongs to. What is written in it, and when, is the parent's
//! business; everything under one lock.

use super::fence::StripeFence;
use super::flight::Flight;
use super::held_keys::HeldKeys;
use crate::KeyHash;
use parking_lot::{Mutex, MutexGuard};
use std::collections::{HashMap, HashSet};

/// More than the fills that usually run at once, so that they seldom meet, and so many that none has to move many keys at once when
/// it grows.
const STRIPES: usize = 1_024;

/// The parts of all hashes.
pub(super) struct Stripes(Box<[Place]>);

/// Alone on its cache lines, so that hits of different stripes do not fight for one.
#[derive(Default)]
#[repr(align(64))]
struct Place(Mutex<Stripe>);

/// What a hit touches comes first, beside the lock.
#[derive(Default)]
#[repr(C)]
pub(super) struct Stripe {
    pub(super) held: HeldKeys,
    /// Answers given from `held`.
    pub(super) hits: u64,
    pub(super) fence: StripeFence,
    pub(super) flights: HashMap<KeyHash, Flight>,
    /// Of a table: hashes that a change named, or that had a key when it was last heard of, and are not held.
    pub(super) pending: HashSet<KeyHash>,
}

impl Stripes {
    pub(super) fn new() -> Stripes {
        Stripes((0..STRIPES).map(|_| Place::default()).collect())
    }

    /// The stripe of a hash.
    #[inline]
    pub(super) fn of(&self, hash: &KeyHash) -> MutexGuard<'_, Stripe> {
        let [first, second, ..] = hash.0;
        self.0[usize::from(u16::from_le_bytes([first, second])) % STRIPES]
            .0
            .lock()
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// The one with this number.
    pub(super) fn nth(&self, number: usize) -> MutexGuard<'_, Stripe> {
        self.0[number].0.lock()
    }

    /// All of them, one after the other.
    pub(super) fn each(&self) -> impl Iterator<Item = MutexGuard<'_, Stripe>> {
        self.0.iter().map(|place| place.0.lock())
    }
}
