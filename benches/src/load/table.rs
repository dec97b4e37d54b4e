//! One table of a section: a row for each target.
//!
//! Decides how figures are shown; measures nothing.

use super::rotation::{Measured, Slice};
use crate::limiters::figures::{median, span};
use anyhow::Result;
use std::fmt::Write as _;

const HEAD: &str = "| target | requests/s | ratio to the base | requests per core-second, ratio to the base | CPU µs/request (user/system) | core busy % | p50 / p99 / p99.9 µs | MB/s | memory MB |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|\n";

/// All targets of a section.
pub(crate) fn table(measured: &[Measured]) -> Result<String> {
    let mut table = HEAD.to_owned();
    for (index, target) in measured.iter().enumerate() {
        let of = |figure: fn(&Slice) -> f64| -> Vec<f64> { target.slices.iter().map(figure).collect() };
        let middle = |figure: fn(&Slice) -> f64| median(&of(figure));
        let ratio = |figure: fn(&Slice) -> f64| {
            if index == 0 {
                return "1.00".to_owned();
            }
            let [low, middle, high] = span(&of(figure));
            format!("{middle:.2} ({low:.2}–{high:.2})")
        };
        let [low, per_second, high] = span(&of(|slice| slice.per_second));
        writeln!(
            table,
            "| {} | {} ({}–{}) | {} | {} | {:.1} ({:.1}/{:.1}) | {:.0} | {:.0} / {:.0} / {:.0} | {:.0} | {:.0} |",
            target.name,
            count(per_second),
            count(low),
            count(high),
            ratio(|slice| slice.ratio),
            ratio(|slice| slice.core_ratio),
            middle(|slice| slice.cpu_us),
            middle(|slice| slice.user_us),
            middle(|slice| slice.system_us),
            middle(|slice| slice.busy * 100.0),
            middle(|slice| slice.p50_us as f64),
            middle(|slice| slice.p99_us as f64),
            middle(|slice| slice.p999_us as f64),
            middle(|slice| slice.megabytes_per_second),
            middle(|slice| slice.memory_bytes as f64 / 1e6),
        )?;
    }
    Ok(table)
}

/// Requests per second, short.
fn count(per_second: f64) -> String {
    if per_second < 1e3 {
        format!("{per_second:.0}")
    } else {
        format!("{:.1} k", per_second / 1e3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_requests_are_not_rounded_to_none() {
        assert_eq!([0.4, 37.2, 999.4, 52_345.0].map(count), ["0", "37", "999", "52.3 k"]);
    }
}
