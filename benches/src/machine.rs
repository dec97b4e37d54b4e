//! The day and the machine of a measurement, which every page of results opens with.
//!
//! Decides nothing; reads what the kernel tells. Called by whatever writes to `results/`.

use anyhow::Result;
use portcullis_verify::Clock;

/// Today's date in UTC, as files are named by it.
///
/// # Errors
/// When the machine's clock is outside the calendar.
pub fn date() -> Result<String> {
    let now = jiff::Timestamp::from_microsecond(Clock::system().now().wall_us)?;
    Ok(now.strftime("%Y-%m-%d").to_string())
}

/// Processor and system, as the kernel tells them.
#[must_use]
pub fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1))
        .unwrap_or("unknown");
    let cores = cpuinfo.lines().filter(|line| line.starts_with("processor")).count();
    let kernel = read("/proc/sys/kernel/osrelease");
    let memory = read("/proc/meminfo");
    let memory = memory
        .lines()
        .next()
        .and_then(|line| line.split_whitespace().nth(1))
        .and_then(|kib| kib.parse::<u64>().ok());
    format!(
        "{model}, {cores} cores, {} GiB, Linux {}",
        memory.unwrap_or(0) / 1_048_576,
        kernel.trim()
    )
}
