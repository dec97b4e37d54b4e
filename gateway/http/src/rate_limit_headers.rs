//! Spells where a key stands with its limits: `RateLimit-Policy`, `RateLimit`, `Retry-After`, and the older `X-RateLimit-*`.
//!
//! Follows draft-ietf-httpapi-ratelimit-headers-10: both fields are lists of structured-field strings (RFC 9651) with
//! parameters. It charges nothing and knows no clock; the proxy and the decision API call it with what was charged.

use http::header::RETRY_AFTER;
use http::{HeaderName, HeaderValue};
use portcullis_verify::{Charge, ChargeOutcome, CompiledRule, RuleSet, RuleState, Window};
use sfv::{Integer, KeyRef, ListSerializer, StringRef};
use std::cmp::Reverse;

mod lines;
#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod tests;

pub use lines::{Told, write};

/// Every policy that held for the request: `"per_key-60s";q=100;w=60`.
pub const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// What is left of each: `"per_key-60s";r=42;t=17`.
pub const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
/// The limit of the tightest rule: the one with the fewest requests left, among equals the one that keeps waiting longest.
pub const X_RATE_LIMIT_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
/// What is left of it.
pub const X_RATE_LIMIT_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
/// Seconds until more of it is left, rounded up; 0 when nothing of it is used. A delta, never a date.
pub const X_RATE_LIMIT_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// What the names of the draft's headers start with, those of its earlier versions included.
const DRAFT_FAMILY: &str = "ratelimit";
/// What the names of the older headers start with.
const LEGACY_FAMILY: &str = "x-ratelimit";

const SECOND_US: u64 = 1_000_000;
const DAY_S: u64 = 86_400;
/// The longest month: a client that spreads `q` over it is never refused in a shorter one for going too fast.
const MONTH_S_MAX: u64 = 31 * DAY_S;

/// The headers for a charge, refused or admitted; `Retry-After` only on a refusal. To be set, not appended.
///
/// Both lists hold the rules that matched the request and whose window is at least a second, in the order of the rules;
/// a header without such a rule is left out. `with_legacy` adds the `X-RateLimit-*` headers of the tightest rule that matched,
/// however short its window is: they name no window that could be too short to tell.
///
/// On a refusal no wait is later than `Retry-After`: the draft wants both to name the same moment, and a client that waits for the
/// latest of all would wait for a rule that did not refuse it. Such a rule is told without its `t`.
#[must_use]
pub fn of(rules: &RuleSet, charge: &Charge, with_legacy: bool) -> Vec<(HeaderName, HeaderValue)> {
    let mut headers = Vec::with_capacity(if with_legacy { 6 } else { 3 });
    let retry_after_s = retry_after_s(charge);
    let states = || {
        charge
            .states
            .iter()
            .filter_map(|state| Some((rules.rules.get(state.rule)?, state)))
    };
    let mut push = |name, list: Option<String>| {
        if let Some(value) = list.and_then(|list| HeaderValue::try_from(list).ok()) {
            headers.push((name, value));
        }
    };
    push(RATE_LIMIT_POLICY, list(states(), policy));
    push(RATE_LIMIT, list(states(), |_, state| remaining(state, retry_after_s)));
    if with_legacy && let Some(state) = tightest(states().map(|(_, state)| state)) {
        let reset_s = wait_s(state, retry_after_s).or(retry_after_s).unwrap_or(0);
        headers.push((X_RATE_LIMIT_LIMIT, HeaderValue::from(state.limit)));
        headers.push((X_RATE_LIMIT_REMAINING, HeaderValue::from(state.remaining)));
        headers.push((X_RATE_LIMIT_RESET, HeaderValue::from(reset_s)));
    }
    if let Some(seconds) = retry_after_s {
        headers.push((RETRY_AFTER, HeaderValue::from(seconds)));
    }
    headers
}

/// Whether a header that somebody else set would stand beside `ours` and contradict them: it is one of the draft's, old or new,
/// or one of the `X-RateLimit-*` and ours are too.
#[must_use]
pub fn contradicts(ours: &[(HeaderName, HeaderValue)], name: &HeaderName) -> bool {
    let is_legacy = |name: &HeaderName| name.as_str().starts_with(LEGACY_FAMILY);
    !ours.is_empty()
        && (name.as_str().starts_with(DRAFT_FAMILY) || is_legacy(name) && ours.iter().any(|(ours, _)| is_legacy(ours)))
}

/// Seconds until a refused request may be made again, rounded up, at least 1; `None` when it was admitted.
///
/// Never earlier than the `t` of a rule that has nothing left, as the draft asks of the two headers.
#[must_use]
pub fn retry_after_s(charge: &Charge) -> Option<u64> {
    let ChargeOutcome::Refused { retry_after_us, .. } = charge.outcome else {
        return None;
    };
    let exhausted = charge
        .states
        .iter()
        .filter(|state| state.remaining == 0)
        .map(|state| state.grows_in_us);
    Some(seconds_up(exhausted.fold(retry_after_us, u64::max)))
}

/// Microseconds as whole seconds, rounded up, at least 1.
#[must_use]
pub fn seconds_up(us: u64) -> u64 {
    us.div_ceil(SECOND_US).max(1)
}

/// The parameters of one member: names and values.
type Parameters = [Option<(&'static str, u64)>; 2];

fn policy(window_s: u64, state: &RuleState) -> Parameters {
    [Some(("q", u64::from(state.limit))), Some(("w", window_s))]
}

fn remaining(state: &RuleState, retry_after_s: Option<u64>) -> Parameters {
    let wait = wait_s(state, retry_after_s).map(|seconds| ("t", seconds));
    [Some(("r", u64::from(state.remaining))), wait]
}

/// Seconds until more is left. `None` with nothing used, because there is nothing to wait for, and for what would be later than
/// `Retry-After`.
fn wait_s(state: &RuleState, retry_after_s: Option<u64>) -> Option<u64> {
    let seconds = (state.grows_in_us > 0).then(|| seconds_up(state.grows_in_us))?;
    (seconds <= retry_after_s.unwrap_or(u64::MAX)).then_some(seconds)
}

/// The rule that will refuse first, as far as one can tell from what is left.
fn tightest<'a>(states: impl Iterator<Item = &'a RuleState>) -> Option<&'a RuleState> {
    states.min_by_key(|state| (state.remaining, Reverse(state.grows_in_us)))
}

fn list<'a>(
    states: impl Iterator<Item = (&'a CompiledRule, &'a RuleState)>,
    parameters: impl Fn(u64, &RuleState) -> Parameters,
) -> Option<String> {
    let mut list = ListSerializer::new();
    for (rule, state) in states {
        let (Some(window_s), Ok(name)) = (window_s(rule.window), StringRef::from_str(&rule.name)) else {
            continue;
        };
        let mut member = list.bare_item(name);
        for (key, value) in parameters(window_s, state).into_iter().flatten() {
            if let (Ok(key), Ok(value)) = (KeyRef::from_str(key), Integer::try_from(value)) {
                member = member.parameter(key, value);
            }
        }
    }
    list.finish()
}

/// The window in whole seconds, rounded up so that a client never paces itself too fast. `None` below one second.
fn window_s(window: Window) -> Option<u64> {
    match window {
        Window::Rolling { us } => (us >= SECOND_US).then(|| us.div_ceil(SECOND_US)),
        Window::CalendarDay => Some(DAY_S),
        Window::CalendarMonth => Some(MONTH_S_MAX),
    }
}
