//! The requests that are counted, and how each is made many times.
//!
//! Measures nothing: what happens inside [`counted_requests`] is counted, by whoever runs this under callgrind.
//! A new case is one function and one line in [`CASES`].

use crate::engine::Engine;
use crate::request::{Written, decide};
use anyhow::{Context, Result, ensure};
use std::hint::black_box;

/// Keys that take turns.
const KEYS: usize = 1_000;
/// Requests of each case that are counted, after as many that are not: every key ten times.
pub(crate) const REQUESTS: u64 = 10 * 1_000;
/// Time between two requests, in microseconds.
const APART_US: u64 = 100;

/// Makes the request of this number.
type Case = Box<dyn FnMut(u64) -> Result<()>>;

/// Has everything at hand that the case needs.
type SetUp = fn() -> Result<Case>;

/// Every case: its name, and what sets it up.
const CASES: &[(&str, SetUp)] = &[
    ("allowed", allowed),
    ("junk", junk),
    ("unknown", unknown),
    ("rate_limited", rate_limited),
];

/// The names of all cases.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    CASES.iter().map(|(name, _)| *name)
}

/// Runs one case.
///
/// # Errors
/// When there is none of this name, or a request is not decided as the case expects.
pub(crate) fn run(name: &str) -> Result<()> {
    let (_, set_up) = CASES
        .iter()
        .find(|(candidate, _)| *candidate == name)
        .with_context(|| format!("there is no case '{name}'"))?;
    let mut case = set_up()?;
    for number in 0..REQUESTS {
        case(number)?;
    }
    counted_requests(&mut case)
}

/// The only function whose instructions count. [`crate::callgrind`] knows it by its name.
#[inline(never)]
fn counted_requests(case: &mut Case) -> Result<()> {
    for number in 0..REQUESTS {
        black_box(&mut *case)(black_box(number))?;
    }
    Ok(())
}

/// Passes three limits.
fn allowed() -> Result<Case> {
    of_status(200, Engine::warm(KEYS, 1_000_000)?, |engine| engine.issued.clone())
}

/// Falls at its checksum.
fn junk() -> Result<Case> {
    of_status(403, Engine::warm(KEYS, 1_000_000)?, |engine| {
        let wrong = |key: &String| {
            let last = if key.ends_with('0') { "1" } else { "0" };
            format!("{}{last}", &key[..key.len() - 1])
        };
        engine.issued.iter().map(wrong).collect()
    })
}

/// Well-formed, and remembered as unknown.
fn unknown() -> Result<Case> {
    of_status(403, Engine::warm(KEYS, 1_000_000)?, |engine| engine.unknown.clone())
}

/// Its key has used its one request of the day.
fn rate_limited() -> Result<Case> {
    of_status(429, Engine::warm(KEYS, 1)?, |engine| engine.issued.clone())
}

fn of_status(status: u16, engine: Engine, credentials: impl FnOnce(&Engine) -> Vec<String>) -> Result<Case> {
    let credentials = credentials(&engine);
    let mut written = Written::default();
    Ok(Box::new(move |number| {
        engine.time.advance_us(APART_US);
        let caller = usize::try_from(number)? % KEYS;
        let answered = decide(&engine, &credentials[caller], caller, &mut written)?;
        ensure!(answered == status, "answered {answered} instead of {status}");
        black_box(&written.out);
        Ok(())
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_is_answered_as_it_expects() {
        for name in names() {
            run(name).unwrap_or_else(|error| panic!("{name}: {error:#}"));
        }
        assert!(run("no such case").is_err());
    }
}
