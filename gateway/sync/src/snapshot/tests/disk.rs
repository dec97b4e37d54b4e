//! A disk that refuses: what cannot be written leaves nothing behind that a restart could use.

use super::*;

/// Set in the process that runs under a limit.
const LIMITED: &str = "PORTCULLIS_TEST_SNAPSHOT_LIMITED";

fn break_disk(snapshot: &Snapshot) {
    snapshot.keeper.disk.lock().log.as_mut().unwrap().journal.break_disk();
}

#[test]
fn a_change_that_cannot_be_written_leaves_nothing_to_restart_from() {
    fn check(tell: impl FnOnce(&Snapshot) -> io::Result<()>) {
        let desk = desk();
        let snapshot = desk.begin();
        put(&snapshot, 1, at(5));
        snapshot.keeper.flush();
        break_disk(&snapshot);
        tell(&snapshot).unwrap();
        assert!(!snapshot.is_kept());
        assert_eq!(desk.files(), ["known.lock"]);
        drop(snapshot);
        assert!(matches!(desk.open().1, Loaded::Nothing));
    }
    check(|snapshot| snapshot.changed(&run(5, 6, &[(6, changed(1))])));
    check(|snapshot| snapshot.reset(at(9)));
    check(|snapshot| {
        put(snapshot, 2, at(5));
        snapshot.keeper.flush();
        Ok(())
    });
}

#[test]
fn a_change_is_not_confirmed_while_a_restart_could_undo_it() {
    let desk = desk();
    let snapshot = desk.begin();
    put(&snapshot, 1, at(5));
    snapshot.keeper.flush();
    let path = |name: &str| desk.folder.path().join(name);
    // What stands in its place cannot be removed as a file is.
    for name in ["known", "known.journal"] {
        std::fs::remove_file(path(name)).unwrap();
        std::fs::create_dir(path(name)).unwrap();
    }
    break_disk(&snapshot);
    let run_6 = run(5, 6, &[(6, changed(1))]);
    snapshot.changed(&run_6).unwrap_err();
    snapshot.changed(&run_6).unwrap_err();
    snapshot.reset(at(9)).unwrap_err();
    std::fs::remove_dir(path("known")).unwrap();
    snapshot.changed(&run_6).unwrap();
    std::fs::remove_dir(path("known.journal")).unwrap();
}

#[test]
fn it_is_tried_again_after_a_while_and_goes_on_from_what_was_told_meanwhile() {
    let desk = desk();
    let snapshot = desk.begin();
    put(&snapshot, 1, at(5));
    break_disk(&snapshot);
    snapshot.changed(&run(5, 6, &[(6, changed(1))])).unwrap();
    snapshot.changed(&run(6, 7, &[(7, changed(2))])).unwrap();
    assert!(!snapshot.is_kept());
    desk.hand.advance_us(30_000_000);
    let since = waiting_since();
    while !snapshot.is_kept() {
        assert!(since.elapsed() < PATIENCE);
        std::thread::yield_now();
    }
    put(&snapshot, 2, at(6));
    put(&snapshot, 3, at(7));
    snapshot.changed(&run(7, 8, &[(8, changed(9))])).unwrap();
    drop(snapshot);
    let usable = desk.usable();
    assert_eq!(usable.applied, at(8));
    assert_eq!(
        numbers(usable.keys),
        [3],
        "1 is not known any more, 2 was told too late"
    );
}

#[test]
fn a_new_base_that_cannot_be_written_leaves_the_old_one_in_use() {
    let desk = desk();
    let snapshot = desk.begin();
    (1..=3).for_each(|n| put(&snapshot, n, at(5)));
    let in_the_way = desk.folder.path().join("known.new");
    std::fs::create_dir(&in_the_way).unwrap();
    snapshot.keeper.compact();
    assert!(snapshot.is_kept());
    put(&snapshot, 4, at(5));
    snapshot.changed(&run(5, 6, &[(6, changed(1))])).unwrap();
    std::fs::remove_dir(&in_the_way).unwrap();
    let before = std::fs::read(desk.path()).unwrap();
    snapshot.keeper.compact();
    assert_ne!(std::fs::read(desk.path()).unwrap(), before);
    drop(snapshot);
    assert_eq!(numbers(desk.usable().keys), [2, 3, 4]);
}

#[test]
fn what_another_left_that_can_neither_be_put_aside_nor_removed_is_an_error() {
    let desk = desk();
    let snapshot = desk.begin();
    for name in ["known", "known.journal"] {
        let path = desk.folder.path().join(name);
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        // A folder with something in it is not replaced by another.
        let aside = desk.folder.path().join(format!("{name}.damaged"));
        std::fs::create_dir(&aside).unwrap();
        std::fs::write(aside.join("mine"), "").unwrap();
    }
    let other = Welcome {
        deployment_id: DeploymentId(4),
        ..welcome()
    };
    snapshot.bind(&other).unwrap_err();
    assert!(!snapshot.is_kept());
}

#[test]
fn a_full_disk_ends_the_snapshot_and_nothing_else() {
    if let Ok(folder) = std::env::var(LIMITED) {
        return fill_the_disk(Path::new(&folder));
    }
    let folder = tempfile::tempdir().unwrap();
    // No file may be longer than 512 blocks: as a full disk, it refuses what is more.
    let script = "trap '' XFSZ; ulimit -f 512; exec \"$0\" --exact \"$1\" --nocapture";
    let status = std::process::Command::new("sh")
        .args(["-c", script])
        .arg(std::env::current_exe().unwrap())
        .arg("snapshot::tests::disk::a_full_disk_ends_the_snapshot_and_nothing_else")
        .env(LIMITED, folder.path())
        .status()
        .unwrap();
    assert!(status.success(), "{status}");
    let left: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["known.lock"]);
}

fn fill_the_disk(folder: &Path) {
    let settings = SnapshotSettings {
        path: folder.join("known"),
        keys_max: u64::MAX,
        scope: Scope::of_token("token"),
    };
    let (clock, _hand) = Clock::manual(START);
    let (snapshot, _) = Snapshot::open(&settings, clock).unwrap();
    snapshot.bind(&welcome()).unwrap();
    snapshot.reset(at(5)).unwrap();
    let mut n = 0;
    while snapshot.is_kept() {
        n += 1;
        assert!(n < 100_000, "the disk takes everything");
        put(&snapshot, n, at(4 + n));
        snapshot.changed(&run(4 + n, 5 + n, &[(5 + n, changed(n))])).unwrap();
    }
    assert!(n > 10);
    snapshot.changed(&run(5 + n, 6 + n, &[])).unwrap();
}
