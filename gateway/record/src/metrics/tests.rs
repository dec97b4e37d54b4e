use super::*;
use portcullis_verify::DenialReason;
use std::collections::{HashMap, HashSet};

/// One sample line: its name, its labels in order, its value.
#[derive(Debug, PartialEq)]
struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

#[derive(Debug, Default)]
struct Exposition {
    help: HashMap<String, String>,
    kind: HashMap<String, String>,
    samples: Vec<Sample>,
}

impl Exposition {
    fn of(metrics: &Metrics) -> Exposition {
        Exposition::parse(&metrics.render().unwrap())
    }

    /// Reads the text format 0.0.4, and refuses everything that a scraper might.
    fn parse(text: &str) -> Exposition {
        let mut exposition = Exposition::default();
        assert!(text.ends_with('\n'), "the last line must end");
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').expect("help has a text");
                assert!(
                    exposition.help.insert(name.into(), help.into()).is_none(),
                    "two helps for {name}"
                );
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a type has a kind");
                assert!(
                    ["counter", "gauge", "histogram"].contains(&kind),
                    "unexpected kind in {line}"
                );
                assert!(
                    exposition.kind.insert(name.into(), kind.into()).is_none(),
                    "two types for {name}"
                );
            } else {
                let sample = Sample::parse(line);
                let family = exposition.family(&sample.name);
                assert!(
                    exposition.kind.contains_key(&family),
                    "a sample before its type: {line}"
                );
                exposition.samples.push(sample);
            }
        }
        exposition
    }

    /// The metric that a sample belongs to: histograms spread over three suffixes.
    fn family(&self, name: &str) -> String {
        ["_bucket", "_sum", "_count"]
            .iter()
            .filter_map(|suffix| name.strip_suffix(suffix))
            .find(|base| self.kind.get(*base).is_some_and(|kind| kind == "histogram"))
            .unwrap_or(name)
            .to_owned()
    }

    fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let labels: Vec<_> = labels
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        let sample = self
            .samples
            .iter()
            .find(|sample| sample.name == name && sample.labels == labels);
        sample.unwrap_or_else(|| panic!("no sample {name} {labels:?}")).value
    }
}

impl Sample {
    fn parse(line: &str) -> Sample {
        let (series, value) = line.rsplit_once(' ').expect("a sample has a value");
        let (name, labels) = match series.split_once('{') {
            None => (series, Vec::new()),
            Some((name, rest)) => {
                let inner = rest.strip_suffix('}').expect("labels are closed");
                let pairs = inner.split(',').map(|pair| {
                    let (key, quoted) = pair.split_once('=').expect("a label has a value");
                    let value = quoted
                        .strip_prefix('"')
                        .and_then(|text| text.strip_suffix('"'))
                        .expect("quoted");
                    assert!(is_name(key) && !value.contains(['"', '\\']), "label {pair}");
                    (key.to_owned(), value.to_owned())
                });
                (name, pairs.collect())
            }
        };
        assert!(is_name(name), "metric name {name}");
        let value = match value {
            "+Inf" => f64::INFINITY,
            number => number.parse().unwrap_or_else(|_| panic!("value in {line}")),
        };
        Sample {
            name: name.to_owned(),
            labels,
            value,
        }
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with(|first: char| first.is_ascii_digit())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn check(name: &str, labels: &[(&str, &str)], expect: f64, act: impl FnOnce(&Metrics)) {
    let metrics = Metrics::new().unwrap();
    act(&metrics);
    let found = Exposition::of(&metrics).value(name, labels);
    assert!(
        (found - expect).abs() < 1e-12,
        "{name} {labels:?} is {found}, not {expect}"
    );
}

#[test]
fn every_metric_has_help_and_a_name_of_ours() {
    let exposition = Exposition::of(&Metrics::new().unwrap());
    for (name, kind) in &exposition.kind {
        let help = exposition
            .help
            .get(name)
            .unwrap_or_else(|| panic!("{name} has no help"));
        assert!(help.ends_with('.'), "the help of {name} is no sentence: {help}");
        assert!(
            name.starts_with("portcullis_") || name.starts_with("process_"),
            "{name} is nobody's"
        );
        assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
    }
    for sample in &exposition.samples {
        assert!(
            exposition.help.contains_key(&exposition.family(&sample.name)),
            "{sample:?}"
        );
    }
}

#[test]
fn every_promised_metric_is_there_from_the_start() {
    let metrics = Metrics::new().unwrap();
    let exposition = Exposition::of(&metrics);
    for name in [
        "portcullis_decisions_total",
        "portcullis_decision_seconds",
        "portcullis_proxied_seconds",
        "portcullis_refusals_total",
        "portcullis_upstream_errors_total",
        "portcullis_connections",
        "portcullis_connections_turned_away_total",
        "portcullis_requests_in_flight",
        "portcullis_streams_cut_total",
        "portcullis_cache_hits_total",
        "portcullis_cache_misses_total",
        "portcullis_cache_fills_total",
        "portcullis_cache_fill_errors_total",
        "portcullis_cache_keys",
        "portcullis_throttled_addresses",
        "portcullis_limit_counters",
        "portcullis_limit_counters_max",
        "portcullis_limit_overflow_total",
        "portcullis_limit_evictions_total",
        "portcullis_limit_saves_total",
        "portcullis_limit_save_failures_total",
        "portcullis_usage_batches_sent_total",
        "portcullis_usage_batches_failed_total",
        "portcullis_usage_rows_waiting",
        "portcullis_usage_rows_dropped_total",
        "portcullis_usage_oldest_seconds",
        "portcullis_build_info",
    ] {
        assert!(
            exposition
                .samples
                .iter()
                .any(|sample| exposition.family(&sample.name) == name),
            "{name}"
        );
    }
}

#[test]
fn decisions_count_by_surface_and_known_outcome() {
    let series = "portcullis_decisions_total";
    let second = Duration::from_secs(1);
    let labels = |surface, outcome| [("outcome", outcome), ("surface", surface)];
    check(series, &labels("proxy", "allowed"), 1.0, |metrics| {
        metrics.decision(Surface::Proxy, "allowed", second)
    });
    check(series, &labels("authz", "allowed"), 0.0, |metrics| {
        metrics.decision(Surface::Proxy, "allowed", second)
    });
    check(series, &labels("authz", "control_unavailable"), 2.0, |metrics| {
        metrics.decision(Surface::Authz, "control_unavailable", second);
        metrics.decision(Surface::Authz, "control_unavailable", second);
    });
    // Whatever a caller passes, no series is born from it.
    check(series, &labels("proxy", "other"), 3.0, |metrics| {
        for stranger in ["", "Allowed", "wk_live_secret"] {
            metrics.decision(Surface::Proxy, stranger, second);
        }
        assert!(!metrics.render().unwrap().contains("wk_live_secret"));
    });
}

#[test]
fn every_reason_of_a_denial_has_its_own_series() {
    let reasons = [
        DenialReason::KeyMissing,
        DenialReason::AmbiguousCredentials,
        DenialReason::KeyMalformed,
        DenialReason::TooManyFailures { retry_after_us: 1 },
        DenialReason::KeyUnknown,
        DenialReason::KeyRevoked,
        DenialReason::AppInactive,
        DenialReason::KeyExpired,
        DenialReason::AppNotAllowed,
        DenialReason::ResourceDenied,
        DenialReason::PermissionDenied,
        DenialReason::RateLimited {
            blocked_rule: 0,
            retry_after_us: 1,
        },
    ];
    let names: HashSet<_> = reasons.iter().map(|reason| reason.name()).collect();
    for name in &names {
        check(
            "portcullis_decisions_total",
            &[("outcome", name), ("surface", "proxy")],
            1.0,
            |metrics| {
                metrics.decision(Surface::Proxy, name, Duration::ZERO);
            },
        );
    }
    // And the other way round: no series that no decision can reach.
    let known: HashSet<_> = OUTCOMES
        .iter()
        .copied()
        .filter(|outcome| !names.contains(outcome))
        .collect();
    assert_eq!(known, HashSet::from(["allowed", "control_unavailable", "other"]));
}

#[test]
fn times_fall_into_buckets() {
    let bucket = "portcullis_decision_seconds_bucket";
    let decide = |metrics: &Metrics| metrics.decision(Surface::Proxy, "allowed", Duration::from_nanos(300));
    check(bucket, &[("le", "0.0000002")], 0.0, decide);
    check(bucket, &[("le", "0.0000005")], 1.0, decide);
    check(bucket, &[("le", "+Inf")], 1.0, decide);
    let count = "portcullis_proxied_seconds_count";
    for (status, class) in [
        (101, "1xx"),
        (200, "2xx"),
        (304, "3xx"),
        (404, "4xx"),
        (504, "5xx"),
        (0, "other"),
    ] {
        check(count, &[("class", class)], 1.0, |metrics| {
            metrics.proxied(status, Duration::from_millis(3))
        });
    }
}

#[test]
fn what_is_turned_away_counts_by_known_word() {
    let turned_away = "portcullis_connections_turned_away_total";
    check(turned_away, &[("reason", "made_room")], 1.0, |metrics| {
        metrics.turned_away("made_room")
    });
    check(turned_away, &[("reason", "other")], 1.0, |metrics| {
        metrics.turned_away("novel")
    });
}

#[test]
fn refusals_and_upstream_errors_count_by_known_word() {
    let refusals = "portcullis_refusals_total";
    check(refusals, &[("reason", "no_route")], 1.0, |metrics| {
        metrics.refused_before_decision("no_route")
    });
    check(refusals, &[("reason", "other")], 1.0, |metrics| {
        metrics.refused_before_decision("novel")
    });
    let errors = "portcullis_upstream_errors_total";
    check(errors, &[("kind", "connect_timeout")], 1.0, |metrics| {
        metrics.upstream_error("connect_timeout")
    });
    check(errors, &[("kind", "other")], 1.0, |metrics| {
        metrics.upstream_error("novel")
    });
}

#[test]
fn guards_give_back_what_they_took() {
    let connections = "portcullis_connections";
    check(connections, &[("surface", "authz")], 1.0, |metrics| {
        let first = metrics.connection(Surface::Authz);
        std::mem::forget(metrics.connection(Surface::Authz));
        drop(first);
    });
    check(connections, &[("surface", "proxy")], 0.0, |metrics| {
        drop(metrics.connection(Surface::Proxy))
    });
    check("portcullis_requests_in_flight", &[], 0.0, |metrics| {
        let metrics = std::panic::AssertUnwindSafe(metrics);
        let unwound = std::panic::catch_unwind(|| {
            let _guard = metrics.request_in_flight();
            panic!("a handler that dies");
        });
        assert!(unwound.is_err());
    });
}

#[test]
fn totals_of_other_parts_are_copied_not_added() {
    let stats = CacheStats {
        known_keys: 7,
        unknown_keys: 3,
        hits: 100,
        misses: 20,
        fills: 15,
        fill_errors: 2,
        throttled_addresses: 4,
    };
    let observe = |metrics: &Metrics| {
        metrics.observe_cache(&stats);
        metrics.observe_cache(&stats);
        let limits = |counters, overflowed| LimitTotals {
            counters,
            counters_max: 12,
            overflowed,
            evicted: 6,
        };
        metrics.observe_limits(&limits(11, 5));
        // A shrunken total must not make a counter fall, or a scraper sees a restart.
        metrics.observe_limits(&limits(10, 4));
    };
    check("portcullis_cache_hits_total", &[], 100.0, observe);
    check("portcullis_cache_misses_total", &[], 20.0, observe);
    check("portcullis_cache_fills_total", &[], 15.0, observe);
    check("portcullis_cache_fill_errors_total", &[], 2.0, observe);
    check("portcullis_cache_keys", &[("state", "known")], 7.0, observe);
    check("portcullis_cache_keys", &[("state", "unknown")], 3.0, observe);
    check("portcullis_throttled_addresses", &[], 4.0, observe);
    check("portcullis_limit_counters", &[], 10.0, observe);
    check("portcullis_limit_counters_max", &[], 12.0, observe);
    check("portcullis_limit_overflow_total", &[], 5.0, observe);
    check("portcullis_limit_evictions_total", &[], 6.0, observe);
    let report = |metrics: &Metrics| {
        for (rows_waiting, oldest_s) in [(90, 7), (60, 4)] {
            metrics.observe_usage(&UsageTotals {
                batches_sent: 3,
                batches_failed: 2,
                rows_waiting,
                rows_dropped: 1,
                oldest_s,
            });
        }
    };
    check("portcullis_usage_batches_sent_total", &[], 3.0, report);
    check("portcullis_usage_batches_failed_total", &[], 2.0, report);
    check("portcullis_usage_rows_waiting", &[], 60.0, report);
    check("portcullis_usage_rows_dropped_total", &[], 1.0, report);
    check("portcullis_usage_oldest_seconds", &[], 4.0, report);
    let follow = |metrics: &Metrics| {
        for applied_revision in [9, 12] {
            metrics.observe_sync(&SyncTotals {
                applied_revision,
                staleness: Some(Duration::from_millis(1_500)),
                standing: portcullis_verify::Standing::TooStale,
                is_following: true,
                reconnects: 4,
            });
        }
    };
    check("portcullis_sync_applied_revision", &[], 12.0, follow);
    check("portcullis_sync_staleness_seconds", &[], 1.5, follow);
    check("portcullis_sync_refusing", &[], 1.0, follow);
    check("portcullis_sync_following", &[], 1.0, follow);
    check("portcullis_sync_reconnects_total", &[], 4.0, follow);
    let save = |metrics: &Metrics| {
        [true, false, true]
            .into_iter()
            .for_each(|done| metrics.limits_saved(done))
    };
    check("portcullis_limit_saves_total", &[], 2.0, save);
    check("portcullis_limit_save_failures_total", &[], 1.0, save);
}

#[test]
fn two_processes_in_one_do_not_share_a_registry() {
    let (first, second) = (Metrics::new().unwrap(), Metrics::new().unwrap());
    first.refused_before_decision("no_route");
    let found = Exposition::of(&second).value("portcullis_refusals_total", &[("reason", "no_route")]);
    assert!(found.abs() < f64::EPSILON);
}

#[test]
fn what_many_threads_record_adds_up() {
    const THREADS: u64 = 4;
    const EACH: u64 = 5_000;
    let metrics = Metrics::new().unwrap();
    let record = |first: u64| {
        for number in first..first + EACH {
            let guard = metrics.request_in_flight();
            let outcome = if number % 2 == 0 { "allowed" } else { "key_malformed" };
            metrics.decision(Surface::Proxy, outcome, Duration::from_nanos(number));
            metrics.proxied(200, Duration::from_micros(number));
            metrics.refused_before_decision("bad_request");
            metrics.upstream_error("reset");
            metrics.stream_cut();
            drop(guard);
        }
    };
    let seen = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let record = &record;
            scope.spawn(move || record(thread * EACH));
        }
        // A scrape meanwhile sees counters that never fall.
        scope.spawn(|| {
            for _ in 0..20 {
                let count = Exposition::of(&metrics).value("portcullis_decision_seconds_count", &[]);
                seen.lock().unwrap().push(count);
            }
        });
    });
    let seen = seen.into_inner().unwrap();
    assert!(seen.is_sorted(), "{seen:?}");

    let exposition = Exposition::of(&metrics);
    let total = THREADS * EACH;
    let check = |name: &str, labels: &[(&str, &str)], expect: u64| {
        let found = exposition.value(name, labels);
        assert!(
            (found - f64::from(u32::try_from(expect).unwrap())).abs() < 1e-9,
            "{name} {labels:?} {found}"
        );
    };
    for outcome in ["allowed", "key_malformed"] {
        let labels = [("outcome", outcome), ("surface", "proxy")];
        check("portcullis_decisions_total", &labels, total / 2);
    }
    check("portcullis_decision_seconds_count", &[], total);
    check("portcullis_decision_seconds_bucket", &[("le", "0.0000002")], 201);
    check("portcullis_decision_seconds_bucket", &[("le", "0.00001")], 10_001);
    check("portcullis_decision_seconds_bucket", &[("le", "+Inf")], total);
    check("portcullis_proxied_seconds_count", &[("class", "2xx")], total);
    check(
        "portcullis_proxied_seconds_bucket",
        &[("class", "2xx"), ("le", "0.01")],
        10_001,
    );
    let microseconds = f64::from(u32::try_from(total * (total - 1) / 2).unwrap());
    let sum = exposition.value("portcullis_proxied_seconds_sum", &[("class", "2xx")]);
    assert!((sum - microseconds / 1e6).abs() < 1e-6, "{sum}");
    let sum = exposition.value("portcullis_decision_seconds_sum", &[]);
    assert!((sum - microseconds / 1e9).abs() < 1e-9, "{sum}");
    check("portcullis_refusals_total", &[("reason", "bad_request")], total);
    check("portcullis_upstream_errors_total", &[("kind", "reset")], total);
    check("portcullis_streams_cut_total", &[], total);
    check("portcullis_requests_in_flight", &[], 0);
}

#[test]
fn a_guard_may_be_dropped_on_another_thread() {
    let in_flight = |metrics: &Metrics| Exposition::of(metrics).value("portcullis_requests_in_flight", &[]);
    let metrics = Metrics::new().unwrap();
    let guards: Vec<_> = (0..10).map(|_| metrics.request_in_flight()).collect();
    assert!((in_flight(&metrics) - 10.0).abs() < f64::EPSILON);
    std::thread::scope(|scope| {
        for guard in guards {
            scope.spawn(move || drop(guard));
        }
    });
    assert!(in_flight(&metrics).abs() < f64::EPSILON);
    // It may even outlive what it was counted in.
    let guard = metrics.connection(Surface::Authz);
    drop(metrics);
    drop(guard);
}

/// The exposition is what dashboards and rules are made for: to the letter, but for what the process says of itself.
#[test]
fn the_exposition_of_a_histogram_is_that_of_the_library() {
    use prometheus::{HistogramOpts, HistogramVec};
    let bounds: Vec<f64> = [
        0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
    ]
    .to_vec();
    let help = "Time from a request's head to the end of its answer, by class of status.";
    let opts = HistogramOpts::new("portcullis_proxied_seconds", help).buckets(bounds);
    let theirs = HistogramVec::new(opts, &["class"]).unwrap();
    let registry = prometheus::Registry::new();
    registry.register(Box::new(theirs.clone())).unwrap();
    for class in STATUS_CLASSES {
        theirs.with_label_values(&[class]);
    }
    let metrics = Metrics::new().unwrap();
    // Sums of these are exact in both.
    for (status, ms) in [
        (200, 500),
        (200, 501),
        (200, 0),
        (404, 90_000),
        (503, 60_000),
        (101, 250),
    ] {
        metrics.proxied(status, Duration::from_millis(ms));
        let class = format!("{}xx", status / 100);
        theirs
            .with_label_values(&[&class])
            .observe(Duration::from_millis(ms).as_secs_f64());
    }
    let theirs = TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    let rendered = metrics.render().unwrap();
    let ours: Vec<&str> = rendered
        .lines()
        .filter(|line| line.contains("portcullis_proxied_seconds"))
        .collect();
    assert_eq!(ours, theirs.lines().collect::<Vec<_>>());
}
