//! Holds the instructions of a decision against committed figures, so that a change which makes requests dearer is seen before it lands.
//!
//! Knows no time and no machine: callgrind counts the same whatever else runs. `make perf-gate` and `make test` call it.
//!
//! usage: perf-gate              count every case, compare; exit code 1 when one grew too much
//!        perf-gate --record     count every case, write the counts to `benches/perf-gate.toml`
//!        perf-gate --hot CASE   the functions that a case spends its instructions in
//!        perf-gate --run CASE   run one case, as callgrind does

mod callgrind;
mod cases;
mod engine;
mod figures;
mod request;

use anyhow::{Context, Result};
use figures::Figures;
use std::io::Write;
use std::process::ExitCode;

// The allocator of the gateway's own binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Functions shown of a case that grew.
const HOT_SHOWN: usize = 12;

fn main() -> Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [] => compare(),
        ["--record"] => record(),
        ["--hot", case] => {
            let counted = callgrind::count(case)?;
            write!(std::io::stdout(), "{}", counted.hottest(HOT_SHOWN)?)?;
            Ok(ExitCode::SUCCESS)
        }
        ["--run", case] => {
            cases::run(case)?;
            Ok(ExitCode::SUCCESS)
        }
        _ => anyhow::bail!("usage: perf-gate [--record | --hot CASE | --run CASE]"),
    }
}

fn compare() -> Result<ExitCode> {
    let figures = Figures::load()?;
    let compiler = figures::compiler()?;
    let mut out = std::io::stdout();
    let growth_max = figures.growth_max(&compiler);
    if let Some(warning) = figures.warning(&compiler) {
        writeln!(out, "perf-gate: {warning}")?;
    }
    let mut grown = Vec::new();
    for name in cases::names() {
        let profile = callgrind::count(name)?;
        let counted = profile.per_request()?;
        let committed = figures.of(name).with_context(|| {
            format!("no figure is committed for '{name}': take one with `make perf-gate-record`, and commit it")
        })?;
        let finding = figures::judge(committed, counted, growth_max);
        writeln!(out, "{}", finding.line(name, committed, counted))?;
        if finding.is_growth() {
            write!(out, "{}", profile.hottest(HOT_SHOWN)?)?;
            grown.push(name);
        }
    }
    if grown.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    writeln!(
        out,
        "perf-gate: FAILED: {} grew by more than {:.0} %. If it has to be so, take the figures again with\n\
         perf-gate: `make perf-gate-record`, and say why in the commit.",
        grown.join(", "),
        growth_max * 100.0
    )?;
    Ok(ExitCode::FAILURE)
}

fn record() -> Result<ExitCode> {
    let mut figures = Figures::load()?;
    for name in cases::names() {
        let counted = callgrind::count(name)?.per_request()?;
        writeln!(std::io::stdout(), "{name}: {counted}")?;
        figures.set(name, counted);
    }
    figures.save(&figures::compiler()?)?;
    Ok(ExitCode::SUCCESS)
}
