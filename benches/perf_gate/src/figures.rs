//! The committed figures: what each case cost when somebody last looked, and how far it may move.
//!
//! Counts nothing itself. Called by `main`, which exits with what [`judge`] finds.

use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;
use toml_edit::{DocumentMut, value};

#[cfg(test)]
mod tests;

/// A compiler other than the one of the figures may move every case by so much without anybody having changed a line.
const GROWTH_MAX_OTHER_COMPILER: f64 = 0.10;

/// `benches/perf-gate.toml`.
pub(crate) struct Figures(DocumentMut);

/// How a case stands to its committed figure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Finding {
    /// As it was, give or take.
    Same,
    /// More than the figure allows.
    Grew,
    /// Less by as much as the figure allows it to grow: what was won could be lost again unseen.
    Fell,
}

/// Compares a count with its figure; `growth_max` is a fraction.
pub(crate) fn judge(committed: u32, counted: u32, growth_max: f64) -> Finding {
    let (committed, counted) = (f64::from(committed), f64::from(counted));
    if counted > committed * (1.0 + growth_max) {
        Finding::Grew
    } else if counted < committed * (1.0 - growth_max) {
        Finding::Fell
    } else {
        Finding::Same
    }
}

impl Finding {
    pub(crate) fn is_growth(self) -> bool {
        self == Finding::Grew
    }

    /// One line for a person.
    pub(crate) fn line(self, name: &str, committed: u32, counted: u32) -> String {
        let change = (f64::from(counted) / f64::from(committed) - 1.0) * 100.0;
        let verdict = match self {
            Finding::Same => "",
            Finding::Grew => "  GREW",
            Finding::Fell => "  fell: tighten the figure with `make perf-gate-record`",
        };
        format!("perf-gate: {name:<14} {counted:>6} instructions, {committed:>6} committed, {change:+.1} %{verdict}")
    }
}

impl Figures {
    /// Reads the file.
    ///
    /// # Errors
    /// When it is missing or no TOML.
    pub(crate) fn load() -> Result<Figures> {
        let text = std::fs::read_to_string(file()).with_context(|| format!("{} cannot be read", file().display()))?;
        Ok(Figures(text.parse().context("the committed figures are no TOML")?))
    }

    /// The instructions of a case, if there is a figure for it.
    pub(crate) fn of(&self, case: &str) -> Option<u32> {
        let figure = self.0.get("instructions")?.get(case)?.as_integer()?;
        u32::try_from(figure).ok()
    }

    /// Sets the figure of a case.
    pub(crate) fn set(&mut self, case: &str, instructions: u32) {
        self.0["instructions"][case] = value(i64::from(instructions));
    }

    /// How far a case may grow, as a fraction: wider under a compiler that the figures were not taken with.
    pub(crate) fn growth_max(&self, compiler: &str) -> f64 {
        let committed = self.0.get("growth_max").and_then(toml_edit::Item::as_float);
        let growth_max = committed.unwrap_or(0.03);
        if self.is_taken_with(compiler) {
            growth_max
        } else {
            growth_max.max(GROWTH_MAX_OTHER_COMPILER)
        }
    }

    /// What to say where the compiler is not the one that the figures were taken with.
    pub(crate) fn warning(&self, compiler: &str) -> Option<String> {
        (!self.is_taken_with(compiler)).then(|| {
            format!(
                "this is {compiler}, the figures were taken with {}: {:.0} % of growth are let pass until they are taken again",
                self.compiler().unwrap_or("an unknown compiler"),
                GROWTH_MAX_OTHER_COMPILER * 100.0
            )
        })
    }

    /// Writes the file, as taken with this compiler.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn save(&mut self, compiler: &str) -> Result<()> {
        self.0["compiler"] = value(compiler);
        std::fs::write(file(), self.0.to_string()).with_context(|| format!("{} cannot be written", file().display()))
    }

    fn compiler(&self) -> Option<&str> {
        self.0.get("compiler")?.as_str()
    }

    fn is_taken_with(&self, compiler: &str) -> bool {
        self.compiler() == Some(compiler)
    }
}

/// The compiler and what it compiles for, as the file names them.
///
/// # Errors
/// When it cannot be run.
pub(crate) fn compiler() -> Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let run = Command::new(rustc).arg("-vV").output().context("rustc cannot be run")?;
    ensure!(run.status.success(), "rustc does not say its version");
    compiler_of(&String::from_utf8_lossy(&run.stdout)).context("rustc does not say its version")
}

fn compiler_of(verbose: &str) -> Option<String> {
    let field = |name: &str| verbose.lines().find_map(|line| line.strip_prefix(name));
    Some(format!("rustc {} {}", field("release: ")?, field("host: ")?))
}

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../perf-gate.toml")
}
