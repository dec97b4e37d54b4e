//! What is told is found again by the next process, and nothing that a change made outdated.

mod ages;
mod compaction;
mod crowd;
mod damage;
mod disk;
mod killed;
mod model;

use super::*;
use crate::message::{ChangeLine, HashText, Touches};
use portcullis_verify::{AppId, AppRecord, DeploymentId, KeyId, ManualClock, SchemeId, SchemeRecord};
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const START: Moment = Moment {
    monotonic_us: 500_000_000,
    wall_us: 1_700_000_000_000_000,
};

/// How long a test waits for what must come.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);

#[expect(
    clippy::disallowed_methods,
    reason = "a test that waits for a thread must not wait for ever"
)]
fn waiting_since() -> std::time::Instant {
    std::time::Instant::now()
}

/// A folder, and a clock that stands still.
struct Desk {
    folder: tempfile::TempDir,
    clock: Clock,
    hand: ManualClock,
    keys_max: u64,
    journal_bytes_min: u64,
}

fn desk() -> Desk {
    let (clock, hand) = Clock::manual(START);
    Desk {
        folder: tempfile::tempdir().unwrap(),
        clock,
        hand,
        keys_max: 100_000,
        journal_bytes_min: JOURNAL_BYTES_MIN,
    }
}

impl Desk {
    fn path(&self) -> PathBuf {
        self.folder.path().join("known")
    }

    fn settings(&self) -> SnapshotSettings {
        SnapshotSettings {
            path: self.path(),
            keys_max: self.keys_max,
            scope: Scope::of_token("token"),
        }
    }

    fn open(&self) -> (Arc<Snapshot>, Loaded) {
        open_patiently(&self.settings(), &self.clock, self.journal_bytes_min)
    }

    /// A snapshot of nothing, at revision 5.
    fn begin(&self) -> Arc<Snapshot> {
        let (snapshot, loaded) = self.open();
        assert!(matches!(loaded, Loaded::Nothing), "{loaded:?}");
        assert_eq!(snapshot.bind(&welcome()).unwrap(), Bound::Resumed);
        snapshot.reset(at(5)).unwrap();
        snapshot
    }

    fn usable(&self) -> Usable {
        match self.open().1 {
            Loaded::Usable(usable) => *usable,
            other => panic!("{other:?}"),
        }
    }

    fn files(&self) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(self.folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

/// A process that another test starts holds every lock of this one for a moment, until it is another program.
fn open_patiently(settings: &SnapshotSettings, clock: &Clock, journal_bytes_min: u64) -> (Arc<Snapshot>, Loaded) {
    let since = waiting_since();
    loop {
        match Snapshot::open_with(settings, clock.clone(), journal_bytes_min) {
            Err(SnapshotError::InUse { .. }) if since.elapsed() < PATIENCE => std::thread::yield_now(),
            opened => return opened.unwrap(),
        }
    }
}

fn welcome() -> Welcome {
    Welcome {
        deployment_id: DeploymentId(3),
        deployment_name: "acme".to_owned(),
        apps: vec!["shop".to_owned()],
    }
}

const fn at(revision: u64) -> Version {
    Version { epoch: 7, revision }
}

fn hash(n: u64) -> KeyHash {
    KeyHash(*blake3::hash(&n.to_le_bytes()).as_bytes())
}

/// Keys with an even number are of app 0 and under scheme 10, the others of app 1 and under none.
fn record(n: u64) -> KeyRecord {
    let number = i64::try_from(n).unwrap();
    KeyRecord {
        key_id: KeyId(number),
        lineage_id: KeyId(1),
        deployment_id: DeploymentId(3),
        app: AppRecord {
            id: AppId(number % 2),
            slug: "shop".to_owned(),
            is_active: true,
            permissions: vec!["read".to_owned()],
            resources: Vec::new(),
        },
        name: format!("key {n} \"ü\""),
        permissions: vec!["read".to_owned()],
        metadata: serde_json::from_str(r#"{"a":[1,null]}"#).unwrap(),
        owner_user_id: Some(9),
        organization_id: None,
        workspace_id: None,
        expires_at_us: Some(1 << 60),
        revoked_at_us: None,
        scheme: n.is_multiple_of(2).then_some(SchemeRecord {
            is_keys_own: false,
            id: SchemeId(10),
            rules: Vec::new(),
        }),
    }
}

fn put(snapshot: &Snapshot, n: u64, as_of: Version) {
    snapshot.put(&hash(n), as_of, &record(n));
}

fn run(after: u64, through: u64, lines: &[(u64, Touches)]) -> Changes {
    Changes {
        epoch: at(0).epoch,
        after,
        through,
        changes: lines
            .iter()
            .map(|&(revision, touches)| ChangeLine { revision, touches })
            .collect(),
    }
}

fn changed(n: u64) -> Touches {
    Touches::KeyChanged(HashText(hash(n)))
}

/// The keys, by number, and the revision up to which each holds. They must be what was put.
fn keys(saved: SavedKeys) -> BTreeMap<u64, u64> {
    let mut keys = BTreeMap::new();
    let handed = saved
        .for_each(|key, as_of, read| {
            let n = u64::try_from(read.key_id.0).unwrap();
            assert_eq!((key, &read), (hash(n), &record(n)));
            assert_eq!(as_of.epoch, at(0).epoch);
            assert!(keys.insert(n, as_of.revision).is_none(), "{n} came twice");
        })
        .unwrap();
    assert_eq!(handed.illegible, 0);
    assert_eq!(handed.keys, u64::try_from(keys.len()).unwrap());
    keys
}

fn numbers(saved: SavedKeys) -> Vec<u64> {
    keys(saved).into_keys().collect()
}

#[test]
fn what_is_told_is_found_again() {
    let desk = desk();
    let snapshot = desk.begin();
    for n in 1..=4 {
        put(&snapshot, n, at(5));
    }
    snapshot.changed(&run(5, 8, &[(7, changed(1))])).unwrap();
    put(&snapshot, 5, at(9));
    snapshot.fresh(at(8), desk.clock.now());
    drop(snapshot);
    desk.hand.advance_us(250_000);
    let usable = desk.usable();
    assert_eq!(
        (usable.deployment_id, usable.deployment_name.as_str()),
        (DeploymentId(3), "acme")
    );
    assert_eq!((usable.apps, usable.applied), (vec!["shop".to_owned()], at(8)));
    assert_eq!(
        (usable.fresh_at_us, usable.by),
        (Some(START.monotonic_us), Measured::BootClock)
    );
    assert_eq!(usable.keys.in_files(), 5);
    // One that was read later is known to hold up to then.
    assert_eq!(keys(usable.keys), BTreeMap::from([(2, 8), (3, 8), (4, 8), (5, 9)]));
    // And once more: reading changes nothing.
    assert_eq!(numbers(desk.usable().keys), [2, 3, 4, 5]);
}

#[test]
fn what_a_change_made_outdated_is_not_used_whenever_it_was_told() {
    fn check(touches: Touches, gone: &[u64]) {
        for is_told_late in [false, true] {
            for is_compacted in [false, true] {
                let desk = desk();
                let snapshot = desk.begin();
                let tell = || (1..=4).for_each(|n| put(&snapshot, n, at(5)));
                if !is_told_late {
                    tell();
                }
                snapshot.changed(&run(5, 6, &[(6, touches)])).unwrap();
                if is_compacted {
                    snapshot.keeper.compact();
                }
                if is_told_late {
                    tell();
                }
                drop(snapshot);
                let left: Vec<_> = (1..=4).filter(|n| !gone.contains(n)).collect();
                assert_eq!(
                    numbers(desk.usable().keys),
                    left,
                    "{touches:?} {is_told_late} {is_compacted}"
                );
                let (snapshot, _) = desk.open();
                gone.iter().for_each(|&n| put(&snapshot, n, at(6)));
                drop(snapshot);
                assert_eq!(numbers(desk.usable().keys), [1, 2, 3, 4], "read anew");
            }
        }
    }
    check(changed(2), &[2]);
    check(Touches::KeyCreated(HashText(hash(2))), &[2]);
    check(Touches::App(AppId(0)), &[2, 4]);
    check(Touches::App(AppId(9)), &[]);
    check(Touches::Scheme(SchemeId(10)), &[2, 4]);
    check(Touches::Scheme(SchemeId(9)), &[]);
}

#[test]
fn a_reset_leaves_what_was_read_at_it_or_later() {
    let desk = desk();
    let snapshot = desk.begin();
    put(&snapshot, 1, at(5));
    put(&snapshot, 2, at(20));
    snapshot.reset(at(20)).unwrap();
    put(&snapshot, 3, at(19));
    put(&snapshot, 4, at(21));
    drop(snapshot);
    let usable = desk.usable();
    assert_eq!(usable.applied, at(20));
    assert_eq!(numbers(usable.keys), [2, 4]);
    let (snapshot, _) = desk.open();
    snapshot.reset(Version { epoch: 8, revision: 2 }).unwrap();
    drop(snapshot);
    let usable = desk.usable();
    assert_eq!(usable.applied, Version { epoch: 8, revision: 2 });
    assert_eq!(numbers(usable.keys), [0; 0], "of another history");
}

#[test]
fn a_history_that_lost_its_end_takes_what_was_known_of_it_along() {
    fn check(to: Version, left: &[u64]) {
        for is_compacted in [false, true] {
            let desk = desk();
            let snapshot = desk.begin();
            put(&snapshot, 1, at(5));
            put(&snapshot, 2, at(12));
            snapshot.changed(&run(5, 9, &[])).unwrap();
            if is_compacted {
                snapshot.keeper.compact();
            }
            snapshot.reset(to).unwrap();
            drop(snapshot);
            let usable = desk.usable();
            assert_eq!(usable.applied, to);
            assert_eq!(numbers(usable.keys), left, "{to:?} {is_compacted}");
        }
    }
    check(at(8), &[]);
    check(at(5), &[]);
    check(Version { epoch: 8, revision: 10 }, &[]);
    check(at(12), &[2]);
    check(at(13), &[]);
}

#[test]
fn changes_that_do_not_follow_what_was_told_are_a_reset() {
    let desk = desk();
    let snapshot = desk.begin();
    put(&snapshot, 1, at(5));
    snapshot.changed(&run(9, 10, &[])).unwrap();
    put(&snapshot, 2, at(9));
    drop(snapshot);
    let usable = desk.usable();
    assert_eq!(usable.applied, at(10));
    assert_eq!(numbers(usable.keys), [2]);
}

#[test]
fn runs_that_touch_nothing_move_on_too() {
    let desk = desk();
    let snapshot = desk.begin();
    put(&snapshot, 1, at(5));
    for revision in 5..50 {
        snapshot.changed(&run(revision, revision + 1, &[])).unwrap();
    }
    snapshot.changed(&run(50, 51, &[(51, changed(9))])).unwrap();
    drop(snapshot);
    let usable = desk.usable();
    assert_eq!(usable.applied, at(51));
    assert_eq!(keys(usable.keys), BTreeMap::from([(1, 51)]));
}

#[test]
fn keys_of_another_token_deployment_or_choice_of_apps_are_put_aside() {
    let desk = desk();
    let snapshot = desk.begin();
    put(&snapshot, 1, at(5));
    drop(snapshot);
    for other in [
        Welcome {
            deployment_id: DeploymentId(4),
            ..welcome()
        },
        Welcome {
            apps: Vec::new(),
            ..welcome()
        },
    ] {
        let (snapshot, _) = desk.open();
        assert_eq!(snapshot.bind(&other).unwrap(), Bound::Anew);
        drop(snapshot);
        assert!(desk.files().contains(&"known.damaged".to_owned()), "{:?}", desk.files());
        assert!(matches!(desk.open().1, Loaded::Nothing));
        let (snapshot, _) = desk.open();
        assert_eq!(snapshot.bind(&welcome()).unwrap(), Bound::Anew);
        snapshot.reset(at(5)).unwrap();
        put(&snapshot, 1, at(5));
    }
    assert_eq!(numbers(desk.usable().keys), [1]);
    let settings = SnapshotSettings {
        scope: Scope::of_token("another token"),
        ..desk.settings()
    };
    let (_, loaded) = open_patiently(&settings, &desk.clock, desk.journal_bytes_min);
    match loaded {
        Loaded::Rejected(rejected) => assert!(matches!(rejected.why, Unfit::OtherScope), "{rejected}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_process_has_it_at_a_time() {
    let desk = desk();
    let snapshot = desk.begin();
    let error = Snapshot::open(&desk.settings(), desk.clock.clone()).unwrap_err();
    assert!(matches!(error, SnapshotError::InUse { .. }));
    let text = error.to_string();
    assert!(
        text.contains("known.lock") && text.starts_with("another process"),
        "{text}"
    );
    drop(snapshot);
    desk.usable();
}

#[test]
fn only_its_owner_may_read_it() {
    let desk = desk();
    let snapshot = desk.begin();
    put(&snapshot, 1, at(5));
    snapshot.keeper.compact();
    let files = desk.files();
    assert_eq!(files, ["known", "known.journal", "known.lock"]);
    for name in files {
        let mode = std::fs::metadata(desk.folder.path().join(&name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[test]
fn nothing_is_kept_before_it_is_known_whose_keys_they_are() {
    let desk = desk();
    let (snapshot, _) = desk.open();
    assert!(!snapshot.is_kept());
    put(&snapshot, 1, at(5));
    snapshot.reset(at(5)).unwrap();
    snapshot.changed(&run(5, 6, &[])).unwrap();
    assert_eq!(desk.files(), ["known.lock"]);
    snapshot.bind(&welcome()).unwrap();
    assert!(snapshot.is_kept());
    put(&snapshot, 2, at(6));
    drop(snapshot);
    let usable = desk.usable();
    assert_eq!(
        (usable.applied, usable.fresh_at_us, usable.by),
        (at(6), None, Measured::NotAtAll)
    );
    assert_eq!(numbers(usable.keys), [2]);
}

#[test]
fn a_folder_that_is_not_there_is_an_error() {
    let (clock, _) = Clock::manual(START);
    let settings = SnapshotSettings {
        path: Path::new("/nowhere/known").to_owned(),
        keys_max: 1,
        scope: Scope::of_token("token"),
    };
    let error = Snapshot::open(&settings, clock).unwrap_err().to_string();
    assert!(error.starts_with("cannot open /nowhere/known.lock"), "{error}");
}
