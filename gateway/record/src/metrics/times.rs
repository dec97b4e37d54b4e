//! How long things took, in buckets: cells that a lane holds, and how all of them are shown as one histogram.
//!
//! Knows neither what was timed nor whose lane it is. Only [`super::recording`] uses it.

use super::lane::{Here, Lanes};
use prometheus::core::{Collector, Desc};
use prometheus::proto::{Bucket, Histogram, LabelPair, Metric, MetricFamily, MetricType};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// The upper bounds of buckets, and what their unit is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale<const N: usize> {
    bounds: [u64; N],
    duration: fn(u64) -> Duration,
}

/// From a decision on a warm key to one that waits for a look-up, in nanoseconds.
#[rustfmt::skip]
pub(super) const DECISION: Scale<21> = Scale {
    bounds: [
        200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000, 2_000_000,
        5_000_000, 10_000_000, 20_000_000, 50_000_000, 100_000_000, 200_000_000, 500_000_000, 1_000_000_000,
    ],
    duration: Duration::from_nanos,
};

/// From a fast upstream to a long stream, in microseconds: streams add up to more nanoseconds than a cell holds.
pub(super) const EXCHANGE: Scale<16> = Scale {
    bounds: [
        500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
        10_000_000, 30_000_000, 60_000_000,
    ],
    duration: Duration::from_micros,
};

/// Counts by bucket and the total, both in the unit of a [`Scale`] of as many bounds.
#[derive(Debug)]
pub(super) struct Times<const N: usize> {
    buckets: [AtomicU64; N],
    beyond: AtomicU64,
    sum: AtomicU64,
}

impl<const N: usize> Default for Times<N> {
    fn default() -> Times<N> {
        Times {
            buckets: std::array::from_fn(|_| AtomicU64::new(0)),
            beyond: AtomicU64::new(0),
            sum: AtomicU64::new(0),
        }
    }
}

impl<const N: usize> Times<N> {
    /// Counts something that took so long. `here` is the lane that holds these cells.
    #[inline]
    pub(super) fn add<T>(&self, here: &Here<'_, T>, scale: &Scale<N>, elapsed: u64) {
        let bucket = scale.bounds.iter().position(|bound| elapsed <= *bound);
        here.add(
            bucket.and_then(|index| self.buckets.get(index)).unwrap_or(&self.beyond),
            1,
        );
        here.add(&self.sum, elapsed);
    }
}

/// A histogram for each word of a label, or one without a label, made of the cells in the lanes when it is asked for.
pub(super) struct TimesCollector<T, const N: usize> {
    /// What it is called and what it tells.
    pub(super) desc: Desc,
    /// In what buckets.
    pub(super) scale: Scale<N>,
    /// Where the cells are.
    pub(super) lanes: Arc<Lanes<T>>,
    /// The words of the label; a single empty one where there is no label.
    pub(super) words: &'static [&'static str],
    /// The cells of a word, by its place.
    pub(super) pick: fn(&T, usize) -> &Times<N>,
}

impl<T: Default + Send + Sync, const N: usize> TimesCollector<T, N> {
    /// The bucket counts are read once and the rest made of them, so that they agree with each other.
    fn histogram(&self, word: usize) -> Histogram {
        let seconds = |count| (self.scale.duration)(count).as_secs_f64();
        let mut count = 0_u64;
        let mut buckets = Vec::with_capacity(N);
        for (index, bound) in self.scale.bounds.iter().enumerate() {
            count = count.wrapping_add(self.lanes.sum(|cells| {
                let times = (self.pick)(cells, word);
                times.buckets.get(index).unwrap_or(&times.beyond)
            }));
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(seconds(*bound));
            bucket.set_cumulative_count(count);
            buckets.push(bucket);
        }
        let beyond = self.lanes.sum(|cells| &(self.pick)(cells, word).beyond);
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets);
        histogram.set_sample_count(count.wrapping_add(beyond));
        histogram.set_sample_sum(seconds(self.lanes.sum(|cells| &(self.pick)(cells, word).sum)));
        histogram
    }
}

impl<T: Default + Send + Sync, const N: usize> Collector for TimesCollector<T, N> {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let series = |(index, word): (usize, &&str)| {
            let label = |name: &String| {
                let mut label = LabelPair::default();
                label.set_name(name.clone());
                label.set_value((*word).to_owned());
                label
            };
            let mut metric = Metric::from_label(self.desc.variable_labels.iter().map(label).collect());
            metric.set_histogram(self.histogram(index));
            metric
        };
        let mut family = MetricFamily::default();
        family.set_name(self.desc.fq_name.clone());
        family.set_help(self.desc.help.clone());
        family.set_field_type(MetricType::HISTOGRAM);
        family.set_metric(self.words.iter().enumerate().map(series).collect());
        vec![family]
    }
}
