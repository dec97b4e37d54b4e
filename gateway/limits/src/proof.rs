//! The proof that a limit is a limit: bulk comparison with an exact log, and a walk through every state of small ones.
//!
//! Decides nothing about requests and is in no build but the tests'. What it shows, and how to run more of it, is in `PROOF.md`.

use std::fmt::{Arguments, Write};

pub(crate) mod chance;
pub(crate) mod exact_log;
mod one_log;

/// Checks of a plain `cargo test`, unless `PORTCULLIS_PROOF_CHECKS` says otherwise.
const CHECKS: u64 = 100_000_000;

/// The seed of the first session, unless `PORTCULLIS_PROOF_SEED` says otherwise. The next session has the next seed.
const SEED: u64 = 2_026;

/// A setting of a proof, from the environment.
pub(crate) fn setting(name: &str, default: u64) -> u64 {
    let parse = |text: String| {
        text.replace('_', "")
            .parse()
            .unwrap_or_else(|_| panic!("{name}={text} is no number"))
    };
    std::env::var(name).map_or(default, parse)
}

/// Counts what was compared, and tells how to see a failure again.
#[derive(Debug)]
pub(crate) struct Referee {
    seed: u64,
    checks: u64,
    story: String,
}

impl Referee {
    fn new(seed: u64) -> Referee {
        Referee {
            seed,
            checks: 0,
            story: String::new(),
        }
    }

    /// What decides all chances of the session.
    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }

    /// Comparisons so far.
    fn checks(&self) -> u64 {
        self.checks
    }

    /// One comparison.
    #[inline]
    pub(crate) fn check(&mut self, holds: bool, what: &str, details: Arguments<'_>) {
        self.checks += 1;
        if !holds {
            self.fail(what, details);
        }
    }

    #[cold]
    fn fail(&self, what: &str, details: Arguments<'_>) -> ! {
        panic!(
            "{what}: {details}\n{}\nagain with PORTCULLIS_PROOF_SEED={} PORTCULLIS_PROOF_CHECKS=1",
            self.story, self.seed
        );
    }

    /// What the session is doing, for whoever reads a failure; only the latest lines are kept.
    pub(crate) fn tell(&mut self, line: Arguments<'_>) {
        if self.story.len() > 4_096 {
            self.story.clear();
        }
        writeln!(self.story, "{line}").unwrap();
    }
}

/// Runs sessions of `share` of all checks, in percent, one seed after the other.
pub(crate) fn sessions(name: &str, share: u64, mut session: impl FnMut(&mut Referee)) {
    let (seed, wanted) = (
        setting("PORTCULLIS_PROOF_SEED", SEED),
        (setting("PORTCULLIS_PROOF_CHECKS", CHECKS) * share / 100).max(1),
    );
    let (mut checks, mut sessions) = (0, 0);
    while checks < wanted {
        let mut referee = Referee::new(seed.wrapping_add(sessions));
        session(&mut referee);
        assert!(referee.checks > 0, "a session compares nothing");
        checks += referee.checks;
        sessions += 1;
    }
    println!("{name}: {checks} checks in {sessions} sessions from seed {seed}, none failed");
}
