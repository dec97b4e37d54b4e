//! The outcome of a decision. A denial is data, not an error.
//!
//! Holds the private reason; what a stranger may be told of it is the business of whoever answers.

use crate::{Charge, KeyHash, SourceError, StoredKey};
use std::sync::Arc;
use std::time::Duration;

/// What the engine decided.
#[derive(Debug)]
pub enum Verdict {
    /// The request may pass.
    Allow(Permit),
    /// It may not.
    Deny(Denial),
}

/// A request that may pass.
#[derive(Debug)]
pub struct Permit {
    /// The key it passes with.
    pub key: Arc<StoredKey>,
    /// What to ask [`crate::Verifier::still_opens`] about, for as long as what was permitted lasts.
    pub hash: KeyHash,
    /// The rules that were charged for it.
    pub charge: Charge,
}

/// A request that may not pass.
#[derive(Debug)]
pub struct Denial {
    /// Why.
    pub reason: DenialReason,
    /// The key, as far as it is known.
    pub key: Option<Arc<StoredKey>>,
    /// The rules as they stand, when the denial came from them.
    pub charge: Option<Charge>,
}

impl Denial {
    /// The name of the rule that blocks longest, when a limit is why.
    #[must_use]
    pub fn blocked_rule(&self) -> Option<&str> {
        let DenialReason::RateLimited { blocked_rule, .. } = self.reason else {
            return None;
        };
        Some(&self.key.as_ref()?.rules.rules.get(blocked_rule)?.name)
    }
}

/// Why a request was denied, in the order in which the checks are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DenialReason {
    /// No key came with the request.
    KeyMissing,
    /// Two different keys came with one request.
    AmbiguousCredentials,
    /// Wrong shape or wrong checksum: no key of ours ever looked like this.
    KeyMalformed,
    /// This address asked for too many unknown keys.
    TooManyFailures {
        /// Microseconds until the address may try an unknown key again.
        retry_after_us: u64,
    },
    /// No key has this hash.
    KeyUnknown,
    /// The key was revoked, or rotated and its grace period is over.
    KeyRevoked,
    /// The app is switched off or deleted.
    AppInactive,
    /// The key's time is over.
    KeyExpired,
    /// The key is good, but not for this route (other app or other tenant).
    AppNotAllowed,
    /// The path is not among the app's resources.
    ResourceDenied,
    /// A permission is missing.
    PermissionDenied,
    /// A rate-limit rule is exhausted.
    RateLimited {
        /// Index in `key.rules.rules` of the rule that blocks longest.
        blocked_rule: usize,
        /// Microseconds until it has room.
        retry_after_us: u64,
    },
}

impl DenialReason {
    /// The stable name used in logs, metrics and `portcullis verify`. Tells apart what the caller is not told apart.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            DenialReason::KeyMissing => "key_missing",
            DenialReason::AmbiguousCredentials => "ambiguous_credentials",
            DenialReason::KeyMalformed => "key_malformed",
            DenialReason::TooManyFailures { .. } => "too_many_failures",
            DenialReason::KeyUnknown => "key_unknown",
            DenialReason::KeyRevoked => "key_revoked",
            DenialReason::AppInactive => "app_inactive",
            DenialReason::KeyExpired => "key_expired",
            DenialReason::AppNotAllowed => "app_not_allowed",
            DenialReason::ResourceDenied => "resource_denied",
            DenialReason::PermissionDenied => "permission_denied",
            DenialReason::RateLimited { .. } => "rate_limited",
        }
    }
}

/// The engine could not decide: something it stands on is broken.
#[derive(Debug, Clone, thiserror::Error)]
pub enum VerifyError {
    /// The key is not known here and its source cannot be asked.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// Changes may have been committed that were not heard of here, for so long that nothing is decided any more.
    #[error("not up to date: {}", since(*.staleness))]
    TooStale {
        /// How long ago every change was known here; `None` if that never was so.
        staleness: Option<Duration>,
    },
}

fn since(staleness: Option<Duration>) -> String {
    match staleness {
        Some(staleness) => format!(
            "last heard that nothing was missed {:.3} s ago",
            staleness.as_secs_f64()
        ),
        None => "not synchronised since the start".to_owned(),
    }
}
