//! Has callgrind count one case in a process of its own, and reads what it counted.
//!
//! Only what happens inside `cases::counted_requests` is collected: neither the set-up nor the first requests. Valgrind shows every
//! program the same simulated processor, without AVX-512, so that code which chooses by the processor chooses alike on every
//! x86-64 machine with AVX2; [`count`] refuses one without.

use crate::cases::REQUESTS;
use anyhow::{Context, Result, ensure};
use std::cmp::Reverse;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

#[cfg(test)]
mod tests;

/// What was counted of one case.
pub(crate) struct Counted {
    instructions: u64,
    file: PathBuf,
}

/// Runs a case under callgrind.
///
/// # Errors
/// When valgrind is missing, the case fails, or nothing was collected.
pub(crate) fn count(case: &str) -> Result<Counted> {
    #[cfg(target_arch = "x86_64")]
    ensure!(
        std::arch::is_x86_feature_detected!("avx2"),
        "this processor has no AVX2: hashes and copies would take other code than the committed figures were taken with"
    );
    let program = std::env::current_exe().context("where is this program?")?;
    let folder = program.parent().context("where is this program?")?;
    let file = folder.join(format!("callgrind.{case}.out"));
    let run = Command::new("valgrind")
        .args(["--tool=callgrind", "--toggle-collect=*counted_requests*"])
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(&program)
        .args(["--run", case])
        .stdin(Stdio::null())
        .output()
        .context("valgrind cannot be run: `.ci/setup test` installs it")?;
    ensure!(
        run.status.success(),
        "'{case}' failed under callgrind:\n{}",
        String::from_utf8_lossy(&run.stderr)
    );
    let profile = std::fs::read_to_string(&file).with_context(|| format!("{} cannot be read", file.display()))?;
    let instructions = total(&profile).context("callgrind wrote no total")?;
    ensure!(
        instructions > 0,
        "nothing of '{case}' was counted: does `counted_requests` still have its name?"
    );
    Ok(Counted { instructions, file })
}

impl Counted {
    /// Instructions of one request.
    ///
    /// # Errors
    /// When they are more than any request can be.
    pub(crate) fn per_request(&self) -> Result<u32> {
        Ok(u32::try_from(self.instructions / REQUESTS)?)
    }

    /// The functions in which most of the instructions are spent themselves, one a line, with what a request spends there.
    ///
    /// # Errors
    /// When valgrind's own reader of profiles cannot be run.
    pub(crate) fn hottest(&self, functions_max: usize) -> Result<String> {
        let run = Command::new("callgrind_annotate")
            .args(["--auto=no", "--threshold=100"])
            .arg(&self.file)
            .stdin(Stdio::null())
            .output()
            .context("callgrind_annotate cannot be run: it comes with valgrind")?;
        Ok(hot_lines(
            &String::from_utf8_lossy(&run.stdout),
            REQUESTS,
            functions_max,
        ))
    }
}

/// The total of a profile: of what was collected, in a profile of one event.
fn total(profile: &str) -> Option<u64> {
    let figure = |name: &str| {
        profile
            .lines()
            .rev()
            .find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
    };
    figure("totals:").or_else(|| figure("summary:"))
}

/// The functions of a report, whatever file a line of theirs was inlined from, dearest first; without paths of the machine that it
/// was compiled on.
fn hot_lines(report: &str, requests: u64, lines_max: usize) -> String {
    let mut functions: HashMap<&str, u64> = HashMap::new();
    for line in report.lines() {
        let Some((instructions, function)) = of_function(line) else {
            continue;
        };
        *functions.entry(function).or_default() += instructions;
    }
    let mut functions: Vec<(&str, u64)> = functions.into_iter().collect();
    functions.sort_by_key(|(function, instructions)| (Reverse(*instructions), *function));
    let line = |(function, instructions): &(&str, u64)| format!("{:>8}  {function}\n", instructions / requests);
    functions.iter().take(lines_max).map(line).collect()
}

/// What a line like `600 (60.0%)  src/a.rs:module::function [program]` says. A function without a name has the file's.
fn of_function(line: &str) -> Option<(u64, &str)> {
    let (figure, place) = line.split_once(')')?;
    let instructions = figure.split('(').next()?.trim().replace(',', "").parse().ok()?;
    let place = place.split(" [").next()?.trim();
    let (file, function) = place.split_once(':')?;
    if function.starts_with("0x") {
        return Some((instructions, Path::new(file).file_name()?.to_str()?));
    }
    Some((instructions, function))
}
