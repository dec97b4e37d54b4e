use super::*;
use crate::usage::stored_keys::{allowed, key, limited};
use crate::usage::{UsageOutcome, UsageRow};
use async_trait::async_trait;
use parking_lot::Mutex;
use portcullis_verify::ManualClock;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};

const START: Moment = Moment {
    monotonic_us: 1_000_000,
    wall_us: 1_800_000_000_000_000,
};

/// What a sink does with a batch that is sent to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    /// Records it and says so.
    Record,
    /// Says that it could not.
    Fail,
    /// Records it, but the answer is lost.
    RecordAndFail,
    /// Records it, and never answers.
    RecordAndHang,
    /// Never answers.
    Hang,
    /// Will never take it.
    Refuse,
}

/// Does with each sending what its script says, and with those after the script the last thing.
struct ScriptedSink {
    script: Vec<Act>,
    sent: Mutex<Vec<(UsageBatch, Act)>>,
    recorded: Mutex<Vec<UsageBatch>>,
}

#[async_trait]
impl UsageSink for ScriptedSink {
    async fn send(&self, batch: &UsageBatch) -> Result<(), SinkError> {
        let act = {
            let mut sent = self.sent.lock();
            let act = *self.script.get(sent.len()).or(self.script.last()).unwrap();
            sent.push((batch.clone(), act));
            act
        };
        if matches!(act, Act::Record | Act::RecordAndFail | Act::RecordAndHang) {
            let mut recorded = self.recorded.lock();
            if recorded.iter().all(|known| known.batch_id != batch.batch_id) {
                recorded.push(batch.clone());
            }
        }
        match act {
            Act::Record => Ok(()),
            Act::Fail | Act::RecordAndFail => Err(SinkError::Unanswered("as the script says".into())),
            Act::RecordAndHang | Act::Hang => std::future::pending().await,
            Act::Refuse => Err(SinkError::Refused("as the script says".into())),
        }
    }
}

impl ScriptedSink {
    fn sent(&self) -> usize {
        self.sent.lock().len()
    }

    /// What was recorded, by key and outcome.
    fn counts(&self) -> HashMap<(i64, UsageOutcome), u64> {
        let mut counts = HashMap::new();
        for row in self.recorded.lock().iter().flat_map(|batch| batch.rows.iter()) {
            *counts.entry((row.key_id.0, row.outcome.clone())).or_insert(0) += row.count;
        }
        counts
    }
}

/// A reporter in a hurry.
struct Stage {
    meter: Arc<UsageMeter>,
    sink: Arc<ScriptedSink>,
    metrics: Arc<Metrics>,
    clock: ManualClock,
    reporter: UsageReporter,
}

impl Stage {
    fn new(script: &[Act], noted: impl FnOnce(&UsageMeter)) -> Stage {
        let (clock, hand) = Clock::manual(START);
        let meter = Arc::new(UsageMeter::new(1_000_000, START));
        noted(&meter);
        let sink = Arc::new(ScriptedSink {
            script: script.to_vec(),
            sent: Mutex::default(),
            recorded: Mutex::default(),
        });
        let metrics = Arc::new(Metrics::new().unwrap());
        let mut reporter = Reporter::new(ReporterParts {
            meter: Arc::clone(&meter),
            sink: Arc::clone(&sink) as Arc<dyn UsageSink>,
            metrics: Arc::clone(&metrics),
            clock,
            interval: Duration::from_millis(1),
        });
        reporter.backoff = Backoff::new(Duration::from_millis(1), Duration::from_millis(5));
        reporter.send_timeout = Duration::from_millis(20);
        Stage {
            meter,
            sink,
            metrics,
            clock: hand,
            reporter: reporter.start(),
        }
    }

    fn metric(&self, name: &str) -> u64 {
        let text = self.metrics.render().unwrap();
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        value.unwrap_or_else(|| panic!("no {name}"))
    }

    async fn until(&self, what: &str, condition: impl Fn(&Stage) -> bool) {
        for _ in 0..10_000 {
            if condition(self) {
                return;
            }
            sleep(Duration::from_millis(2)).await;
        }
        panic!("{what} did not happen");
    }
}

fn note(meter: &UsageMeter, keys: std::ops::Range<i64>) {
    for id in keys {
        meter.note(&allowed(&key(id)), START);
    }
}

const LONG: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn each_decision_is_recorded_once_whatever_becomes_of_its_batches() {
    use Act::{Fail, Hang, Record, RecordAndFail, RecordAndHang};
    let acts = [
        Record,
        RecordAndFail,
        Record,
        Fail,
        RecordAndHang,
        Record,
        Hang,
        RecordAndFail,
        RecordAndFail,
    ];
    const SENDINGS: usize = 100;
    let script: Vec<Act> = acts.into_iter().cycle().take(SENDINGS).chain([Record]).collect();
    let stage = Stage::new(&script, |_| {});
    let is_over = Arc::new(AtomicBool::new(false));
    let noters: Vec<_> = (0..3_i64)
        .map(|thread| {
            let (meter, is_over) = (Arc::clone(&stage.meter), Arc::clone(&is_over));
            std::thread::spawn(move || {
                let id = thread % 2;
                let (mut noted, mut record) = (HashMap::new(), key(id));
                for step in 0_i64.. {
                    if step % 500 == 0 {
                        if is_over.load(Ordering::Relaxed) {
                            break;
                        }
                        // Read again, as after a change.
                        record = key(id);
                        std::thread::yield_now();
                    }
                    let at = Moment {
                        monotonic_us: 1,
                        wall_us: START.wall_us + step * 1_000,
                    };
                    let (verdict, outcome) = if step % 4 == 0 {
                        (limited(&record, 0), UsageOutcome::RateLimited("per_key-60s".into()))
                    } else {
                        (allowed(&record), UsageOutcome::Allowed)
                    };
                    meter.note(&verdict, at);
                    *noted.entry((id, outcome)).or_insert(0_u64) += 1;
                }
                noted
            })
        })
        .collect();
    stage
        .until("many sendings", |stage| stage.sink.sent() >= SENDINGS)
        .await;
    is_over.store(true, Ordering::Relaxed);
    let mut expect = HashMap::new();
    for noter in noters {
        for (row, count) in noter.join().unwrap() {
            *expect.entry(row).or_insert(0) += count;
        }
    }
    let Stage { sink, reporter, .. } = stage;
    assert!(reporter.finish(LONG).await);
    assert_eq!(sink.counts(), expect);
    assert_eq!(expect.len(), 4);
    // A batch is sent, unchanged, until it is acknowledged, and the next one only then.
    let sent = sink.sent.lock();
    let mut ids = HashSet::new();
    for pair in sent.windows(2) {
        let [(before, act), (after, _)] = pair else {
            unreachable!()
        };
        assert_eq!(*act == Act::Record, before.batch_id != after.batch_id, "{act:?}");
        if *act != Act::Record {
            assert_eq!(before, after);
        }
    }
    for (batch, _) in sent.iter() {
        assert_eq!(batch.batch_id.len(), 32);
        assert!(batch.batch_id.bytes().all(|digit| digit.is_ascii_hexdigit()));
        ids.insert(batch.batch_id.as_str());
    }
    assert_eq!(ids.len(), sink.recorded.lock().len());
}

#[tokio::test]
async fn while_batches_wait_new_counts_fold_in_the_meter() {
    let stage = Stage::new(&[Act::Fail], |meter| note(meter, 0..3));
    stage.until("the first failure", |stage| stage.sink.sent() > 0).await;
    for _ in 0..50 {
        note(&stage.meter, 0..3);
    }
    let tried = stage.sink.sent();
    stage
        .until("more failures", |stage| stage.sink.sent() > tried + 2)
        .await;
    // Three rows in the one batch that waits, and three in the meter.
    assert_eq!(stage.meter.rows_waiting(), 3);
    stage
        .until("a word of it", |stage| {
            stage.metric("portcullis_usage_rows_waiting") == 6
        })
        .await;
    assert!(stage.metric("portcullis_usage_batches_failed_total") > 2);
    assert_eq!(stage.metric("portcullis_usage_oldest_seconds"), 0);
    stage.clock.advance_us(42_000_000);
    stage
        .until("an age", |stage| stage.metric("portcullis_usage_oldest_seconds") == 42)
        .await;
    let Stage { sink, reporter, .. } = stage;
    assert!(!reporter.finish(Duration::from_millis(30)).await, "nobody took it");
    assert_eq!(
        sink.sent
            .lock()
            .iter()
            .map(|sent| &sent.0.batch_id)
            .collect::<HashSet<_>>()
            .len(),
        1
    );
}

#[tokio::test]
async fn many_rows_go_in_many_batches_of_bounded_length() {
    let keys = i64::try_from((BATCHES_MAX + 1) * USAGE_ROWS_MAX + 1).unwrap();
    let stage = Stage::new(&[Act::Fail, Act::Fail, Act::Record], |meter| note(meter, 0..keys));
    stage.until("a failure", |stage| stage.sink.sent() > 0).await;
    let Stage {
        meter, sink, reporter, ..
    } = stage;
    assert!(meter.rows_waiting() <= USAGE_ROWS_MAX + 1, "the rest is in batches");
    assert!(reporter.finish(LONG).await);
    let recorded = sink.recorded.lock();
    assert_eq!(recorded.len(), BATCHES_MAX + 2);
    assert!(
        recorded
            .iter()
            .all(|batch| (1..=USAGE_ROWS_MAX).contains(&batch.rows.len()))
    );
    let distinct: HashSet<_> = recorded
        .iter()
        .flat_map(|batch| batch.rows.iter().map(|row: &UsageRow| row.key_id))
        .collect();
    assert_eq!(distinct.len(), usize::try_from(keys).unwrap());
}

#[tokio::test]
async fn a_batch_that_is_always_refused_is_given_up_and_counted_and_holds_up_no_other() {
    let stage = Stage::new(&[Act::Refuse, Act::Refuse, Act::Refuse, Act::Record], |meter| {
        note(meter, 0..3)
    });
    stage
        .until("a refusal", |stage| {
            stage.metric("portcullis_usage_rows_dropped_total") == 3
        })
        .await;
    note(&stage.meter, 5..6);
    let Stage {
        sink,
        reporter,
        metrics,
        ..
    } = stage;
    assert!(reporter.finish(LONG).await);
    assert_eq!(sink.counts(), HashMap::from([((5, UsageOutcome::Allowed), 1)]));
    assert!(
        metrics
            .render()
            .unwrap()
            .contains("\nportcullis_usage_rows_waiting 0\n")
    );
}

#[tokio::test]
async fn a_refusal_that_does_not_last_loses_nothing() {
    let script = [Act::Refuse, Act::Fail, Act::Refuse, Act::Record];
    let Stage { sink, reporter, .. } = Stage::new(&script, |meter| note(meter, 0..1));
    assert!(reporter.finish(LONG).await);
    assert_eq!(sink.counts(), HashMap::from([((0, UsageOutcome::Allowed), 1)]));
}

#[tokio::test]
async fn a_batch_too_old_to_be_remembered_is_not_sent_again() {
    let stage = Stage::new(&[Act::RecordAndFail], |meter| note(meter, 0..3));
    stage.until("a failure", |stage| stage.sink.sent() > 0).await;
    stage
        .clock
        .advance_us(u64::try_from(RESEND_TIME_MAX.as_micros()).unwrap() + 1);
    stage
        .until("it is given up", |stage| {
            stage.metric("portcullis_usage_rows_dropped_total") == 3
        })
        .await;
    let sent = stage.sink.sent();
    assert!(stage.reporter.finish(LONG).await, "nothing is left");
    assert_eq!(stage.sink.sent(), sent);
}

#[tokio::test]
async fn a_sink_that_hangs_holds_up_the_end_no_longer_than_allowed() {
    let stage = Stage::new(&[Act::Hang], |meter| note(meter, 0..3));
    stage.until("a sending", |stage| stage.sink.sent() > 0).await;
    assert!(!stage.reporter.finish(Duration::from_millis(50)).await);
}

#[tokio::test]
async fn an_idle_reporter_sends_nothing() {
    let stage = Stage::new(&[Act::Record], |_| {});
    sleep(Duration::from_millis(20)).await;
    assert!(stage.reporter.finish(LONG).await);
    assert_eq!(stage.sink.sent(), 0);
}
