//! How fast a revocation reaches a fleet, and what a fleet costs: real processes of the release binary on this machine.
//!
//! Decides the order and the effort of the measurements; each module takes one of them. Called by the `measure-revocation` binary.

mod fleet;
mod latency;
mod page;
mod plot;
mod preload;
mod quantiles;
mod watchers;

use anyhow::{Context, Result, bail};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    /// Gateways that hear of revocations.
    pub(crate) gateways: usize,
    /// Revocations of each kind.
    pub(crate) revocations: usize,
    /// Requests per second of the load, over all gateways.
    pub(crate) load_per_second: u32,
    /// Keys that are preloaded.
    pub(crate) keys: u32,
    /// Watchers of one control API.
    pub(crate) watchers: usize,
    /// Between two pings of a watcher.
    pub(crate) ping_every: Duration,
    /// Revocations that the watchers hear of.
    pub(crate) fan_outs: usize,
}

impl Effort {
    const FULL: Effort = Effort {
        gateways: 16,
        revocations: 200,
        load_per_second: 2_000,
        keys: 1_000_000,
        watchers: 9_500,
        ping_every: Duration::from_secs(10),
        fan_outs: 20,
    };
    const QUICK: Effort = Effort {
        gateways: 4,
        revocations: 10,
        load_per_second: 200,
        keys: 10_000,
        watchers: 200,
        ping_every: Duration::from_secs(2),
        fan_outs: 3,
    };
}

/// Runs all measurements and writes the page and its plot.
///
/// # Errors
/// When an argument is not known, the release binary or `sqlite3` is missing, a process does not do what it is asked, or a result
/// cannot be written.
pub fn run(arguments: &[String]) -> Result<()> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (effort, folder) = match arguments.first().map(String::as_str) {
        None => (Effort::FULL, here.join("results")),
        Some("--quick") => {
            let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| here.join("../target"), PathBuf::from);
            (Effort::QUICK, target.join("revocation-quick"))
        }
        Some(other) => bail!("{other} is not known; there is only --quick"),
    };
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(measure(effort, &folder))
}

async fn measure(effort: Effort, folder: &Path) -> Result<()> {
    let date = crate::machine::date()?;
    progress("revocations, quiet");
    let quiet = latency::measure(effort, 0).await?;
    progress("revocations, under load");
    let loaded = latency::measure(effort, effort.load_per_second).await?;
    progress("preloading");
    let preload = preload::measure(effort).await?;
    progress("watchers");
    let watchers = watchers::measure(effort).await?;
    plot::draw(&quiet, &loaded, &folder.join(format!("{date}-revocation.svg")))?;
    let measured = page::Measured {
        date: &date,
        effort,
        quiet: &quiet,
        loaded: &loaded,
        preload: &preload,
        watchers: &watchers,
    };
    let page = folder.join(format!("{date}-revocation.md"));
    std::fs::write(&page, measured.page()?).with_context(|| format!("cannot write {}", page.display()))?;
    progress(&format!("wrote {}", page.display()));
    Ok(())
}

/// Says where the program is.
fn progress(what: &str) {
    // Nobody is left to tell when standard error is closed.
    let _ = writeln!(std::io::stderr(), "{what}");
}
