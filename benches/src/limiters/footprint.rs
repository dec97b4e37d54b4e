//! How much memory a counter takes: the growth of a fresh process while a limiter is filled.
//!
//! Decides what is filled and starts one process per contender, because memory that another limiter gave back would hide what this
//! one takes. Knows nothing of time.

use super::contender::{Contender, Request, Rules, Settings};
use super::cost::hashes;
use super::counters::{ExactLog, FixedWindow, WeightedWindow};
use super::draws;
use super::governed::Governed;
use super::keyed::Keyed;
use super::portcullis::Portcullis;
use super::{Effort, progress};
use anyhow::{Context, Result, bail, ensure};
use governor::clock::DefaultClock;
use portcullis_verify::Clock;
use std::process::Command;
use std::sync::Arc;

/// The argument that makes the program measure one footprint and print it, instead of comparing.
pub(crate) const ARGUMENT: &str = "--footprint";

const CONTENDERS: [&str; 6] = [
    "portcullis",
    "governor, by u64",
    "governor, by 32-byte hash",
    "two-counter window",
    "exact log",
    "fixed window",
];

/// Requests per window here.
pub(crate) const LIMIT: u32 = 100;

/// Bytes per counter of one contender.
#[derive(Debug, Clone)]
pub(crate) struct Footprint {
    pub(crate) contender: &'static str,
    /// For each filling of [`fillings`].
    pub(crate) bytes: Vec<f64>,
}

/// How many keys are filled, and with how many admissions each.
pub(crate) fn fillings(effort: &Effort) -> [(u32, u32); 3] {
    let most = effort.sizes.last().copied().unwrap_or(1_000);
    [(most / 10 * 9, 1), (most, 1), (most / 4, LIMIT)]
}

/// Measures every contender at every filling.
pub(crate) fn measure(effort: &Effort) -> Result<Vec<Footprint>> {
    let program = std::env::current_exe().context("cannot find this program")?;
    let mut footprints = Vec::new();
    for contender in CONTENDERS {
        progress(&format!("footprint: {contender}"));
        let mut bytes = Vec::new();
        for (keys, admissions) in fillings(effort) {
            let output = Command::new(&program)
                .args([ARGUMENT, contender, &keys.to_string(), &admissions.to_string()])
                .output()
                .context("cannot start a process to fill")?;
            let said = String::from_utf8_lossy(&output.stdout);
            ensure!(
                output.status.success(),
                "filling {contender} failed: {}",
                String::from_utf8_lossy(&output.stderr)
            );
            bytes.push(
                said.trim()
                    .parse()
                    .with_context(|| format!("{contender} said {said:?}"))?,
            );
        }
        footprints.push(Footprint { contender, bytes });
    }
    Ok(footprints)
}

/// Fills one contender in this process, and says how many bytes a counter took.
pub(crate) fn fill(arguments: &[String]) -> Result<f64> {
    let [contender, keys, admissions] = arguments else {
        bail!("{ARGUMENT} takes a contender, a number of keys and a number of admissions");
    };
    let (keys, admissions): (u32, usize) = (keys.parse()?, admissions.parse()?);
    let settings = Settings {
        limits: [LIMIT; 3],
        window_us: 3_600_000_000,
        ..Settings::wide(Rules::Key, keys, 1_000)
    };
    // All that is not the limiter's is there before the first look at memory.
    let requests = draws::everyone(&settings);
    let hashes = hashes(keys);
    let population = (contender == CONTENDERS[0]).then(|| Portcullis::new(&settings));
    let before = resident_bytes()?;
    let filled: Box<dyn Contender> = match (contender.as_str(), population) {
        (_, Some(population)) => Box::new(population.fresh()),
        ("governor, by u64", _) => Box::new(Governed::<u64, DefaultClock>::new(&settings, &Arc::default())),
        ("governor, by 32-byte hash", _) => Box::new(Governed::<[u8; 32], DefaultClock>::new(&settings, &hashes)),
        ("two-counter window", _) => Box::new(Keyed::<WeightedWindow>::new(&settings)),
        ("exact log", _) => Box::new(Keyed::<ExactLog>::new(&settings)),
        ("fixed window", _) => Box::new(Keyed::<FixedWindow>::new(&settings)),
        _ => bail!("there is no contender called {contender}"),
    };
    let clock = Clock::system();
    for request in &requests {
        let again: Vec<Request> = vec![*request; admissions];
        let served = filled.serve(&again, &clock);
        ensure!(u64::try_from(admissions) == Ok(served.admitted), "{contender} refused");
    }
    let grown = resident_bytes()?.saturating_sub(before);
    Ok(grown as f64 / f64::from(keys))
}

/// What of this process is in memory, as the kernel counts it.
fn resident_bytes() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status").context("cannot read /proc/self/status")?;
    let kib = status
        .lines()
        .find_map(|line| {
            line.strip_prefix("VmRSS:")?
                .split_whitespace()
                .next()?
                .parse::<u64>()
                .ok()
        })
        .context("/proc/self/status has no VmRSS")?;
    Ok(kib * 1_024)
}
