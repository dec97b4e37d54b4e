//! The comparison of limiters: what a request costs each, how much memory a counter takes, and how far each strays from its limit.
//!
//! Decides the order and the effort of the measurements; each module takes one of them. Called by the `compare-limiters` binary.

mod arrivals;
mod contender;
mod contention;
mod cost;
mod cost_plot;
mod counters;
pub(crate) mod draws;
pub(crate) mod figures;
mod footprint;
mod governed;
mod keyed;
mod memory_floor;
mod notes;
mod oracle;
mod page;
mod portcullis;
mod strictness;
mod strictness_plot;
mod window_plot;

use anyhow::{Context, Result, bail};
use contender::Request;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Runs the comparison, or what one of its arguments asks for instead.
///
/// # Errors
/// When an argument is not known, a limiter refuses or admits where it must not, or a result cannot be written.
pub fn run(arguments: &[String]) -> Result<()> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    match arguments.first().map(String::as_str) {
        None => compare(&Effort::full(), &here.join("results")),
        Some("--quick") => {
            let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| here.join("../target"), PathBuf::from);
            compare(&Effort::quick(), &target.join("limits-quick"))
        }
        Some("--bars") => {
            let sizes: Result<Vec<u32>, _> = arguments[1..].iter().map(|size| size.parse()).collect();
            let sizes = sizes.context("after --bars come numbers of keys, or nothing")?;
            cost::bars(&Effort::full(), &sizes)
        }
        Some(footprint::ARGUMENT) => {
            let bytes = footprint::fill(&arguments[1..])?;
            writeln!(std::io::stdout(), "{bytes}").context("cannot say what was measured")
        }
        Some(other) => bail!("{other} is not known; there are --quick and --bars"),
    }
}

fn compare(effort: &Effort, folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let date = crate::machine::date()?;
    progress("strictness");
    let outcomes = strictness::measure(effort.limits);
    let traces = strictness::trace();
    let footprints = footprint::measure(effort)?;
    let costs = cost::measure(effort)?;
    let refusals = cost::measure_refusals(effort)?;
    let contentions = contention::measure(effort)?;

    let file = |suffix: &str| folder.join(format!("{date}-limits{suffix}"));
    window_plot::draw(&traces, &file("-window.svg"))?;
    strictness_plot::draw(&outcomes, &file("-strictness.svg"))?;
    cost_plot::draw(&costs, &effort.sizes, &file("-cost.svg"))?;
    let measured = page::Measured {
        date: &date,
        effort,
        outcomes: &outcomes,
        footprints: &footprints,
        costs: &costs,
        refusals: &refusals,
        contentions: &contentions,
    };
    let page = file(".md");
    std::fs::write(&page, measured.page()?).with_context(|| format!("cannot write {}", page.display()))?;
    progress(&format!("wrote {}", page.display()));
    Ok(())
}

/// How much is measured.
#[derive(Debug)]
struct Effort {
    /// Keys, and as many addresses; the middle size is also that of refusals and contention.
    sizes: [u32; 3],
    rounds: usize,
    /// Requests in one contender's turn, for each thread.
    requests: usize,
    limits: &'static [u32],
}

/// The most threads that any measurement uses.
const THREADS_MAX: usize = 2;

impl Effort {
    fn full() -> Effort {
        Effort {
            sizes: [1_000, 100_000, 1_000_000],
            rounds: 7,
            requests: 1 << 17,
            limits: &strictness::LIMITS,
        }
    }

    fn quick() -> Effort {
        Effort {
            sizes: [1_000, 10_000, 50_000],
            rounds: 3,
            requests: 1 << 14,
            limits: &strictness::LIMITS[..2],
        }
    }

    /// Requests that must be drawn, so that no turn sees what an earlier one saw.
    fn draws(&self) -> usize {
        self.rounds * THREADS_MAX * self.requests
    }

    /// What each thread serves in a round.
    fn slices<'a>(&self, requests: &'a [Request], round: usize, threads: usize) -> Vec<&'a [Request]> {
        let turns = requests.chunks(self.requests).skip(round * THREADS_MAX);
        turns.take(threads).collect()
    }
}

/// Tells whoever waits what is being measured.
fn progress(what: &str) {
    // Nobody may be reading, which is no reason to stop measuring.
    let _ = writeln!(std::io::stderr(), "compare-limiters: {what}");
}
