//! The same headers as lines of a head, straight into the buffer that is sent.
//!
//! What is told is decided by the parent; here is only how it is spelled, without a structured-field library and without
//! allocating. Called once a request by whoever writes heads as bytes.

use super::{DRAFT_FAMILY, LEGACY_FAMILY, retry_after_s, tightest, wait_s, window_s};
use crate::wire::{ByteSet, number};
use portcullis_verify::{Charge, RuleSet, RuleState};

/// Room for the lines of most charges.
const USUAL_BYTES: usize = 512;
/// What a structured-field string cannot hold (RFC 9651 §3.3.3).
const ODD: ByteSet = ByteSet::CONTROLS_AND_NOT_ASCII;
/// What it cannot hold as it is.
const ODD_IN_STRING: ByteSet = ByteSet::CONTROLS_AND_NOT_ASCII.with(b"\"\\");

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
    out.reserve(USUAL_BYTES);
    list(out, b"ratelimit-policy: ", rules, charge, |out, window_s, state| {
        out.extend_from_slice(b";q=");
        number(out, state.limit);
        out.extend_from_slice(b";w=");
        number(out, window_s);
    });
    list(out, b"ratelimit: ", rules, charge, |out, _, state| {
        out.extend_from_slice(b";r=");
        number(out, state.remaining);
        if let Some(seconds) = wait_s(state, retry_after_s) {
            out.extend_from_slice(b";t=");
            number(out, seconds);
        }
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
    line_start: &[u8],
    rules: &RuleSet,
    charge: &Charge,
    parameters: impl Fn(&mut Vec<u8>, u64, &RuleState),
) {
    let mut is_first = true;
    for state in &charge.states {
        let Some(rule) = rules.rules.get(state.rule) else {
            continue;
        };
        let Some(window_s) = window_s(rule.window) else {
            continue;
        };
        let name_bytes = rule.name.as_bytes();
        let is_plain = !ODD_IN_STRING.meets(name_bytes);
        if !is_plain && ODD.meets(name_bytes) {
            continue;
        }
        out.extend_from_slice(if is_first { line_start } else { b", " });
        is_first = false;
        out.push(b'"');
        if is_plain {
            out.extend_from_slice(name_bytes);
        } else {
            escaped(out, name_bytes);
        }
        out.push(b'"');
        parameters(out, window_s, state);
    }
    if !is_first {
        out.extend_from_slice(b"\r\n");
    }
}

#[cold]
fn escaped(out: &mut Vec<u8>, text: &[u8]) {
    for byte in text {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(*byte);
    }
}
