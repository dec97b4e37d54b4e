//! Every interleaving that a random schedule can find of commits, log entries, readers, snapshots, answers, evictions, departures and restored
//! backups, on one thread, held against a model that knows the truth at every version.

use super::scripted_source::{Call, Script, record, scripted};
use super::tests::SETTINGS;
use super::*;
use crate::{AppId, DeploymentId, KeyId, KeyRecord, ManualClock, SchemeId, SchemeRecord, SourceError};
use proptest::prelude::*;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

const HASHES: u8 = 3;
const APPS: i64 = 2;

/// One step. Numbers choose among what there is at that moment.
#[derive(Debug, Clone, Copy)]
enum Step {
    ChangeKey(u8),
    ChangeApp(u8),
    ChangeScheme(u8),
    ChangeNothing,
    /// The tailer applies the next entry of the log, or notices that the history is another.
    Deliver,
    Ask(u8),
    /// A reader gets its turn.
    Poll(u8),
    Leave(u8),
    /// A look-up at the source reads its snapshot, `lag` changes behind the newest.
    Snapshot {
        call: u8,
        lag: u8,
    },
    Answer(u8),
    Fail(u8),
    /// The runtime runs the fills as far as they get.
    Run,
    /// There is no room for a key any more, and nobody has been told yet.
    Evict(u8),
    Sweep,
    Wait,
    Restore(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let n = 0..8_u8;
    proptest::collection::vec(
        prop_oneof![
            3 => n.clone().prop_map(Step::ChangeKey),
            2 => n.clone().prop_map(Step::ChangeApp),
            2 => n.clone().prop_map(Step::ChangeScheme),
            1 => Just(Step::ChangeNothing),
            6 => Just(Step::Deliver),
            6 => n.clone().prop_map(Step::Ask),
            6 => n.clone().prop_map(Step::Poll),
            1 => n.clone().prop_map(Step::Leave),
            6 => (n.clone(), prop_oneof![4 => Just(0_u8), 1 => 1..4_u8]).prop_map(|(call, lag)| Step::Snapshot { call, lag }),
            6 => n.clone().prop_map(Step::Answer),
            1 => n.clone().prop_map(Step::Fail),
            8 => Just(Step::Run),
            2 => n.clone().prop_map(Step::Evict),
            1 => Just(Step::Sweep),
            1 => Just(Step::Wait),
            1 => n.prop_map(Step::Restore),
        ],
        0..150,
    )
}

/// Which hashes have a key at one version.
type Keys = [bool; HASHES as usize];

/// One history of the store.
#[derive(Debug)]
struct History {
    epoch: u64,
    /// The revision of the first snapshot.
    base: u64,
    /// One per revision, from the base on.
    snapshots: Vec<Keys>,
    /// The change that led to each snapshot but the first.
    log: Vec<ChangeKind>,
}

impl History {
    fn newest(&self) -> Version {
        Version {
            epoch: self.epoch,
            revision: self.base + u64::try_from(self.log.len()).unwrap(),
        }
    }

    fn keys_at(&self, revision: u64) -> Keys {
        self.snapshots[usize::try_from(revision - self.base).unwrap()]
    }

    fn commit(&mut self, kind: ChangeKind, keys: Keys) {
        self.snapshots.push(keys);
        self.log.push(kind);
    }

    /// Whether a change after `from`, up to `to`, concerns the hash.
    fn touched(&self, hash: u8, from: u64, to: u64) -> bool {
        (from + 1..=to).any(|revision| {
            let index = usize::try_from(revision - self.base - 1).unwrap();
            match self.log[index] {
                ChangeKind::KeyCreated(key) | ChangeKind::KeyChanged(key) => key == hash_of(hash),
                ChangeKind::AppChanged(app) => app == app_of(hash),
                ChangeKind::SchemeChanged(scheme) => scheme == scheme_of(hash),
                ChangeKind::TokenRevoked(_) | ChangeKind::NoKey => false,
            }
        })
    }
}

fn hash_of(hash: u8) -> KeyHash {
    // Two of the three share a stripe.
    let mut bytes = [hash; 32];
    bytes[..2].fill(hash / 2);
    KeyHash(bytes)
}

fn app_of(hash: u8) -> AppId {
    AppId(i64::from(hash) % APPS)
}

fn scheme_of(hash: u8) -> SchemeId {
    SchemeId(i64::from(hash) % APPS + 10)
}

fn record_of(hash: u8) -> KeyRecord {
    let mut record = record(KeyId(i64::from(hash)));
    record.app.id = app_of(hash);
    record.scheme = Some(SchemeRecord {
        is_keys_own: false,
        id: scheme_of(hash),
        rules: Vec::new(),
    });
    record
}

struct Reader {
    hash: u8,
    future: Pin<Box<dyn Future<Output = Result<Found, SourceError>>>>,
}

struct Reading {
    call: Call,
    snapshot: Option<(Version, bool)>,
}

struct World {
    lookup: Arc<Lookup>,
    script: Script,
    hand: ManualClock,
    history: History,
    /// What the tailer applied last. `None` until it has heard of anything.
    heard: Option<Version>,
    readers: Vec<Reader>,
    readings: Vec<Reading>,
    /// Whether the source is honest and quick and nothing changes any more, so that every look-up must succeed.
    is_calm: bool,
}

impl World {
    fn new() -> World {
        let (source, script) = scripted();
        let (clock, hand) = Clock::manual(Moment {
            monotonic_us: 1,
            wall_us: 1,
        });
        let lookup = Lookup::new(SETTINGS, source, Arc::new(RuleSet::compile(None, &[])), clock);
        World {
            lookup: Arc::new(lookup),
            script,
            hand,
            history: History {
                epoch: 1,
                base: 0,
                snapshots: vec![Keys::default()],
                log: Vec::new(),
            },
            heard: None,
            readers: Vec::new(),
            readings: Vec::new(),
            is_calm: false,
        }
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::ChangeKey(n) => {
                let hash = n % HASHES;
                let mut keys = self.history.keys_at(self.history.newest().revision);
                let held = &mut keys[usize::from(hash)];
                let kind = match std::mem::replace(held, true) {
                    true => ChangeKind::KeyChanged(hash_of(hash)),
                    false => ChangeKind::KeyCreated(hash_of(hash)),
                };
                self.history.commit(kind, keys);
            }
            Step::ChangeApp(n) => self.commit(ChangeKind::AppChanged(app_of(n))),
            Step::ChangeScheme(n) => self.commit(ChangeKind::SchemeChanged(scheme_of(n))),
            Step::ChangeNothing => self.commit(ChangeKind::NoKey),
            Step::Deliver => self.deliver(),
            Step::Ask(n) => self.ask(n % HASHES),
            Step::Poll(n) => self.poll(n),
            Step::Leave(n) => drop(choose(&mut self.readers, n)),
            Step::Snapshot { call, lag } => self.snapshot(call, lag),
            Step::Answer(n) => {
                let ready = self.readings.iter().position(|reading| reading.snapshot.is_some());
                if let Some(first) = ready {
                    let index = (first..self.readings.len())
                        .filter(|&index| self.readings[index].snapshot.is_some())
                        .nth(usize::from(n) % 2)
                        .unwrap_or(first);
                    self.answer(index);
                }
            }
            Step::Fail(n) => drop(choose(&mut self.readings, n)),
            Step::Run => self.run().await,
            Step::Evict(n) => {
                let hash = hash_of(n % HASHES);
                self.lookup.drop_held(&mut self.lookup.stripes.of(&hash), &hash);
            }
            Step::Sweep => self.lookup.sweep(),
            Step::Wait => self.hand.advance_us(4_000_000),
            Step::Restore(n) => self.restore(u64::from(n)),
        }
        for hash in 0..HASHES {
            self.look(hash);
        }
    }

    fn commit(&mut self, kind: ChangeKind) {
        let keys = self.history.keys_at(self.history.newest().revision);
        self.history.commit(kind, keys);
    }

    fn deliver(&mut self) {
        match self.heard {
            Some(heard) if heard.epoch == self.history.epoch => {
                if heard.revision < self.history.newest().revision {
                    self.apply(heard.revision + 1);
                }
            }
            // The tailer starts, or starts anew, from where the log is then. The very first time it does not say so.
            None if !self.history.log.is_empty() => self.apply(self.history.newest().revision),
            _ => {
                self.lookup.distrust_all(self.history.newest());
                self.heard = Some(self.history.newest());
            }
        }
    }

    fn apply(&mut self, revision: u64) {
        let version = Version {
            epoch: self.history.epoch,
            revision,
        };
        let kind = self.history.log[usize::try_from(revision - self.history.base - 1).unwrap()];
        self.lookup.apply(&Change {
            version,
            deployment_id: DeploymentId(1),
            kind,
        });
        self.heard = Some(version);
    }

    fn ask(&mut self, hash: u8) {
        if self.look(hash) {
            return;
        }
        let lookup = Arc::clone(&self.lookup);
        let future = Box::pin(async move { lookup.fill(&hash_of(hash)).await });
        self.readers.push(Reader { hash, future });
        self.poll(u8::try_from(self.readers.len() - 1).unwrap());
    }

    /// Looks into the cache as a request would; says whether there was an answer.
    fn look(&self, hash: u8) -> bool {
        let Some(found) = self.lookup.held(&hash_of(hash), self.lookup.clock.now()) else {
            return false;
        };
        self.judge(hash, &found);
        true
    }

    fn poll(&mut self, n: u8) {
        if self.readers.is_empty() {
            return;
        }
        let index = usize::from(n) % self.readers.len();
        let mut context = Context::from_waker(Waker::noop());
        if let Poll::Ready(outcome) = self.readers[index].future.as_mut().poll(&mut context) {
            let reader = self.readers.swap_remove(index);
            match outcome {
                Ok(found) => self.judge(reader.hash, &found),
                Err(error) => assert!(!self.is_calm, "{} is not told: {error}", reader.hash),
            }
        }
    }

    /// The promise: nothing that an applied change made outdated.
    fn judge(&self, hash: u8, found: &Found) {
        let Some(heard) = self.heard else { return };
        if heard.epoch != self.history.epoch {
            // The tailer has not noticed yet that the history is another: nothing can be held against it.
            return;
        }
        match found {
            Found::Known(key) => {
                assert_eq!(key.key_id, KeyId(i64::from(hash)));
                assert_eq!(key.as_of.epoch, heard.epoch, "of another history");
                assert!(
                    !self.history.touched(hash, key.as_of.revision, heard.revision),
                    "{hash} read at {:?} is given although {heard:?} was applied",
                    key.as_of
                );
            }
            Found::Unknown => {
                assert!(
                    !self.history.keys_at(heard.revision)[usize::from(hash)],
                    "{hash} exists at {heard:?}"
                );
            }
        }
    }

    fn snapshot(&mut self, n: u8, lag: u8) {
        while let Some(call) = self.script.try_call() {
            self.readings.push(Reading { call, snapshot: None });
        }
        if self.readings.is_empty() {
            return;
        }
        let index = usize::from(n) % self.readings.len();
        let reading = &mut self.readings[index];
        if reading.snapshot.is_none() {
            let newest = self.history.newest();
            let revision = newest.revision.saturating_sub(u64::from(lag)).max(self.history.base);
            let hash = (0..HASHES).find(|&hash| hash_of(hash) == reading.call.hash).unwrap();
            let exists = self.history.keys_at(revision)[usize::from(hash)];
            reading.snapshot = Some((Version { revision, ..newest }, exists));
        }
    }

    fn answer(&mut self, index: usize) {
        let reading = self.readings.remove(index);
        let hash = (0..HASHES).find(|&hash| hash_of(hash) == reading.call.hash).unwrap();
        let (as_of, exists) = reading.snapshot.unwrap();
        reading.call.answer(as_of, exists.then(|| record_of(hash)));
    }

    /// A backup takes the place of the store: an older state under a new epoch, at any revision.
    fn restore(&mut self, n: u64) {
        let newest = self.history.newest();
        let keys = self
            .history
            .keys_at(newest.revision.saturating_sub(n).max(self.history.base));
        let base = newest.revision.saturating_sub(n / 2);
        self.history = History {
            epoch: newest.epoch + 1,
            base,
            snapshots: vec![keys],
            log: Vec::new(),
        };
    }

    async fn run(&self) {
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }

    /// Lets everything come to its end, with an honest and quick source: nobody may be left waiting, and what is then held must be
    /// the newest truth.
    async fn finish(mut self) {
        while self.heard != Some(self.history.newest()) {
            self.deliver();
        }
        self.drain().await;
        // Who there is no room for goes now, so that nobody does while the rest is looked at.
        self.lookup.sweep();
        self.is_calm = true;
        for hash in 0..HASHES {
            self.ask(hash);
        }
        self.drain().await;
        let newest = self.history.keys_at(self.history.newest().revision);
        for hash in 0..HASHES {
            let found = self.lookup.held(&hash_of(hash), self.lookup.clock.now());
            assert_eq!(matches!(found, Some(Found::Known(_))), newest[usize::from(hash)]);
        }
        assert_eq!(self.lookup.waiters.load(Ordering::Relaxed), 0);
        let held: usize = self.lookup.stripes.each().map(|stripe| stripe.held.count()).sum();
        assert_eq!(self.lookup.room.count(), held);
        self.run().await;
        assert!(self.lookup.stripes.each().all(|stripe| stripe.flights.is_empty()));
    }

    /// Answers all who ask until nobody does, and until the look-ups of those who left have ended too: whoever joins one shares its
    /// failure.
    async fn drain(&mut self) {
        let mut rounds = 0;
        while !self.readers.is_empty() || self.lookup.flights.load(Ordering::Relaxed) > 0 {
            rounds += 1;
            assert!(rounds < 10_000, "{} readers are stranded", self.readers.len());
            self.run().await;
            self.snapshot(0, 0);
            while !self.readings.is_empty() {
                self.snapshot(0, 0);
                self.answer(0);
            }
            for n in 0..self.readers.len() {
                self.poll(u8::try_from(n).unwrap());
            }
            tokio::time::sleep(Duration::from_micros(100)).await;
        }
    }
}

fn choose<T>(among: &mut Vec<T>, n: u8) -> Option<T> {
    if among.is_empty() {
        None
    } else {
        Some(among.swap_remove(usize::from(n) % among.len()))
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_outdated_is_given_once_a_change_is_applied(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new();
            for step in steps {
                world.step(step).await;
            }
            world.finish().await;
        });
    }
}
