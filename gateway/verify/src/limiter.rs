//! The trait through which the engine charges rate limits; `portcullis-limits` implements it.
//!
//! The engine decides when to charge (last, once every free check has passed); how is none of its business.

use crate::{Moment, StoredKey};
use smallvec::SmallVec;
use std::net::IpAddr;

/// Counts requests against the rules of a key.
pub trait Limiter: Send + Sync {
    /// Charges every rule of `key.rules` that matches the request, or none of them.
    ///
    /// A refusal changes no counter. Rules of an address mode are skipped when the address is not known.
    fn charge(&self, key: &StoredKey, request: &ChargeRequest<'_>) -> Charge;

    /// Whether [`Limiter::charge`] would admit the request, and where its rules stand now, with nothing charged.
    fn peek(&self, key: &StoredKey, request: &ChargeRequest<'_>) -> Charge;
}

/// The facts of a request that rules look at.
#[derive(Debug, Clone, Copy)]
pub struct ChargeRequest<'a> {
    /// The request path, without query.
    pub path: &'a str,
    /// The client's address; IPv4-mapped IPv6 is already IPv4. `None` skips the address rules.
    pub address: Option<IpAddr>,
    /// When the request is decided.
    pub now: Moment,
}

/// The answer for one request over all rules that matched it.
#[derive(Debug, Clone)]
pub struct Charge {
    /// Admitted and charged, or refused and not charged.
    pub outcome: ChargeOutcome,
    /// Every rule that matched, in the order of `key.rules`.
    pub states: SmallVec<[RuleState; 4]>,
}

/// Whether the rules let the request pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChargeOutcome {
    /// All matching rules had room.
    Admitted,
    /// At least one had not.
    Refused {
        /// Index in `key.rules.rules` of the rule with the longest wait.
        blocked_rule: usize,
        /// Microseconds until every refusing rule has room again, if nobody else spends it.
        retry_after_us: u64,
    },
}

/// Where one rule stands after the decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RuleState {
    /// Index in `key.rules.rules`.
    pub rule: usize,
    /// Requests per window.
    pub limit: u32,
    /// Requests left now; after this one, if it was charged.
    pub remaining: u32,
    /// Microseconds until `remaining` next grows; 0 when nothing is used.
    pub grows_in_us: u64,
}
