//! A process that is killed at any moment: what it confirmed stays.

use super::*;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

/// Set in the process that is to be killed: the folder.
const VICTIM: &str = "PORTCULLIS_TEST_SNAPSHOT_VICTIM";
const ROUNDS: u32 = 30;

fn open(folder: &Path) -> (Arc<Snapshot>, Loaded) {
    let settings = SnapshotSettings {
        path: folder.join("known"),
        keys_max: 100_000,
        scope: Scope::of_token("token"),
    };
    // Small enough for many new bases.
    open_patiently(&settings, &Clock::system(), 4_000)
}

#[test]
fn a_revocation_that_was_confirmed_outlives_kill_9() {
    if let Ok(folder) = std::env::var(VICTIM) {
        revoke_until_killed(Path::new(&folder));
    }
    let folder = tempfile::tempdir().unwrap();
    let mut dead = BTreeSet::new();
    let (mut kept, mut confirmed) = (0, 4);
    for round in 0..ROUNDS {
        let mut victim = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "--nocapture",
                "snapshot::tests::killed::a_revocation_that_was_confirmed_outlives_kill_9",
            ])
            .env(VICTIM, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(victim.stdout.take().unwrap()).lines();
        // It is killed while it goes on, after another number of confirmations each time.
        let mut seen = 0;
        for line in lines.by_ref() {
            let line = line.unwrap();
            if let Some(n) = line.strip_prefix("confirmed ") {
                dead.insert(n.parse::<u64>().unwrap());
                seen += 1;
            }
            if seen > round * 7 % 40 {
                break;
            }
        }
        victim.kill().unwrap();
        victim.wait().unwrap();
        // What it had still said before it died was confirmed too.
        for line in lines.map_while(Result::ok) {
            dead.extend(line.strip_prefix("confirmed ").and_then(|n| n.parse::<u64>().ok()));
        }
        assert!(seen > 0, "it said nothing");
        let (snapshot, loaded) = open(folder.path());
        let Loaded::Usable(usable) = loaded else {
            panic!("{loaded:?}")
        };
        assert!(usable.applied.revision >= confirmed, "{:?} {confirmed}", usable.applied);
        confirmed = confirmed.max(usable.applied.revision);
        let last = *dead.last().unwrap();
        assert!(usable.applied.revision > last, "{:?} {last}", usable.applied);
        let keys = keys(usable.keys);
        let back: Vec<_> = dead.iter().filter(|n| keys.contains_key(n)).collect();
        assert!(back.is_empty(), "{back:?} came back");
        kept += keys.len();
        drop(snapshot);
    }
    assert!(kept > 100, "the files hold next to nothing: {kept}");
}

/// Tells of keys, and ends every second one of them.
fn revoke_until_killed(folder: &Path) -> ! {
    let (snapshot, loaded) = open(folder);
    snapshot.bind(&welcome()).unwrap();
    let mut revision = match loaded {
        Loaded::Usable(usable) => usable.applied.revision,
        Loaded::Nothing => {
            snapshot.reset(at(5)).unwrap();
            5
        }
        Loaded::Rejected(why) => panic!("{why}"),
    };
    loop {
        put(&snapshot, revision, at(revision));
        put(&snapshot, revision + 1_000_000, at(revision));
        snapshot
            .changed(&run(revision, revision + 1, &[(revision + 1, changed(revision))]))
            .unwrap();
        writeln!(io::stdout(), "confirmed {revision}").unwrap();
        snapshot.fresh(at(revision + 1), Clock::system().now());
        revision += 1;
    }
}
