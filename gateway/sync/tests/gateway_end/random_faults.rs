//! A control end that makes random mistakes and then mends its ways: whatever it did, the gateway heard each change once and in
//! order, and took itself for fresh only when it was.
//!
//! `PORTCULLIS_SEEDS=n` goes through so many of them.

use crate::control_end::{ControlEnd, Watch, at};
use crate::gateway::{Gateway, Setup};
use portcullis_sync::message::{ChangeLine, Changes, FromControl, Touches};
use portcullis_verify::{AppId, Version};
use std::ops::Range;

/// How many control ends there are, each with mistakes of its own.
const SEEDS: u64 = 24;
/// Watches that end in a mistake, per control end.
const WATCHES: u32 = 12;
/// Revisions of one history are in one such range, so that a revision says which history it is of.
const HISTORY: u64 = 1_000_000;

/// Numbers that look random, the same for the same seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }
}

/// A log, and when each change was committed.
struct Log {
    chance: Chance,
    histories: u64,
    /// `(revision, monotonic microseconds, whether it concerns the gateway)`, in order.
    commits: Vec<(u64, u64, bool)>,
    head: Version,
}

impl Log {
    fn new(seed: u64) -> Log {
        Log {
            chance: Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            histories: 0,
            commits: Vec::new(),
            head: at(10),
        }
    }

    fn commit(&mut self, gateway: &Gateway) {
        gateway.hands.advance_us(1_000);
        self.head.revision += 1;
        let concerns = self.chance.below(3) > 0;
        let now_us = gateway.clock.now().monotonic_us;
        self.commits.push((self.head.revision, now_us, concerns));
    }

    /// The store is restored from a backup: another history, which lacks whatever was committed last.
    fn restore(&mut self) {
        self.histories += 1;
        self.head = Version {
            epoch: self.head.epoch + 1,
            revision: self.histories * HISTORY,
        };
    }

    fn run(&self, after: u64, through: u64) -> FromControl {
        let listed = self
            .commits
            .iter()
            .filter(|(revision, _, concerns)| *concerns && *revision > after && *revision <= through);
        FromControl::Changes(Changes {
            epoch: self.head.epoch,
            after,
            through,
            changes: listed
                .map(|(revision, _, _)| ChangeLine {
                    revision: *revision,
                    touches: Touches::App(AppId(1)),
                })
                .collect(),
        })
    }

    /// Revisions of the present history after `after`.
    fn missing(&self, after: Version) -> Range<u64> {
        after.revision..self.head.revision
    }
}

/// One watch as the control end sees it.
struct Told {
    watch: Watch,
    cursor: Version,
}

impl Told {
    /// Welcomes, and resets where that is due.
    async fn begin(watch: Watch, log: &Log) -> Told {
        watch.welcome().await;
        let cursor = match watch.hello.applied {
            Some(applied) if applied.epoch == log.head.epoch => applied,
            _ => {
                watch.reset(log.head).await;
                log.head
            }
        };
        assert!(
            cursor.revision <= log.head.revision,
            "it has applied what was never told"
        );
        Told { watch, cursor }
    }

    /// Tells what is missing, all or the first part of it.
    async fn tell(&mut self, log: &mut Log, all: bool) {
        let missing = log.missing(self.cursor);
        if missing.is_empty() {
            return;
        }
        let part = 1 + log.chance.below(missing.end - missing.start);
        let through = if all { missing.end } else { missing.start + part };
        self.watch.say(log.run(self.cursor.revision, through)).await;
        self.cursor.revision = through;
    }

    /// Waits for a ping and answers it as it should be answered. False: the gateway has hung up.
    async fn answer(&mut self, log: &mut Log, gateway: &Gateway) -> bool {
        let Some(ping) = self.watch.ping_or_end().await else {
            return false;
        };
        if log.chance.below(2) == 0 {
            log.commit(gateway);
        }
        self.tell(log, true).await;
        self.watch.pong(ping.number, log.head).await;
        true
    }

    /// Makes a mistake, after which there is nothing more to say.
    async fn blunder(mut self, log: &mut Log, gateway: &Gateway) {
        log.commit(gateway);
        log.commit(gateway);
        let (cursor, head) = (self.cursor.revision, log.head.revision);
        match log.chance.below(7) {
            // A change is left out.
            0 => self.watch.say(log.run(cursor + 1, head)).await,
            // One is told twice.
            1 => self.watch.say(log.run(cursor - 1, head)).await,
            // A line is cut short.
            2 => {
                let mut line = serde_json::to_vec(&log.run(cursor, head)).unwrap();
                let kept = log.chance.below(u64::try_from(line.len()).unwrap());
                line.truncate(usize::try_from(kept).unwrap());
                self.watch.send(line).await;
                return;
            }
            // An answer overtakes the changes that it covers.
            3 => match self.watch.ping_or_end().await {
                Some(ping) => self.watch.pong(ping.number, log.head).await,
                None => return,
            },
            4 => return self.watch.break_off().await,
            // The store is restored, and changes go on as if nothing had happened.
            5 => {
                log.restore();
                log.commit(gateway);
                self.watch.say(log.run(cursor, log.head.revision)).await;
            }
            _ => self.watch.send("{\"changes\":{}}\n").await,
        }
        self.watch.hung_up().await;
    }
}

/// What the gateway noted, held against the log.
fn check(seed: u64, log: &Log, heard: &[String]) {
    let listed = || log.commits.iter().filter(|(_, _, concerns)| *concerns);
    for sink in ["first", "second"] {
        let mut cursor = None;
        for line in heard.iter().filter_map(|line| line.strip_prefix(sink)) {
            let said = line.strip_prefix(": ").unwrap();
            if let Some(to) = said.strip_prefix("all at ") {
                cursor = Some(to.parse().unwrap());
                continue;
            }
            let revision: u64 = said.parse().unwrap();
            let after: u64 = cursor.expect("a change before anything was reset");
            let due = listed().map(|(due, _, _)| *due).find(|due| *due > after);
            assert_eq!(Some(revision), due, "seed {seed}, {sink}: after {after}");
            cursor = Some(revision);
        }
    }
    let mut notes = 0;
    for note in heard.iter().filter_map(|line| line.strip_prefix("fresh: ")) {
        let (applied, at_us) = note.split_once(" at ").unwrap();
        let (applied, at_us): (u64, u64) = (applied.parse().unwrap(), at_us.parse().unwrap());
        let history = applied / HISTORY;
        for (revision, committed_us, _) in &log.commits {
            // What a restored backup lacks, nobody needs to have heard of.
            let is_heard = *revision <= applied || revision / HISTORY < history;
            assert!(
                is_heard || *committed_us >= at_us,
                "seed {seed}: fresh at {at_us} with {applied}, but {revision} was committed at {committed_us}"
            );
        }
        notes += 1;
    }
    assert!(notes > 0, "seed {seed}: it was never fresh");
}

async fn explore(seed: u64) {
    let mut log = Log::new(seed);
    let mut control = ControlEnd::start().await;
    let gateway = Setup::new(control.url()).start();
    for _ in 0..WATCHES {
        let mut told = Told::begin(control.watch().await, &log).await;
        let mut is_listening = true;
        for _ in 0..log.chance.below(8) {
            match log.chance.below(3) {
                0 => log.commit(&gateway),
                1 => told.tell(&mut log, false).await,
                _ => is_listening = told.answer(&mut log, &gateway).await,
            }
            assert!(is_listening, "seed {seed}: it hung up without a reason");
        }
        told.blunder(&mut log, &gateway).await;
    }
    // From here on all is well, and so must be the gateway.
    let mut told = Told::begin(control.watch().await, &log).await;
    while gateway.handle.applied() != Some(log.head) || gateway.staleness().is_none() {
        assert!(told.answer(&mut log, &gateway).await, "seed {seed}");
        tokio::task::yield_now().await;
    }
    check(seed, &log, &gateway.heard.lock());
}

#[tokio::test]
async fn each_change_is_heard_once_in_order_and_freshness_is_never_claimed_too_soon() {
    let asked = std::env::var("PORTCULLIS_SEEDS").ok();
    let seeds = asked.map_or(SEEDS, |seeds| seeds.parse().expect("a number of seeds"));
    for first in (1..=seeds).step_by(usize::try_from(SEEDS).unwrap()) {
        let some = first..(first + SEEDS).min(seeds + 1);
        let some: Vec<_> = some.map(|seed| tokio::spawn(explore(seed))).collect();
        for one in some {
            tokio::time::timeout(std::time::Duration::from_secs(120), one)
                .await
                .expect("it did not come to an end")
                .unwrap();
        }
    }
}
