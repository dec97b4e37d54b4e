//! The promise that a hostile crowd costs its neighbours nothing: junk, slowly, in floods and in hoards, against the real binary,
//! while a good customer is served.
//!
//! For each attack, slices of quiet and of attack alternate in one run (A B A B ...). The good customer sends at a modest fixed
//! rate over kept connections, whatever the answers take; its p99 under attack, as the ratio of the medians of the slices,
//! stays within twice its quiet value. Where somebody else on the machine disturbs that, a bounded number of further rounds is
//! added to the same medians. Besides, the gateway's memory stays under a cap and comes back, newcomers get in, and the metrics
//! tell what happened.
//!
//! Attacker, gateway and customer share a machine. So the attacker runs at `nice 19` and at a stated rate: what is shown is
//! that the gateway's own work for the attacker does not hurt the customer, not that two cores are four.
//!
//! Attacks run one by one, as their figures demand. `cargo test --test crowd -- NAME` runs those with NAME in their names.
//! With `PORTCULLIS_CROWD=heavy` hoards are five times as large, as far as the limit of open files goes.
#![allow(clippy::print_stdout, reason = "the table is what this test has to say")]
#![allow(clippy::panic, reason = "a test ends where what it needs is not there")]
#![allow(clippy::disallowed_methods, reason = "latencies are measured here")]

mod attack;
mod attacker;
mod customer;
mod gateway;
mod rounds;
mod scenarios;
#[path = "../support/mod.rs"]
mod support;
mod upstream;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [first, plan] = arguments.as_slice()
        && first == "--attack"
    {
        attacker::run(plan);
        return ExitCode::SUCCESS;
    }
    raise_file_limit();
    let wanted = arguments.iter().find(|argument| !argument.starts_with("--"));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    if scenarios::run_all(&runtime, wanted.map(String::as_str)) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Ten thousand connections are ten thousand open files.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    let wanted = Rlimit {
        current: maximum,
        maximum,
    };
    // Where it cannot be raised, hoards are as large as it allows.
    let _ = setrlimit(Resource::Nofile, wanted);
}

/// So many, if the processes may open so many files with some to spare.
fn as_many_as_files_allow(wished: usize) -> usize {
    use rustix::process::{Resource, getrlimit};
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    wished.min(usize::try_from(limit / 2).unwrap_or(usize::MAX))
}

/// Whether the large version was asked for.
fn is_heavy() -> bool {
    std::env::var("PORTCULLIS_CROWD").is_ok_and(|weight| weight == "heavy")
}

/// Hoards are five times as large on demand.
fn heavy(size: usize) -> usize {
    if is_heavy() { size * 5 } else { size }
}
