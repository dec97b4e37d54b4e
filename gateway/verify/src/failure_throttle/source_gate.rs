//! May this look-up, which memory could not answer, go to the key source? Tells a good key from a guess as far as can be without
//! asking. It refuses to know what a key opens, or what the answer said beyond "there is such a key". Called by
//! [`crate::verifier`] only.
//!
//! [`FailureThrottle`] alone would let one bad neighbour shut out everybody behind his address whose key is not in memory: after a
//! restart, after an edit of an app or a scheme, which makes all its keys be read again, or with a key that is new. His guesses would
//! take every allowance the moment it comes back. So a throttled address still passes two kinds of look-ups:
//!
//! - **A key that the source is known to have**: it gave it out before, or the change log named it. A guess is never among these,
//!   because a key has 220 random bits. Should the source have lost the key nevertheless, it is struck off and the failure counts.
//! - **A key that comes again.** Whoever holds a key repeats it; a guesser who repeats a guess learns nothing from it. A hash that was
//!   turned away is remembered, and has an allowance of its own when it comes back from the same address: a quarter of the first, of
//!   which again only failures take something. So a good key gets in at its second try, however fast a neighbour guesses. A hash
//!   that the source did not have is not asked for again on this allowance, so that clients who go on with keys that are no more do
//!   not use it up.
//!
//! What it costs: a neighbour who repeats his guesses on purpose gets that quarter on top, and may exhaust it; then it is as if there
//! were no second allowance, and never worse. Repeats that wait for the source at once are as few as the allowance, so that none is
//! overdrawn by much. Both memories are of fixed size (2.5 MiB together) and hold fingerprints only; a flood that pushes a
//! fingerprint out costs its owner a further try. Nobody but the source can put anything in the first.

#[cfg(test)]
mod tests;

use super::fingerprints::Fingerprints;
use super::{FailureSettings, FailureThrottle, Subject};
use crate::{Clock, KeyHash};
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};

/// Keys that are remembered as the source's, the newest of them.
const KNOWN_KEYS: usize = 1 << 18;
/// Look-ups that are remembered as turned away: at ten thousand guesses a second, those of the last six seconds.
const TURNED_AWAY: usize = 1 << 16;
/// The second allowance is this part of the first.
const SECOND_PART: u32 = 4;
/// When a second try is asked for: it could be made at once, but a client in a tight loop should not be told so.
const SECOND_TRY_US: u64 = 1_000_000;
/// Places in which repeats under way are counted; addresses that share one share its bound.
const UNDER_WAY: usize = 1024;

/// The gate in front of a [`crate::KeySource`].
pub(crate) struct SourceGate {
    first: FailureThrottle,
    second: FailureThrottle,
    known: Fingerprints,
    /// Questions that were turned away, and, without a subject, hashes that the source did not have.
    turned_away: Fingerprints,
    /// Repeats that wait for the source, by address.
    under_way: Box<[AtomicU32]>,
    under_way_max: u32,
    hasher: RandomState,
}

/// Leave to ask the source once. Dropping it without [`Leave::failed`] charges nothing.
#[must_use]
pub(crate) struct Leave<'a> {
    gate: &'a SourceGate,
    address: Option<IpAddr>,
    repeat: Option<UnderWay<'a>>,
}

impl SourceGate {
    /// A gate that has seen nothing.
    pub(crate) fn new(settings: FailureSettings, clock: Clock) -> SourceGate {
        let second = FailureSettings {
            burst: (settings.burst / SECOND_PART).max(1),
            per_minute: (settings.per_minute / SECOND_PART).max(1),
            // All share: who repeats is rare, and a table of addresses would cost as much as the first.
            addresses_max: 0,
        };
        SourceGate {
            first: FailureThrottle::new(settings, clock.clone()),
            second: FailureThrottle::new(second, clock),
            known: Fingerprints::new(KNOWN_KEYS),
            turned_away: Fingerprints::new(TURNED_AWAY),
            under_way: (0..UNDER_WAY).map(|_| AtomicU32::new(0)).collect(),
            under_way_max: second.burst,
            hasher: RandomState::new(),
        }
    }

    /// Whether the source may be asked for this hash; otherwise how many microseconds the address must wait.
    pub(crate) fn ask(&self, address: Option<IpAddr>, hash: &KeyHash) -> Result<Leave<'_>, u64> {
        let leave = |repeat| Leave {
            gate: self,
            address,
            repeat,
        };
        let (Some(client), Err(wait_us)) = (address, self.first.check(address)) else {
            return Ok(leave(None));
        };
        if self.known.contains(&hash.0) {
            return Ok(leave(None));
        }
        let subject = Subject::of(client);
        let question = (Some(subject), hash.0);
        if self.turned_away.contains(&absent(hash)) {
            return Err(wait_us);
        }
        let second = self.second.check(address);
        if !self.turned_away.contains(&question) {
            self.turned_away.insert(&question);
            return Err(wait_us.min(second.err().unwrap_or(SECOND_TRY_US)));
        }
        second.map_err(|second_us| wait_us.min(second_us))?;
        let under_way = self.set_out(subject).ok_or(wait_us.min(SECOND_TRY_US))?;
        Ok(leave(Some(under_way)))
    }

    /// Notes that the source has a key with this hash.
    pub(crate) fn has(&self, hash: &KeyHash) {
        self.known.insert(&hash.0);
        self.turned_away.remove(&absent(hash));
    }

    /// Drops the entries of addresses whose failures are forgotten.
    pub(crate) fn sweep(&self) {
        self.first.sweep();
    }

    /// Addresses with an entry of their own.
    pub(crate) fn addresses(&self) -> u64 {
        self.first.addresses()
    }

    /// Counts one more repeat under way, unless there are as many as there may be.
    fn set_out(&self, subject: Subject) -> Option<UnderWay<'_>> {
        let [low, high, ..] = self.hasher.hash_one(subject).to_le_bytes();
        let count = &self.under_way[usize::from(u16::from_le_bytes([low, high])) % UNDER_WAY];
        let under_way = UnderWay(count);
        (count.fetch_add(1, Ordering::Relaxed) < self.under_way_max).then_some(under_way)
    }
}

impl Leave<'_> {
    /// Charges the address: the source has no key with this hash.
    pub(crate) fn failed(self, hash: &KeyHash) {
        self.gate.known.remove(&hash.0);
        self.gate.turned_away.insert(&absent(hash));
        match self.repeat {
            None => self.gate.first.record_failure(self.address),
            Some(_) => self.gate.second.record_failure(self.address),
        }
    }
}

/// That the source did not have a key with this hash.
fn absent(hash: &KeyHash) -> (Option<Subject>, [u8; 32]) {
    (None, hash.0)
}

/// One of the repeats under way, until it is dropped.
struct UnderWay<'a>(&'a AtomicU32);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
