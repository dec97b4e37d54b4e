use super::*;
use portcullis_verify::{AppId, Change, ChangeKind, DeploymentId};
use std::collections::VecDeque;
use std::sync::Mutex;

/// What a sink heard.
#[derive(Debug, PartialEq, Eq)]
enum Heard {
    Change(u64),
    Distrust(u64, u64),
}

#[derive(Default)]
struct Listener(Mutex<Vec<Heard>>);

impl Listener {
    fn heard(&self) -> Vec<Heard> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

impl ChangeSink for Listener {
    fn apply(&self, change: &Change) {
        self.0.lock().unwrap().push(Heard::Change(change.version.revision));
    }

    fn distrust_all(&self, at: Version) {
        self.0.lock().unwrap().push(Heard::Distrust(at.epoch, at.revision));
    }
}

/// A log that answers from a script; when that is used up it repeats that there is nothing new.
struct ScriptedLog {
    heads: Mutex<VecDeque<Result<Version, StoreError>>>,
    reads: Mutex<VecDeque<(u64, Result<Changes, StoreError>)>>,
    committed: watch::Sender<u64>,
    last: Version,
}

impl ChangeLog for ScriptedLog {
    fn committed(&self) -> watch::Receiver<u64> {
        self.committed.subscribe()
    }

    async fn head(&self) -> Result<Version, StoreError> {
        self.heads
            .lock()
            .unwrap()
            .pop_front()
            .expect("the head is read once at the start, and after its errors")
    }

    async fn after(&self, revision: u64) -> Result<Changes, StoreError> {
        match self.reads.lock().unwrap().pop_front() {
            Some((expected, answer)) => {
                assert_eq!(revision, expected, "the tailer must go on from what it applied");
                answer
            }
            None => Ok(Changes::Replay {
                changes: Vec::new(),
                head: self.last,
            }),
        }
    }
}

fn version(epoch: u64, revision: u64) -> Version {
    Version { epoch, revision }
}

fn replay(epoch: u64, revisions: std::ops::RangeInclusive<u64>, head: u64) -> Result<Changes, StoreError> {
    let change = |revision| Change {
        version: version(epoch, revision),
        deployment_id: DeploymentId(1),
        kind: ChangeKind::AppChanged(AppId(1)),
    };
    Ok(Changes::Replay {
        changes: revisions.map(change).collect(),
        head: version(epoch, head),
    })
}

fn reset(epoch: u64, revision: u64) -> Result<Changes, StoreError> {
    Ok(Changes::Reset {
        head: version(epoch, revision),
    })
}

fn broken<T>() -> Result<T, StoreError> {
    Err(StoreError::Unavailable("the disk is on fire".into()))
}

/// Follows a log that first stands at (7, 10) and then answers `reads`, until it has come to `end`.
async fn check(reads: Vec<(u64, Result<Changes, StoreError>)>, end: Version, expected: &[Heard]) {
    let listener = Arc::new(Listener::default());
    let log = ScriptedLog {
        heads: Mutex::new(VecDeque::from([broken(), Ok(version(7, 10))])),
        reads: Mutex::new(reads.into()),
        committed: watch::Sender::new(0),
        last: end,
    };
    let shutdown = CancellationToken::new();
    let handle = follow(
        log,
        vec![Arc::clone(&listener) as Arc<dyn ChangeSink>],
        Clock::system(),
        None,
        shutdown.clone(),
    );
    tokio::time::timeout(Duration::from_secs(10), handle.wait_for(end))
        .await
        .expect("it must get there")
        .unwrap();
    assert_eq!(handle.applied(), end);
    assert_eq!(listener.heard(), expected);
    shutdown.cancel();
    let later = version(end.epoch, end.revision + 1);
    assert_eq!(
        handle.wait_for(later).await,
        Err(TailerEnded),
        "nobody waits for a tailer that is gone"
    );
}

#[tokio::test]
async fn what_was_filled_before_the_first_read_is_distrusted() {
    check(vec![], version(7, 10), &[Heard::Distrust(7, 10)]).await;
}

#[tokio::test]
async fn changes_are_applied_in_order_across_batches_and_errors() {
    let reads = vec![
        (10, replay(7, 11..=12, 15)),
        (12, broken()),
        (12, broken()),
        (12, replay(7, 13..=15, 15)),
        (15, replay(7, 16..=16, 16)),
    ];
    let heard: Vec<Heard> = std::iter::once(Heard::Distrust(7, 10))
        .chain((11..=16).map(Heard::Change))
        .collect();
    check(reads, version(7, 16), &heard).await;
}

#[tokio::test]
async fn a_log_that_was_cut_off_or_is_behind_is_distrusted() {
    let reads = vec![(10, reset(7, 40)), (40, reset(7, 5)), (5, replay(7, 6..=41, 41))];
    let resets = [Heard::Distrust(7, 10), Heard::Distrust(7, 40), Heard::Distrust(7, 5)];
    let heard: Vec<Heard> = resets.into_iter().chain((6..=41).map(Heard::Change)).collect();
    check(reads, version(7, 41), &heard).await;
}

#[tokio::test]
async fn another_history_is_distrusted_even_where_its_numbers_go_on() {
    let reads = vec![(10, replay(8, 11..=12, 12)), (12, replay(8, 13..=13, 13))];
    check(
        reads,
        version(8, 13),
        &[Heard::Distrust(7, 10), Heard::Distrust(8, 12), Heard::Change(13)],
    )
    .await;
}

#[tokio::test]
async fn a_version_of_another_history_is_not_taken_for_applied() {
    let log = ScriptedLog {
        heads: Mutex::new(VecDeque::from([Ok(version(7, 10))])),
        reads: Mutex::default(),
        committed: watch::Sender::new(0),
        last: version(7, 10),
    };
    let handle = follow(log, Vec::new(), Clock::system(), None, CancellationToken::new());
    handle.synchronised().await.unwrap();
    let foreign = tokio::time::timeout(Duration::from_millis(100), handle.wait_for(version(8, 1)));
    assert!(
        foreign.await.is_err(),
        "a change of a history that was not read yet is not applied"
    );
}

/// A round answers for what was committed before it began, and only if it read the log to its head.
#[tokio::test]
async fn only_rounds_that_reach_the_head_make_fresh_and_are_counted() {
    let (clock, manual) = Clock::manual(portcullis_verify::Moment {
        monotonic_us: 1_000_000,
        wall_us: 0,
    });
    let freshness = Arc::new(Freshness::new(Duration::from_secs(1), Duration::from_secs(30), false));
    let log = ScriptedLog {
        heads: Mutex::new(VecDeque::from([Ok(version(7, 10))])),
        reads: Mutex::new(VecDeque::from([
            (10, replay(7, 11..=12, 15)),
            (12, broken()),
            (12, replay(7, 13..=15, 15)),
        ])),
        committed: watch::Sender::new(0),
        last: version(7, 15),
    };
    let handle = follow(
        log,
        Vec::new(),
        clock.clone(),
        Some(Arc::clone(&freshness)),
        CancellationToken::new(),
    );
    let mut rounds = handle.rounds().completed();
    let first = *rounds.wait_for(|round| round.number > 0).await.unwrap();
    assert_eq!(
        first,
        Round {
            number: 1,
            head: version(7, 10)
        }
    );
    let second = *rounds.wait_for(|round| round.number > 1).await.unwrap();
    assert_eq!(
        second,
        Round {
            number: 4,
            head: version(7, 15)
        },
        "neither the round that stopped half-way nor the one that failed counts"
    );
    assert_eq!(freshness.staleness(clock.now()), Some(Duration::ZERO));
    manual.advance_us(500);
    handle.rounds().next().await.unwrap();
    assert_eq!(
        freshness.staleness(clock.now()),
        Some(Duration::ZERO),
        "a round after now is news of now"
    );
}
