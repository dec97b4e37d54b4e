//! The same headers as lines of a head, straight into the buffer that is sent.
//!
//! What is told is decided by the parent; here is only how it is spelled, without a structured-field library and without
//! allocating. Called once a request by whoever writes heads as bytes.

use super::{DRAFT_FAMILY, LEGACY_FAMILY, policy, remaining, retry_after_s, tightest, wait_s, window_s};
use crate::wire::number;
use portcullis_verify::{Charge, RuleSet, RuleState};

/// Which headers were written: what others said of the same must not stand beside them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    any: bool,
    legacy: bool,
}

impl Told {
    /// Nothing was.
    pub const NOTHING: Told = Told {
        any: false,
        legacy: false,
    };

    /// Whether a header of this name, in any case, would contradict what was written: [`super::contradicts`] of bytes.
    #[must_use]
    #[inline]
    pub fn contradicts(self, name: &[u8]) -> bool {
        let starts_with = |family: &str| {
            name.get(..family.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(family.as_bytes()))
        };
        self.any && (starts_with(DRAFT_FAMILY) || self.legacy && starts_with(LEGACY_FAMILY))
    }
}

/// Appends what [`super::of`] spells as header lines, each with the end of its line, and tells what was written.
pub fn write(rules: &RuleSet, charge: &Charge, with_legacy: bool, out: &mut Vec<u8>) -> Told {
    let start = out.len();
    let retry_after_s = retry_after_s(charge);
    list(out, b"ratelimit-policy: ", rules, charge, policy);
    list(out, b"ratelimit: ", rules, charge, |_, state| {
        remaining(state, retry_after_s)
    });
    let known = || {
        charge
            .states
            .iter()
            .filter(|state| rules.rules.get(state.rule).is_some())
    };
    let tightest = if with_legacy { tightest(known()) } else { None };
    if let Some(state) = tightest {
        let reset_s = wait_s(state, retry_after_s).or(retry_after_s).unwrap_or(0);
        line(out, b"x-ratelimit-limit: ", u64::from(state.limit));
        line(out, b"x-ratelimit-remaining: ", u64::from(state.remaining));
        line(out, b"x-ratelimit-reset: ", reset_s);
    }
    if let Some(seconds) = retry_after_s {
        line(out, b"retry-after: ", seconds);
    }
    Told {
        any: out.len() > start,
        legacy: tightest.is_some(),
    }
}

fn line(out: &mut Vec<u8>, name: &[u8], value: u64) {
    out.extend_from_slice(name);
    number(out, value);
    out.extend_from_slice(b"\r\n");
}

/// One line with a member for each rule that can be told of; none without such a rule.
#[inline]
fn list(
    out: &mut Vec<u8>,
    name: &[u8],
    rules: &RuleSet,
    charge: &Charge,
    parameters: impl Fn(u64, &RuleState) -> super::Parameters,
) {
    let mut is_first = true;
    for state in &charge.states {
        let Some(rule) = rules.rules.get(state.rule) else {
            continue;
        };
        let Some(window_s) = window_s(rule.window) else {
            continue;
        };
        if !is_string(&rule.name) {
            continue;
        }
        out.extend_from_slice(if is_first { name } else { b", " });
        is_first = false;
        quoted(out, rule.name.as_bytes());
        for (key, value) in parameters(window_s, state).into_iter().flatten() {
            out.push(b';');
            out.extend_from_slice(key.as_bytes());
            out.push(b'=');
            number(out, value);
        }
    }
    if !is_first {
        out.extend_from_slice(b"\r\n");
    }
}

/// Whether a structured-field string can hold it (RFC 9651 §3.3.3).
#[inline]
fn is_string(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

#[inline]
fn quoted(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    if text.iter().any(|byte| matches!(byte, b'"' | b'\\')) {
        for byte in text {
            if matches!(byte, b'"' | b'\\') {
                out.push(b'\\');
            }
            out.push(*byte);
        }
    } else {
        out.extend_from_slice(text);
    }
    out.push(b'"');
}
