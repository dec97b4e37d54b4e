//! Many figures made into one: medians, spans, the worst of outcomes, and how they are spelled.
//!
//! Decides nothing about where they stand; the page and the plots do.

use super::strictness::Outcome;
use anyhow::Result;
use std::fmt::Write as _;

/// The worst of a few outcomes.
pub(crate) struct Worst {
    pub(crate) count: u64,
    pub(crate) percent: f64,
}

/// The outcome with the largest figure in percent of its limit.
pub(crate) fn worst<'a>(
    outcomes: impl Iterator<Item = &'a Outcome>,
    figure: impl Fn(&Outcome) -> u64,
) -> Option<Worst> {
    let all = outcomes.map(|outcome| Worst {
        count: figure(outcome),
        percent: figure(outcome) as f64 * 100.0 / f64::from(outcome.limit),
    });
    all.max_by(|left, right| left.percent.total_cmp(&right.percent))
}

/// The figure in the middle.
pub(crate) fn median(figures: &[f64]) -> f64 {
    span(figures)[1]
}

/// The lowest, the middle and the highest figure.
pub(crate) fn span(figures: &[f64]) -> [f64; 3] {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    [0, sorted.len() / 2, sorted.len().saturating_sub(1)].map(|index| sorted.get(index).copied().unwrap_or(f64::NAN))
}

/// The middle figure, with the lowest and the highest in brackets.
pub(crate) fn spanned(figures: &[f64]) -> String {
    let [low, middle, high] = span(figures);
    format!("{middle:.0} ({low:.0}–{high:.0})")
}

/// A count and its percentage of the limit.
pub(crate) fn counted(worst: Option<Worst>) -> String {
    match worst {
        Some(Worst { count: 0, .. }) | None => "0".to_owned(),
        Some(Worst { count, percent }) => format!("{count} ({percent:.1} %)"),
    }
}

/// A round number, short.
pub(crate) fn thousands(count: u32) -> String {
    if count.is_multiple_of(1_000_000) {
        format!("{} M", count / 1_000_000)
    } else {
        format!("{} k", count / 1_000)
    }
}

/// Adds a row of a table: a name, then cells.
pub(crate) fn row(page: &mut String, name: &str, cells: impl Iterator<Item = String>) -> Result<()> {
    let cells: Vec<String> = cells.collect();
    writeln!(page, "| {name} | {} |", cells.join(" | "))?;
    Ok(())
}

/// Adds the line under a table's head, for so many columns of figures.
pub(crate) fn rule(page: &mut String, columns: usize) -> Result<()> {
    writeln!(page, "|---|{}", "---:|".repeat(columns))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_stands_in_the_middle_whatever_the_order() {
        assert_eq!(span(&[3.0, 1.0, 2.0, 9.0, 0.5]), [0.5, 2.0, 9.0]);
        assert_eq!(spanned(&[10.4, 12.6, 11.0]), "11 (10–13)");
        assert!(median(&[]).is_nan());
    }
}
