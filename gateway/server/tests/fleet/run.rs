//! One run from its seed: a fleet, a workload, whatever a scenario does to them, and the verdict.
//!
//! `PORTCULLIS_SEED` runs with another seed; a run that fails prints its own. `PORTCULLIS_FLEET_SECONDS` lengthens the random runs.

use super::asking::{Asker, Report};
use super::book::Book;
use super::calling::Caller;
use super::checker::{self, Judged, Terms, Violation};
use super::cluster::Cluster;
use super::dice::Dice;
use super::history::{self, Answer, Event, KeyNo, Recorder};
use super::setup::Setup;
use crate::support;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Apps that are worked on at once, each by a caller of its own.
const LANES: usize = 3;
/// Keys that each lane begins with.
const FIRST_KEYS: usize = 12;
/// Keys asked for at the end.
const LAST_KEYS: usize = 60;

/// Requests and calls that a run has at least.
const ENOUGH_REQUESTS: usize = 600;
const ENOUGH_CALLS: usize = 50;

/// A run under way.
pub struct Run {
    /// The fleet.
    pub cluster: Cluster,
    /// Its chance.
    pub dice: Dice,
    /// What happens.
    pub recorder: Arc<Recorder>,
    /// Calls of the scenario's own.
    pub caller: Caller,
    /// Requests of the scenario's own.
    pub asker: Asker,
    /// All keys.
    pub book: Arc<Book>,
    name: String,
    seed: u64,
    calling: CancellationToken,
    asking: CancellationToken,
    callers: JoinSet<()>,
    askers: JoinSet<()>,
}

/// The seed of a run: its own, unless another is asked for.
pub fn seed(own: u64) -> u64 {
    let asked = std::env::var("PORTCULLIS_SEED").ok();
    asked.map_or(own, |text| text.parse().expect("PORTCULLIS_SEED is a number"))
}

/// How long the random runs are to last in all, when they are to last long.
pub fn long_run() -> Option<Duration> {
    let asked = std::env::var("PORTCULLIS_FLEET_SECONDS").ok()?;
    Some(Duration::from_secs(
        asked.parse().expect("PORTCULLIS_FLEET_SECONDS is a number"),
    ))
}

impl Run {
    /// Starts a fleet, waits until every gateway knows that it is up to date, and sets the workload going.
    pub async fn start(name: &str, own_seed: u64, setup: Setup) -> Run {
        let seed = seed(own_seed);
        let dice = Dice::new(seed);
        let recorder = Arc::new(Recorder::new());
        let cluster = Cluster::start(setup, Arc::clone(&recorder), &dice).await;
        let book = Arc::new(Book::default());
        let places = Arc::clone(&cluster.places);
        // Making one takes longer than a request.
        let client = support::client();
        let caller = Caller::new(
            client.clone(),
            Arc::clone(&places),
            Arc::clone(&book),
            Arc::clone(&recorder),
        );
        let asker = Asker::new(client, places, Arc::clone(&book), Arc::clone(&recorder));
        let mut run = Run {
            cluster,
            dice,
            recorder,
            caller,
            asker,
            book,
            name: name.to_owned(),
            seed,
            calling: CancellationToken::new(),
            asking: CancellationToken::new(),
            callers: JoinSet::new(),
            askers: JoinSet::new(),
        };
        run.until_all_are_fresh().await;
        run.set_going().await;
        run
    }

    async fn set_going(&mut self) {
        for lane in 0..LANES {
            let keeps_app = lane > 0;
            let mut lane = self.caller.make_app().await;
            for _ in 0..FIRST_KEYS {
                self.caller.make_key(lane).await.expect("the app was just made");
            }
            let (caller, dice, stop) = (self.caller.clone(), self.dice.fork(), self.calling.clone());
            self.callers.spawn(async move {
                while !stop.is_cancelled() {
                    caller.act(&mut lane, keeps_app, &dice).await;
                    tokio::time::sleep(dice.millis(1..60)).await;
                }
            });
        }
        let gateways = self.cluster.setup.gateways.len();
        // About as much work in all, however many share it.
        let pause_ms = 3 * u64::try_from(gateways).expect("a few");
        for gateway in 0..gateways {
            for _ in 0..2 {
                let asker = self.asker.clone();
                self.askers
                    .spawn(asker.ask_on(gateway, self.dice.fork(), pause_ms, self.asking.clone()));
            }
            let asker = self.asker.clone();
            self.askers.spawn(asker.report_on(gateway, self.asking.clone()));
        }
    }

    /// Lets the workload go on for a while.
    pub async fn go_on(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    /// Lets the workload go on for longer than any gateway may trust what it knows.
    pub async fn outlast_trust(&self) {
        self.go_on(self.cluster.setup.stale_max + self.dice.millis(600..1_200))
            .await;
    }

    /// Lets the workload go on until there is enough to judge, on a busy machine as well.
    pub async fn until_enough(&self) {
        let enough = support::eventually("there is enough to judge", async || {
            let (requests, calls) = self.recorder.counts();
            (requests >= ENOUGH_REQUESTS && calls >= ENOUGH_CALLS).then_some(())
        });
        enough.await;
    }

    /// Says in the history what the scenario does.
    pub fn say(&self, what: impl Into<String>) {
        self.recorder.fault(what);
    }

    /// Waits until no call is under way, and holds back further ones as long as the answer lives.
    pub async fn hold_calls(&self) -> tokio::sync::OwnedRwLockWriteGuard<()> {
        Arc::clone(&self.caller.gate).write_owned().await
    }

    /// A report of a gateway that is up.
    pub async fn report(&self, gateway: usize) -> Option<Report> {
        let place = self.cluster.places.gateway(gateway)?;
        self.asker.report(gateway, place).await
    }

    /// Waits until every gateway has applied what has been acknowledged, and knows it.
    pub async fn until_all_are_fresh(&self) {
        let soft = u64::try_from(self.cluster.setup.stale_soft.as_micros()).expect("a short time");
        let head = acknowledged(&self.recorder.history());
        let begun = self.recorder.now();
        for gateway in 0..self.cluster.setup.gateways.len() {
            let waited = tokio::time::timeout(support::PATIENCE, async {
                loop {
                    if let Some(Report {
                        applied: Some(applied),
                        staleness: Some(staleness),
                        ..
                    }) = self.report(gateway).await
                        && applied >= head
                        && staleness <= soft
                        && self.recorder.now().saturating_sub(staleness) > begun
                    {
                        return;
                    }
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            });
            if waited.await.is_err() {
                let how = format!("gateway {gateway} never caught up with revision {head}");
                self.fail(&how, &self.recorder.history());
            }
        }
    }

    /// Ends the run, and holds that no promise was broken and that there was something to judge.
    pub async fn finish(mut self) -> Judged {
        let terms = self.cluster.setup.terms();
        let (found, judged) = self.judge(&terms).await;
        if !found.is_empty() {
            let mut all = String::new();
            for violation in found.iter().take(10) {
                let _ = writeln!(all, "{violation}");
            }
            let how = format!("{} broken promises, the first of them:\n{all}", found.len());
            self.fail(&how, &self.recorder.history());
        }
        assert!(judged.admitted > 50, "{}: {judged:?}", self.name);
        assert!(judged.refused_ended > 20, "{}: {judged:?}", self.name);
        assert!(judged.forbidden > 10, "{}: {judged:?}", self.name);
        assert!(judged.protected > 50, "{}: {judged:?}", self.name);
        assert!(judged.last > 20, "{}: {judged:?}", self.name);
        judged
    }

    /// Mends everything, waits until all have caught up, asks all for all, and judges the whole history by `terms`.
    pub async fn judge(&mut self, terms: &Terms) -> (Vec<Violation>, Judged) {
        self.cluster.heal().await;
        self.until_enough().await;
        self.calling.cancel();
        let callers = std::mem::take(&mut self.callers);
        if tokio::time::timeout(support::PATIENCE, callers.join_all())
            .await
            .is_err()
        {
            self.fail(
                "a call was never answered although all was mended",
                &self.recorder.history(),
            );
        }
        self.until_all_are_fresh().await;
        self.asking.cancel();
        std::mem::take(&mut self.askers).join_all().await;
        self.ask_last().await;
        checker::check(&self.recorder.history(), terms)
    }

    async fn ask_last(&self) {
        let keys = self.book.sample(LAST_KEYS, &self.dice);
        for gateway in 0..self.cluster.setup.gateways.len() {
            let place = self.cluster.places.gateway(gateway).expect("all are up");
            for &key in &keys {
                self.until_available(gateway, key).await;
                self.asker.ask(gateway, place, key, true).await;
            }
        }
    }

    /// Waits for as long as a gateway may take to dare to ask a control API that had been away.
    pub async fn until_available(&self, gateway: usize, key: KeyNo) {
        let secret = self.book.key(key).secret;
        let waited = support::eventually("a gateway answers", async || {
            let place = self.cluster.places.gateway(gateway)?;
            match self.asker.send(place, &secret).await {
                Answer::Status(503, _) | Answer::Nothing => None,
                Answer::Status(..) => Some(()),
            }
        });
        waited.await;
    }

    /// Ends the run as failed, with all that is needed to see why.
    fn fail(&self, how: &str, history: &[Event]) -> ! {
        let file = self.write_down(history);
        panic!(
            "{} with PORTCULLIS_SEED={}: {how}\nThe history is in {}.\n{}",
            self.name,
            self.seed,
            file.display(),
            self.cluster.newest_lines(25)
        );
    }

    /// Writes a history where a person can read it, and says where.
    pub fn write_down(&self, history: &[Event]) -> PathBuf {
        let folder = support::root().join("target/fleet");
        std::fs::create_dir_all(&folder).expect("a folder");
        let file = folder.join(format!("{}-{}.txt", self.name, self.seed));
        let zero = history.first().map_or(0, Event::start);
        let mut text = format!("Times are milliseconds; the first is {zero} µs.\n");
        for event in history {
            let _ = writeln!(text, "{}", history::line(event, zero));
        }
        std::fs::write(&file, text).expect("the history is written");
        file
    }
}

/// The newest revision of which an answer told, in the history that the store is in now.
fn acknowledged(history: &[Event]) -> u64 {
    let restored = history.iter().filter_map(|event| match event {
        Event::Restored { at } => Some(*at),
        _ => None,
    });
    let began = restored.max().unwrap_or(0);
    let revisions = history.iter().filter_map(|event| match event {
        Event::Call {
            span,
            outcome: history::Outcome::Done { revision, .. },
            ..
        } if span.start >= began => Some(*revision),
        _ => None,
    });
    revisions.max().unwrap_or(0)
}
