//! Many latencies made into three figures.
//!
//! Decides how they are picked and spelled; measures nothing.

/// Latencies in milliseconds, in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Latencies {
    sorted: Vec<f64>,
}

impl Latencies {
    /// Of any order.
    pub(crate) fn of(mut milliseconds: Vec<f64>) -> Latencies {
        milliseconds.sort_by(f64::total_cmp);
        Latencies { sorted: milliseconds }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.sorted.len()
    }

    /// The one below which `percent` of all lie, by the nearest rank; not a number when there are none.
    pub(crate) fn percentile(&self, percent: usize) -> f64 {
        let rank = (self.sorted.len() * percent).div_ceil(100).max(1);
        self.sorted.get(rank - 1).copied().unwrap_or(f64::NAN)
    }

    /// The longest.
    pub(crate) fn max(&self) -> f64 {
        self.percentile(100)
    }

    /// All, in order.
    pub(crate) fn sorted(&self) -> &[f64] {
        &self.sorted
    }

    /// Cells of a table: p50, p99 and the longest.
    pub(crate) fn cells(&self) -> String {
        format!(
            "{:.1} | {:.1} | {:.1}",
            self.percentile(50),
            self.percentile(99),
            self.max()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_one_of_those_that_were_measured() {
        let all = Latencies::of((1..=200).rev().map(f64::from).collect());
        for (percent, expected) in [(0, 1.0), (50, 100.0), (99, 198.0), (100, 200.0)] {
            assert!((all.percentile(percent) - expected).abs() < f64::EPSILON, "{percent}");
        }
        assert!(Latencies::default().max().is_nan());
    }
}
