//! Latencies counted in steps, and percentiles read from them.
//!
//! Decides the steps: a microsecond up to 32 ms, 256 of them beyond. Knows nothing of what took so long.

/// Below this, every microsecond has a step of its own.
const FINE_US: u64 = 32_768;
/// Microseconds in a step beyond.
const COARSE_US: u64 = 256;
/// Steps beyond; the last also counts what is longer still, some 17 s.
const COARSE_STEPS: u64 = 65_536;

/// Counted latencies.
#[derive(Debug, Clone)]
pub(crate) struct Histogram {
    steps: Vec<u32>,
    count: u64,
}

impl Histogram {
    /// Of nothing yet.
    pub(crate) fn new() -> Histogram {
        Histogram {
            steps: vec![0; usize::try_from(FINE_US + COARSE_STEPS).unwrap_or(0)],
            count: 0,
        }
    }

    /// Counts one.
    pub(crate) fn add(&mut self, us: u64) {
        let step = if us < FINE_US {
            us
        } else {
            FINE_US + ((us - FINE_US) / COARSE_US).min(COARSE_STEPS - 1)
        };
        if let Some(count) = usize::try_from(step).ok().and_then(|step| self.steps.get_mut(step)) {
            *count = count.saturating_add(1);
            self.count += 1;
        }
    }

    /// Microseconds within which `thousandths` of all stayed, by the nearest rank; 0 when there are none.
    pub(crate) fn percentile(&self, thousandths: u64) -> u64 {
        let rank = (self.count * thousandths).div_ceil(1_000).max(1);
        let mut seen = 0;
        for (step, &count) in (0_u64..).zip(&self.steps) {
            seen += u64::from(count);
            if seen >= rank {
                return if step < FINE_US {
                    step
                } else {
                    FINE_US + (step - FINE_US + 1) * COARSE_US
                };
            }
        }
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_read_from_the_steps() {
        let mut histogram = Histogram::new();
        assert_eq!(histogram.percentile(500), 0);
        for us in 1..=1_000 {
            histogram.add(us);
        }
        for (thousandths, expected) in [(500, 500), (990, 990), (999, 999), (1_000, 1_000), (0, 1)] {
            assert_eq!(histogram.percentile(thousandths), expected, "{thousandths}");
        }
        histogram.add(u64::MAX);
        histogram.add(40_000);
        assert!((40_000..=40_000 + COARSE_US).contains(&histogram.percentile(999)));
        assert!(histogram.percentile(1_000) > 16_000_000);
    }
}
