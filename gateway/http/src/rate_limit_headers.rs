//! Spells where a key stands with its limits: `RateLimit-Policy`, `RateLimit` and `Retry-After`.
//!
//! Follows draft-ietf-httpapi-ratelimit-headers-10: both fields are lists of structured-field strings (RFC 9651) with
//! parameters. It charges nothing and knows no clock; the proxy and the decision API call it with what was charged.

use http::header::RETRY_AFTER;
use http::{HeaderName, HeaderValue};
use portcullis_verify::{Charge, ChargeOutcome, CompiledRule, RuleSet, RuleState, Window};
use sfv::{Integer, KeyRef, ListSerializer, StringRef};

#[cfg(test)]
mod tests;

/// Every policy that held for the request: `"per_key-60s";q=100;w=60`.
pub const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// What is left of each: `"per_key-60s";r=42;t=17`.
pub const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");

const SECOND_US: u64 = 1_000_000;
const DAY_S: u64 = 86_400;
/// The longest month: a client that spreads `q` over it is never refused in a shorter one for going too fast.
const MONTH_S_MAX: u64 = 31 * DAY_S;

/// The headers for a charge, refused or admitted; `Retry-After` only on a refusal. To be set, not appended.
///
/// Both lists hold the rules that matched the request and whose window is at least a second, in the order of the rules;
/// a header without such a rule is left out.
#[must_use]
pub fn of(rules: &RuleSet, charge: &Charge) -> Vec<(HeaderName, HeaderValue)> {
    let mut headers = Vec::with_capacity(3);
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
    push(RATE_LIMIT, list(states(), remaining));
    if let Some(seconds) = retry_after_s(charge) {
        headers.push((RETRY_AFTER, HeaderValue::from(seconds)));
    }
    headers
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

fn policy(window_s: u64, _: &CompiledRule, state: &RuleState) -> Parameters {
    [Some(("q", u64::from(state.limit))), Some(("w", window_s))]
}

fn remaining(_: u64, _: &CompiledRule, state: &RuleState) -> Parameters {
    // With nothing used there is nothing to wait for, and `t` is left out.
    let grows = (state.grows_in_us > 0).then(|| ("t", seconds_up(state.grows_in_us)));
    [Some(("r", u64::from(state.remaining))), grows]
}

fn list<'a>(
    states: impl Iterator<Item = (&'a CompiledRule, &'a RuleState)>,
    parameters: impl Fn(u64, &CompiledRule, &RuleState) -> Parameters,
) -> Option<String> {
    let mut list = ListSerializer::new();
    for (rule, state) in states {
        let (Some(window_s), Ok(name)) = (window_s(rule.window), StringRef::from_str(&rule.name)) else {
            continue;
        };
        let mut member = list.bare_item(name);
        for (key, value) in parameters(window_s, rule, state).into_iter().flatten() {
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
