//! A table of every key under every interleaving that a random schedule can find of commits, log entries, pages, refetches, requests,
//! resets and restored backups, held against a model that knows the truth at every version.

use super::scripted_source::{record, scripted};
use super::tests::SETTINGS;
use super::*;
use crate::{AppId, DeploymentId, KeyId, KeyRecord};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use std::cell::Cell;

const KEYS_MAX: u8 = 5;
const PAGE: u8 = 2;

/// One step. Numbers choose among what there is at that moment.
#[derive(Debug, Clone, Copy)]
enum Step {
    Create,
    ChangeKey(u8),
    ChangeApp(u8),
    ChangeNothing,
    /// The follower applies the next entry of the log, or is told that it cannot be told what happened.
    Deliver,
    /// The follower is told so although the history is the same: it slept past the log's floor.
    Skip,
    /// The walk reads its next page, `lag` changes behind the newest.
    ReadPage {
        lag: u8,
    },
    /// One key of what was read reaches the table.
    LandPage,
    /// All keys of what was read do.
    LandPages,
    /// If it is through, the walk says so.
    EndWalk,
    /// A key is read again, `lag` changes behind the newest.
    Read {
        key: u8,
        lag: u8,
    },
    /// What was read reaches the table, in any order.
    Land(u8),
    Walk,
    Restore(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let n = 0..8_u8;
    let lag = prop_oneof![4 => Just(0_u8), 1 => 1..4_u8];
    proptest::collection::vec(
        prop_oneof![
            4 => Just(Step::Create),
            3 => n.clone().prop_map(Step::ChangeKey),
            1 => n.clone().prop_map(Step::ChangeApp),
            1 => Just(Step::ChangeNothing),
            8 => Just(Step::Deliver),
            1 => Just(Step::Skip),
            8 => lag.clone().prop_map(|lag| Step::ReadPage { lag }),
            4 => Just(Step::LandPage),
            4 => Just(Step::LandPages),
            6 => Just(Step::EndWalk),
            4 => (n.clone(), lag).prop_map(|(key, lag)| Step::Read { key, lag }),
            4 => n.clone().prop_map(Step::Land),
            1 => Just(Step::Walk),
            1 => n.prop_map(Step::Restore),
        ],
        0..200,
    )
}

/// One history of the store. Keys have the ids 1, 2, … in the order of their creation.
struct History {
    epoch: u64,
    /// The revision of the first snapshot.
    base: u64,
    /// How many keys there are, per revision, from the base on.
    keys: Vec<u8>,
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

    fn keys_at(&self, revision: u64) -> u8 {
        self.keys[usize::try_from(revision - self.base).unwrap()]
    }

    fn before_newest(&self, lag: u8) -> Version {
        let newest = self.newest();
        Version {
            revision: newest.revision.saturating_sub(u64::from(lag)).max(self.base),
            ..newest
        }
    }

    /// Whether a change after `from`, up to `to`, concerns the key.
    fn touched(&self, key: u8, from: u64, to: u64) -> bool {
        (from + 1..=to).any(
            |revision| match self.log[usize::try_from(revision - self.base - 1).unwrap()] {
                ChangeKind::KeyCreated(hash) | ChangeKind::KeyChanged(hash) => hash == hash_of(key),
                ChangeKind::AppChanged(app) => app == app_of(key),
                ChangeKind::SchemeChanged(_) | ChangeKind::TokenRevoked(_) | ChangeKind::NoKey => false,
            },
        )
    }
}

fn hash_of(key: u8) -> KeyHash {
    // Two of them share a stripe.
    let mut bytes = [key; 32];
    bytes[..2].fill(key / 2);
    KeyHash(bytes)
}

fn app_of(key: u8) -> AppId {
    AppId(i64::from(key % 2))
}

fn record_of(key: u8) -> KeyRecord {
    let mut record = record(KeyId(i64::from(key)));
    record.app.id = app_of(key);
    record
}

/// What was read of one key.
#[derive(Clone, Copy)]
struct Read {
    key: u8,
    as_of: Version,
    exists: bool,
}

/// A walk over all keys by rising id, as whoever fills the table does it.
#[derive(Default)]
struct Walk {
    /// The id that was reached.
    reached: u8,
    /// When the last page was read, once it was.
    ended_at: Option<Version>,
    is_told: bool,
}

struct World {
    lookup: Lookup,
    history: History,
    /// What the follower applied last.
    heard: Version,
    walk: Walk,
    /// What pages told and the table has not heard yet, in order.
    pages: Vec<Read>,
    /// The same of keys that were read one by one.
    reads: Vec<Read>,
    /// Times that a hash was called unknown because the table was whole.
    unknown: u64,
}

impl World {
    fn new() -> World {
        let (source, _script) = scripted();
        let (clock, _hand) = Clock::manual(Moment {
            monotonic_us: 1,
            wall_us: 1,
        });
        let lookup = Lookup::of_every_key(SETTINGS, source, Arc::new(RuleSet::compile(None, &[])), clock);
        let history = History {
            epoch: 1,
            base: 3,
            keys: vec![1],
            log: Vec::new(),
        };
        let heard = history.newest();
        lookup.distrust_all(heard);
        lookup.incomplete();
        World {
            lookup,
            history,
            heard,
            walk: Walk::default(),
            pages: Vec::new(),
            reads: Vec::new(),
            unknown: 0,
        }
    }

    fn step(&mut self, step: Step) {
        let newest = self.history.newest();
        let count = self.history.keys_at(newest.revision);
        match step {
            Step::Create if count < KEYS_MAX => self.commit(ChangeKind::KeyCreated(hash_of(count + 1)), count + 1),
            Step::ChangeKey(n) if count > 0 => self.commit(ChangeKind::KeyChanged(hash_of(n % count + 1)), count),
            Step::ChangeApp(n) => self.commit(ChangeKind::AppChanged(app_of(n)), count),
            Step::Create | Step::ChangeKey(_) | Step::ChangeNothing => self.commit(ChangeKind::NoKey, count),
            Step::Deliver => self.deliver(),
            Step::Skip => self.reset(),
            Step::ReadPage { lag } => self.read_page(lag),
            Step::LandPage => {
                if !self.pages.is_empty() {
                    let read = self.pages.remove(0);
                    self.land(read);
                }
            }
            Step::LandPages => {
                for read in std::mem::take(&mut self.pages) {
                    self.land(read);
                }
            }
            Step::EndWalk => self.end_walk(),
            Step::Read { key, lag } => {
                let (key, as_of) = (key % KEYS_MAX + 1, self.history.before_newest(lag));
                let exists = key <= self.history.keys_at(as_of.revision);
                self.reads.push(Read { key, as_of, exists });
            }
            Step::Land(n) => {
                if !self.reads.is_empty() {
                    let read = self.reads.swap_remove(usize::from(n) % self.reads.len());
                    self.land(read);
                }
            }
            Step::Walk => self.walk(),
            Step::Restore(n) => self.restore(u64::from(n)),
        }
        self.look();
    }

    fn commit(&mut self, kind: ChangeKind, keys: u8) {
        self.history.keys.push(keys);
        self.history.log.push(kind);
    }

    fn deliver(&mut self) {
        let newest = self.history.newest();
        if self.heard.epoch != newest.epoch {
            self.reset();
        } else if self.heard.revision < newest.revision {
            self.heard.revision += 1;
            let index = usize::try_from(self.heard.revision - self.history.base - 1).unwrap();
            self.lookup.apply(&Change {
                version: self.heard,
                deployment_id: DeploymentId(1),
                kind: self.history.log[index],
            });
        }
    }

    fn reset(&mut self) {
        self.heard = self.history.newest();
        self.lookup.distrust_all(self.heard);
        self.walk();
    }

    /// The walk begins anew. What it had read before may still reach the table.
    fn walk(&mut self) {
        self.lookup.incomplete();
        self.walk = Walk::default();
        self.reads.append(&mut self.pages);
    }

    fn read_page(&mut self, lag: u8) {
        if self.walk.ended_at.is_some() {
            return;
        }
        let as_of = self.history.before_newest(lag);
        let last = self.history.keys_at(as_of.revision);
        let through = last.min(self.walk.reached + PAGE);
        self.pages.extend((self.walk.reached + 1..=through).map(|key| Read {
            key,
            as_of,
            exists: true,
        }));
        self.walk.reached = self.walk.reached.max(through);
        if through == last {
            self.walk.ended_at = Some(as_of);
        }
    }

    fn end_walk(&mut self) {
        let Some(at) = self.walk.ended_at else { return };
        if self.pages.is_empty() && self.heard.covers(at) && !self.walk.is_told {
            self.walk.is_told = true;
            self.lookup.complete(at);
        }
    }

    fn land(&self, read: Read) {
        let hash = hash_of(read.key);
        if read.exists {
            self.lookup.admit(hash, record_of(read.key), read.as_of);
        } else {
            self.lookup.note_absent(&hash, read.as_of);
        }
    }

    /// A backup takes the place of the store: an older state under a new epoch, at any revision.
    fn restore(&mut self, n: u64) {
        let newest = self.history.newest();
        let keys = self
            .history
            .keys_at(newest.revision.saturating_sub(n).max(self.history.base));
        self.history = History {
            epoch: newest.epoch + 1,
            base: newest.revision.saturating_sub(n / 2),
            keys: vec![keys],
            log: Vec::new(),
        };
    }

    /// The promise: nothing that an applied change made outdated, and no key taken for unknown.
    fn look(&mut self) {
        for key in 1..=KEYS_MAX {
            let found = self.lookup.held(&hash_of(key), self.lookup.clock.now());
            if self.heard.epoch != self.history.epoch {
                // The follower has not noticed yet that the history is another: nothing can be held against it.
                continue;
            }
            match found {
                Some(Found::Known(held)) => {
                    assert_eq!(held.key_id, KeyId(i64::from(key)));
                    assert_eq!(held.as_of.epoch, self.heard.epoch, "of another history");
                    assert!(
                        !self.history.touched(key, held.as_of.revision, self.heard.revision),
                        "{key} read at {:?} is given although {:?} was applied",
                        held.as_of,
                        self.heard
                    );
                }
                Some(Found::Unknown) => {
                    let count = self.history.keys_at(self.heard.revision);
                    assert!(key > count, "{key} exists at {:?}", self.heard);
                    self.unknown += u64::from(self.lookup.completeness.is_complete());
                }
                None => {}
            }
        }
    }

    /// Walks once more without any disturbance: then the table must be whole and right, and nothing left to ask.
    fn finish(mut self) -> u64 {
        while self.heard != self.history.newest() {
            self.deliver();
            self.look();
        }
        self.walk();
        while self.walk.ended_at.is_none() {
            self.read_page(0);
        }
        self.step(Step::LandPages);
        self.end_walk();
        assert!(self.lookup.table().unwrap().is_complete);
        // What changed earlier may be pending still, and so may what is told so late that it is of no use.
        while !self.reads.is_empty() {
            self.step(Step::Land(0));
        }
        for key in 1..=KEYS_MAX {
            self.step(Step::Read { key: key - 1, lag: 0 });
        }
        while !self.reads.is_empty() {
            self.step(Step::Land(0));
        }
        assert_eq!(self.lookup.table().unwrap().pending, 0);
        let count = self.history.keys_at(self.heard.revision);
        for key in 1..=KEYS_MAX {
            let found = self.lookup.held(&hash_of(key), self.lookup.clock.now());
            assert_eq!(matches!(found, Some(Found::Known(_))), key <= count, "{found:?}");
            assert_eq!(matches!(found, Some(Found::Unknown)), key > count, "{found:?}");
        }
        let held = self.lookup.room.count();
        assert!(held <= usize::from(KEYS_MAX), "{held}");
        self.unknown
    }
}

#[test]
fn a_table_gives_nothing_outdated_and_takes_no_key_for_unknown() {
    let config = ProptestConfig {
        cases: 1_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let unknown = Cell::new(0_u64);
    let outcome = TestRunner::new(config).run(&steps(), |steps| {
        let mut world = World::new();
        for step in steps {
            world.step(step);
        }
        unknown.set(unknown.get() + world.finish());
        Ok(())
    });
    outcome.unwrap();
    assert!(
        unknown.get() > 10_000,
        "the schedules seldom get as far as a whole table: {}",
        unknown.get()
    );
}
