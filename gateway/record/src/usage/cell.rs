//! Where the decisions on one key are counted: a word for each way in which they can end.
//!
//! Decides which word that is, and what it is called in a report. Knows nothing of minutes, reports or other keys. The word of what was
//! allowed lies in the record of its key, and those of refusals hang on it; [`super::meter`] notes in them and takes from them.

use super::UsageOutcome;
use super::tally::Word;
use portcullis_verify::{DenialReason, RuleSet, StoredKey, Verdict};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// The denials that a known key can meet, other than by a limit.
const DENIALS: [DenialReason; 6] = [
    DenialReason::KeyRevoked,
    DenialReason::AppInactive,
    DenialReason::KeyExpired,
    DenialReason::AppNotAllowed,
    DenialReason::ResourceDenied,
    DenialReason::PermissionDenied,
];

/// How a decision ended, as the number of a word: 0 is allowed, then come [`DENIALS`], then the rules of the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place(u32);

/// Places before those of the rules.
const RULES_FROM: usize = 1 + DENIALS.len();

/// The words of a record for the ways in which it can be refused. Most keys are only ever allowed: these are made when they are needed.
#[derive(Debug)]
struct Refusals(Box<[AtomicU64]>);

impl Place {
    const ALLOWED: Place = Place(0);

    /// The key that a verdict is about and how it ended for it; `None` if no key is known.
    #[inline]
    pub(crate) fn of(verdict: &Verdict) -> Option<(&Arc<StoredKey>, Place)> {
        match verdict {
            Verdict::Allow(permit) => Some((&permit.key, Place::ALLOWED)),
            Verdict::Deny(denial) => Some((denial.key.as_ref()?, Place::of_denial(denial.reason)?)),
        }
    }

    fn of_denial(reason: DenialReason) -> Option<Place> {
        let index = match reason {
            DenialReason::KeyRevoked => 1,
            DenialReason::AppInactive => 2,
            DenialReason::KeyExpired => 3,
            DenialReason::AppNotAllowed => 4,
            DenialReason::ResourceDenied => 5,
            DenialReason::PermissionDenied => 6,
            DenialReason::RateLimited { blocked_rule, .. } => {
                u32::try_from(RULES_FROM.checked_add(blocked_rule)?).ok()?
            }
            DenialReason::KeyMissing
            | DenialReason::AmbiguousCredentials
            | DenialReason::KeyMalformed
            | DenialReason::TooManyFailures { .. }
            | DenialReason::KeyUnknown => return None,
        };
        Some(Place(index))
    }

    fn index(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }

    /// What it is called in a report of a key with these rules.
    pub(crate) fn outcome(self, rules: &RuleSet) -> UsageOutcome {
        let Some(refused) = self.index().checked_sub(1) else {
            return UsageOutcome::Allowed;
        };
        if let Some(reason) = DENIALS.get(refused) {
            return UsageOutcome::Denied(reason.name().to_owned());
        }
        let rule = rules.rules.get(self.index() - RULES_FROM);
        UsageOutcome::RateLimited(rule.map_or_else(String::new, |rule| rule.name.to_string()))
    }
}

/// The word of a place in the record of a key. `None` if the place is of other rules than the key's.
#[inline]
pub(crate) fn word(key: &StoredKey, place: Place) -> Option<Word<'_>> {
    match place.index().checked_sub(1) {
        None => Some(Word(&key.usage_word)),
        Some(refused) => refusal(key, refused),
    }
}

#[cold]
fn refusal(key: &StoredKey, refused: usize) -> Option<Word<'_>> {
    let words = key.usage_view().get_or_init(|| {
        let count = DENIALS.len() + key.rules.rules.len();
        Refusals(std::iter::repeat_with(AtomicU64::default).take(count).collect())
    })?;
    words.0.get(refused).map(Word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_denial_of_a_known_key_has_a_word_and_its_own_name() {
        let rules = RuleSet::compile(None, &[]);
        for reason in DENIALS {
            let place = Place::of_denial(reason).expect("a place");
            assert_eq!(place.outcome(&rules), UsageOutcome::Denied(reason.name().to_owned()));
        }
    }

    #[test]
    fn what_can_be_met_without_a_known_key_has_none() {
        for reason in [
            DenialReason::KeyMissing,
            DenialReason::AmbiguousCredentials,
            DenialReason::KeyMalformed,
            DenialReason::TooManyFailures { retry_after_us: 1 },
            DenialReason::KeyUnknown,
        ] {
            assert_eq!(Place::of_denial(reason), None, "{reason:?}");
        }
    }
}
