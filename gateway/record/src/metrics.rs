//! Every metric of the program: its name, its help, and the handle that records it.
//!
//! Knows nothing of requests; callers say what happened. What every request records is counted beside the thread that records it.
//! The proxy and the decision API record; the admin listener copies the engine's own counts in and renders.

use crate::label::{self, OUTCOMES, REFUSALS, STATUS_CLASSES, TURNED_AWAY, UPSTREAM_ERRORS};
use portcullis_verify::CacheStats;
use prometheus::core::{Collector, Desc};
use prometheus::{Error, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

mod lane;
mod recording;
mod sync;
#[cfg(test)]
mod tests;
mod times;

use recording::{Folded, HeldGuard, Holding, Recording};
use sync::SyncMetrics;
pub use sync::SyncTotals;
use times::{DECISION, EXCHANGE, TimesCollector};

/// Where a request came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Surface {
    /// The reverse proxy.
    Proxy,
    /// The decision API.
    Authz,
}

impl Surface {
    const fn name(self) -> &'static str {
        match self {
            Surface::Proxy => "proxy",
            Surface::Authz => "authz",
        }
    }
}

/// The registry of one process. Shared by reference; recording never blocks.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    recording: Recording,
    folded: Folded,
    turned_away: Vec<IntCounter>,
    cache: CacheMetrics,
    limits: LimitMetrics,
    usage: UsageMetrics,
    sync: SyncMetrics,
    /// Held while another part's totals are copied, so that two scrapes at once do not add the same growth twice.
    copying: Mutex<()>,
}

/// What the limiter holds and has done since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitTotals {
    /// Counters held now, shared ones included.
    pub counters: u64,
    /// Most counters of one subject each.
    pub counters_max: u64,
    /// Charges to shared counters.
    pub overflowed: u64,
    /// Idle counters dropped.
    pub evicted: u64,
}

/// How the reports of what keys were used for fare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UsageTotals {
    /// Batches that were acknowledged, since the start.
    pub batches_sent: u64,
    /// Times that a batch was not, since the start.
    pub batches_failed: u64,
    /// Rows that wait to be sent or to be acknowledged.
    pub rows_waiting: u64,
    /// Rows given up, since the start.
    pub rows_dropped: u64,
    /// Seconds for which the oldest batch has waited to be acknowledged.
    pub oldest_s: u64,
}

#[derive(Debug)]
struct CacheMetrics {
    hits: IntCounter,
    misses: IntCounter,
    fills: IntCounter,
    fill_errors: IntCounter,
    known_keys: IntGauge,
    unknown_keys: IntGauge,
    throttled_addresses: IntGauge,
}

#[derive(Debug)]
struct LimitMetrics {
    counters: IntGauge,
    counters_max: IntGauge,
    overflowed: IntCounter,
    evicted: IntCounter,
    saves: IntCounter,
    save_failures: IntCounter,
}

#[derive(Debug)]
struct UsageMetrics {
    batches_sent: IntCounter,
    batches_failed: IntCounter,
    rows_waiting: IntGauge,
    rows_dropped: IntCounter,
    oldest_seconds: IntGauge,
}

impl Metrics {
    /// Registers every metric. Fails only on a name or a label that is registered twice or is not a name.
    pub fn new() -> Result<Metrics, Error> {
        let registry = Registry::new();
        let register = &Registration(&registry);
        let decisions = register.counters(
            "portcullis_decisions_total",
            "Decisions by the surface that asked and by outcome.",
            &["surface", "outcome"],
        )?;
        let connections = register.gauges(
            "portcullis_connections",
            "Client connections that are open now, by surface.",
            &["surface"],
        )?;
        let refusals = register.counters(
            "portcullis_refusals_total",
            "Requests refused before any decision, by reason.",
            &["reason"],
        )?;
        let upstream_errors = register.counters(
            "portcullis_upstream_errors_total",
            "Failures at an upstream, by kind.",
            &["kind"],
        )?;
        let turned_away = register.counters(
            "portcullis_connections_turned_away_total",
            "Client connections refused, or closed before their clients were done with them, by reason.",
            &["reason"],
        )?;
        let build = register.gauges(
            "portcullis_build_info",
            "Always 1; the label says what runs.",
            &["version"],
        )?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        #[cfg(target_os = "linux")]
        registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        let recording = Recording::new();
        let desc = |name: &str, help: &str, labels: &[&str]| {
            let labels = labels.iter().map(|label| (*label).to_owned()).collect();
            Desc::new(name.to_owned(), help.to_owned(), labels, HashMap::new())
        };
        registry.register(Box::new(TimesCollector {
            desc: desc(
                "portcullis_decision_seconds",
                "Time from a presented key to its verdict.",
                &[],
            )?,
            scale: DECISION,
            lanes: Arc::clone(&recording.lanes),
            words: &[""],
            pick: |cells, _| &cells.decision_times,
        }))?;
        registry.register(Box::new(TimesCollector {
            desc: desc(
                "portcullis_proxied_seconds",
                "Time from a request's head to the end of its answer, by class of status.",
                &["class"],
            )?,
            scale: EXCHANGE,
            lanes: Arc::clone(&recording.lanes),
            words: STATUS_CLASSES,
            pick: |cells, class| &cells.exchange_times[class],
        }))?;
        let each = |words: &[&str], counters: &IntCounterVec, surface: &[&str]| {
            let resolve = |word: &&str| counters.with_label_values(&[surface, &[word]].concat());
            words.iter().map(resolve).collect()
        };
        let folded = Folded {
            decisions: [Surface::Proxy, Surface::Authz].map(|surface| each(OUTCOMES, &decisions, &[surface.name()])),
            refusals: each(REFUSALS, &refusals, &[]),
            upstream_errors: each(UPSTREAM_ERRORS, &upstream_errors, &[]),
            streams_cut: register.counter(
                "portcullis_streams_cut_total",
                "Exchanges under way that were ended because their key no longer opens their route.",
            )?,
            held: [
                register.gauge(
                    "portcullis_requests_in_flight",
                    "Requests that came in and are not answered yet.",
                )?,
                connections.with_label_values(&[Surface::Proxy.name()]),
                connections.with_label_values(&[Surface::Authz.name()]),
            ],
        };
        Ok(Metrics {
            recording,
            folded,
            turned_away: each(TURNED_AWAY, &turned_away, &[]),
            cache: CacheMetrics::new(register)?,
            limits: LimitMetrics::new(register)?,
            usage: UsageMetrics::new(register)?,
            sync: SyncMetrics::new(register)?,
            copying: Mutex::new(()),
            registry,
        })
    }

    /// Records a decision: `allowed`, the name of a denial's reason, or `control_unavailable`; anything else counts as
    /// `other`. `elapsed` runs from the presented key to the verdict.
    #[inline]
    pub fn decision(&self, surface: Surface, outcome: &str, elapsed: Duration) {
        self.recording.decision(surface, outcome, elapsed);
    }

    /// Records a whole exchange, from the request's head to the end of the answer with this status.
    #[inline]
    pub fn proxied(&self, status: u16, elapsed: Duration) {
        self.recording.exchange(status, elapsed);
    }

    /// Records a request that was refused before any decision, by the reason of its refusal.
    pub fn refused_before_decision(&self, reason: &'static str) {
        self.recording.refused(reason);
    }

    /// Records a failure at an upstream.
    pub fn upstream_error(&self, kind: &'static str) {
        self.recording.upstream_error(kind);
    }

    /// Records a client's connection that was refused, or closed before its client was done with it.
    pub fn turned_away(&self, reason: &'static str) {
        if let Some(counter) = self.turned_away.get(label::index(TURNED_AWAY, reason)) {
            counter.inc();
        }
    }

    /// Records that an exchange under way was ended because of its key.
    pub fn stream_cut(&self) {
        self.recording.stream_cut();
    }

    /// Records that the limiter's counters were written down, or could not be.
    pub fn limits_saved(&self, is_done: bool) {
        if is_done {
            self.limits.saves.inc();
        } else {
            self.limits.save_failures.inc();
        }
    }

    /// Counts a connection until the guard is dropped.
    pub fn connection(&self, surface: Surface) -> ConnectionGuard {
        ConnectionGuard(self.recording.hold(Holding::Connection(surface)))
    }

    /// Counts a request as unanswered until the guard is dropped.
    #[inline]
    pub fn request_in_flight(&self) -> InFlightGuard {
        InFlightGuard(self.recording.hold(Holding::Request))
    }

    /// Copies the cache's own counts; called at scrape time.
    pub fn observe_cache(&self, stats: &CacheStats) {
        let _copying = self.copying.lock().unwrap_or_else(PoisonError::into_inner);
        raise_to(&self.cache.hits, stats.hits);
        raise_to(&self.cache.misses, stats.misses);
        raise_to(&self.cache.fills, stats.fills);
        raise_to(&self.cache.fill_errors, stats.fill_errors);
        set(&self.cache.known_keys, stats.known_keys);
        set(&self.cache.unknown_keys, stats.unknown_keys);
        set(&self.cache.throttled_addresses, stats.throttled_addresses);
    }

    /// Copies the limiter's own counts; called at scrape time.
    pub fn observe_limits(&self, totals: &LimitTotals) {
        let _copying = self.copying.lock().unwrap_or_else(PoisonError::into_inner);
        set(&self.limits.counters, totals.counters);
        set(&self.limits.counters_max, totals.counters_max);
        raise_to(&self.limits.overflowed, totals.overflowed);
        raise_to(&self.limits.evicted, totals.evicted);
    }

    /// Copies the counts of whoever reports usage; called when they change.
    pub fn observe_usage(&self, totals: &UsageTotals) {
        let _copying = self.copying.lock().unwrap_or_else(PoisonError::into_inner);
        raise_to(&self.usage.batches_sent, totals.batches_sent);
        raise_to(&self.usage.batches_failed, totals.batches_failed);
        set(&self.usage.rows_waiting, totals.rows_waiting);
        raise_to(&self.usage.rows_dropped, totals.rows_dropped);
        set(&self.usage.oldest_seconds, totals.oldest_s);
    }

    /// Copies how far the change log was followed; called at scrape time.
    pub fn observe_sync(&self, totals: &SyncTotals) {
        let _copying = self.copying.lock().unwrap_or_else(PoisonError::into_inner);
        self.sync.observe(totals);
    }

    /// Everything, in the Prometheus text format 0.0.4.
    pub fn render(&self) -> Result<String, Error> {
        let copying = self.copying.lock().unwrap_or_else(PoisonError::into_inner);
        self.recording.fold_into(&self.folded);
        drop(copying);
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

impl CacheMetrics {
    fn new(register: &Registration<'_>) -> Result<CacheMetrics, Error> {
        let keys = register.gauges(
            "portcullis_cache_keys",
            "Hashes held in the key cache, by state.",
            &["state"],
        )?;
        Ok(CacheMetrics {
            hits: register.counter("portcullis_cache_hits_total", "Look-ups answered from the key cache.")?,
            misses: register.counter(
                "portcullis_cache_misses_total",
                "Look-ups that the key cache could not answer.",
            )?,
            fills: register.counter("portcullis_cache_fills_total", "Questions put to the key source.")?,
            fill_errors: register.counter(
                "portcullis_cache_fill_errors_total",
                "Questions that the key source did not answer.",
            )?,
            known_keys: keys.with_label_values(&["known"]),
            unknown_keys: keys.with_label_values(&["unknown"]),
            throttled_addresses: register.gauge(
                "portcullis_throttled_addresses",
                "Addresses tracked because they asked for unknown keys.",
            )?,
        })
    }
}

impl LimitMetrics {
    fn new(register: &Registration<'_>) -> Result<LimitMetrics, Error> {
        Ok(LimitMetrics {
            counters: register.gauge(
                "portcullis_limit_counters",
                "Rate-limit counters held now, shared ones included.",
            )?,
            counters_max: register.gauge(
                "portcullis_limit_counters_max",
                "Most rate-limit counters of one subject each (limits.counters_max); past it, new subjects share.",
            )?,
            overflowed: register.counter(
                "portcullis_limit_overflow_total",
                "Charges that went to a shared rate-limit counter because limits.counters_max was reached, one per rule.",
            )?,
            evicted: register.counter(
                "portcullis_limit_evictions_total",
                "Idle rate-limit counters dropped; nothing is lost with them.",
            )?,
            saves: register.counter(
                "portcullis_limit_saves_total",
                "Times that rate-limit counters were written to limits.persist_file.",
            )?,
            save_failures: register.counter(
                "portcullis_limit_save_failures_total",
                "Times that they could not be; a restart goes on from what was written before.",
            )?,
        })
    }
}

impl UsageMetrics {
    fn new(register: &Registration<'_>) -> Result<UsageMetrics, Error> {
        Ok(UsageMetrics {
            batches_sent: register.counter(
                "portcullis_usage_batches_sent_total",
                "Batches of per-key counts that were acknowledged.",
            )?,
            batches_failed: register.counter(
                "portcullis_usage_batches_failed_total",
                "Times that a batch of per-key counts was not acknowledged; it is sent again under the same id.",
            )?,
            rows_waiting: register.gauge(
                "portcullis_usage_rows_waiting",
                "Rows of per-key counts that wait to be reported.",
            )?,
            rows_dropped: register.counter(
                "portcullis_usage_rows_dropped_total",
                "Rows of per-key counts that there was no room for while they could not be reported, or that were not taken.",
            )?,
            oldest_seconds: register.gauge(
                "portcullis_usage_oldest_seconds",
                "How long the oldest batch of per-key counts has waited to be acknowledged.",
            )?,
        })
    }
}

/// Makes metrics and registers them in one step.
struct Registration<'a>(&'a Registry);

impl Registration<'_> {
    fn add<T: Collector + Clone + 'static>(&self, metric: T) -> Result<T, Error> {
        self.0.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    fn counter(&self, name: &str, help: &str) -> Result<IntCounter, Error> {
        self.add(IntCounter::new(name, help)?)
    }

    fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, Error> {
        self.add(IntGauge::new(name, help)?)
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, Error> {
        self.add(IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, Error> {
        self.add(IntGaugeVec::new(Opts::new(name, help), labels)?)
    }
}

/// Brings a counter up to a total that is kept elsewhere. A total that shrank leaves it as it is.
fn raise_to(counter: &IntCounter, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}

fn set(gauge: &IntGauge, value: u64) {
    gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
}

/// An open connection. Dropping it closes the books on it.
#[derive(Debug)]
#[must_use]
pub struct ConnectionGuard(#[expect(dead_code, reason = "held for its drop")] HeldGuard);

/// An unanswered request. Dropping it closes the books on it.
#[derive(Debug)]
#[must_use]
pub struct InFlightGuard(#[expect(dead_code, reason = "held for its drop")] HeldGuard);
