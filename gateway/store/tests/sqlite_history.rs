//! The promise that a database file which came back from a backup is taken for another history, and one that merely was
//! closed, or whose process was killed, is not.

#![expect(clippy::unwrap_used, reason = "a test that fails says so by panicking")]

use portcullis_store::{Changes, Store};
use portcullis_verify::{Clock, Version};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Place {
        Place {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

async fn open(path: &Path) -> Store {
    Store::open(&format!("sqlite://{}", path.display()), Clock::system())
        .await
        .unwrap()
}

/// Opens a store, settles it, and closes it: what it began anew, and where it stood then.
async fn start(path: &Path) -> (Option<Version>, Version) {
    let store = open(path).await;
    let begun = store.settle_history().await.unwrap();
    let head = store.current_version().await.unwrap();
    store.close().await;
    (begun, head)
}

/// Commits so many changes.
async fn write(store: &Store, changes: u32) -> Version {
    for _ in 0..changes {
        let name = format!("d{}", store.current_version().await.unwrap().revision);
        store.create_deployment(&name).await.unwrap();
    }
    store.current_version().await.unwrap()
}

/// A store that was settled and has three changes.
async fn settled(path: &Path) -> Version {
    let store = open(path).await;
    store.settle_history().await.unwrap();
    let head = write(&store, 3).await;
    store.close().await;
    head
}

#[tokio::test]
async fn the_first_settling_begins_a_history_and_later_ones_do_not() {
    let place = Place::new();
    let path = place.file("store.db");
    let before = {
        let store = open(&path).await;
        let head = write(&store, 3).await;
        store.close().await;
        head
    };
    let (begun, head) = start(&path).await;
    assert_eq!(begun, Some(head));
    assert_eq!(head.revision, before.revision);
    assert_ne!(head.epoch, before.epoch);
    for _ in 0..3 {
        assert_eq!(start(&path).await, (None, head));
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let note = std::fs::metadata(place.file("store.db.history")).unwrap();
        assert_eq!(note.permissions().mode() & 0o777, 0o600);
    }
}

/// Nothing is said goodbye to, whether the process was settled or not.
#[tokio::test]
async fn a_process_that_is_gone_at_once_keeps_its_history() {
    let place = Place::new();
    let path = place.file("store.db");
    let mut head = settled(&path).await;
    for round in 0..10 {
        let store = open(&path).await;
        if round % 2 == 0 {
            assert_eq!(store.settle_history().await.unwrap(), None);
        }
        let next = write(&store, 2).await;
        assert_eq!(next.epoch, head.epoch);
        head = next;
        // As when it is killed between the note and the end of a commit, or before the note.
        let late = {
            let store = store.clone();
            tokio::spawn(async move { store.create_deployment(&format!("late{round}")).await })
        };
        tokio::task::yield_now().await;
        late.abort();
        drop(store);
        drop(late.await);
    }
    let (begun, last) = start(&path).await;
    assert_eq!((begun, last.epoch), (None, head.epoch));
}

/// Set for the process that is going to be killed: where it writes.
const WRITER: &str = "PORTCULLIS_TEST_WRITES_TO";

/// At any moment of a commit, by a signal that nothing can answer.
#[tokio::test]
async fn a_process_that_is_killed_keeps_its_history() {
    if let Some(path) = std::env::var_os(WRITER) {
        let store = open(Path::new(&path)).await;
        store.settle_history().await.unwrap();
        loop {
            println!("wrote {}", write(&store, 1).await.revision);
        }
    }
    let place = Place::new();
    let path = place.file("store.db");
    let mut head = settled(&path).await;
    for writes in [1, 2, 5, 11, 40] {
        let mut writer = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_process_that_is_killed_keeps_its_history", "--nocapture"])
            .env(WRITER, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let answered: Vec<u64> = BufReader::new(writer.stdout.take().unwrap())
            .lines()
            .filter_map(|line| line.unwrap().split_once("wrote ")?.1.parse().ok())
            .take(writes)
            .collect();
        writer.kill().unwrap();
        writer.wait().unwrap();
        assert_eq!(answered.len(), writes, "the writer ended by itself");
        let (begun, next) = start(&path).await;
        assert_eq!((begun, next.epoch), (None, head.epoch));
        assert!(next.revision >= *answered.last().unwrap());
        head = next;
    }
}

#[tokio::test]
async fn a_backup_is_another_history() {
    let place = Place::new();
    let (path, backup) = (place.file("store.db"), place.file("backup.db"));
    /// How the backup comes back.
    type Restore = fn(&Path, &Path);
    let ways: [(&str, Restore); 3] = [
        // The same inode: only what is missing in it tells.
        ("copied over", |backup, path| {
            std::fs::copy(backup, path).unwrap();
        }),
        ("moved over", |backup, path| std::fs::rename(backup, path).unwrap()),
        ("copied anew", |backup, path| {
            std::fs::remove_file(path).unwrap();
            std::fs::copy(backup, path).unwrap();
        }),
    ];
    let mut head = settled(&path).await;
    for (way, restore) in ways {
        std::fs::copy(&path, &backup).unwrap();
        let store = open(&path).await;
        assert_eq!(store.settle_history().await.unwrap(), None, "{way}");
        let lost = write(&store, 2).await;
        store.close().await;
        restore(&backup, &path);

        let store = open(&path).await;
        let begun = store.settle_history().await.unwrap().expect(way);
        assert_eq!(begun.revision, head.revision, "{way}");
        assert_ne!(begun.epoch, head.epoch, "{way}");
        // A gateway that heard of what was lost is never taken for one that is up to date.
        let next = write(&store, 2).await;
        assert_eq!((next.epoch, next.revision), (begun.epoch, lost.revision), "{way}");
        assert!(!next.covers(lost) && !lost.covers(next));
        let Changes::Replay { changes, .. } = store.changes_after(begun.revision, 100).await.unwrap() else {
            unreachable!("{way}: the new history begins there");
        };
        assert!(
            changes.iter().all(|change| change.version.epoch == begun.epoch),
            "{way}"
        );
        for before in 0..begun.revision {
            let told = store.changes_after(before, 100).await.unwrap();
            assert_eq!(told, Changes::Reset { head: next }, "{way}: of another history");
        }
        store.close().await;
        assert_eq!(start(&path).await, (None, next), "{way}");
        head = next;
    }
}

#[tokio::test]
async fn a_backup_that_lacks_nothing_is_no_other_history() {
    let place = Place::new();
    let (path, backup) = (place.file("store.db"), place.file("backup.db"));
    let head = settled(&path).await;
    std::fs::copy(&path, &backup).unwrap();
    std::fs::copy(&backup, &path).unwrap();
    assert_eq!(start(&path).await, (None, head));
}

#[tokio::test]
async fn a_file_that_lost_its_note_is_another_history() {
    let place = Place::new();
    let (path, elsewhere) = (place.file("store.db"), place.file("elsewhere.db"));
    let note = place.file("store.db.history");
    let mut head = settled(&path).await;
    let damage: [&dyn Fn(); 4] = [
        &|| std::fs::remove_file(&note).unwrap(),
        &|| std::fs::write(&note, "").unwrap(),
        &|| std::fs::write(&note, &std::fs::read(&note).unwrap()[1..]).unwrap(),
        &|| {
            let text = std::fs::read_to_string(&note).unwrap();
            std::fs::write(&note, text.replace("epoch 0", "epoch 1")).unwrap();
        },
    ];
    for damage in damage {
        damage();
        let (begun, next) = start(&path).await;
        assert_eq!(begun, Some(next));
        assert_ne!(next.epoch, head.epoch);
        assert_eq!(start(&path).await, (None, next));
        head = next;
    }
    // Moved without it, and with it.
    std::fs::rename(&path, &elsewhere).unwrap();
    let (begun, head) = start(&elsewhere).await;
    assert_eq!(begun, Some(head));
    let there = place.file("there.db");
    std::fs::rename(&elsewhere, &there).unwrap();
    std::fs::rename(place.file("elsewhere.db.history"), place.file("there.db.history")).unwrap();
    assert_eq!(start(&there).await, (None, head));
}

/// Of two processes on one file, one of which never settles anything, every commit is noted.
#[tokio::test]
async fn two_processes_are_of_one_history() {
    let place = Place::new();
    let (path, backup) = (place.file("store.db"), place.file("backup.db"));
    let (one, other) = (open(&path).await, open(&path).await);
    let (begun, after) = tokio::join!(one.settle_history(), other.settle_history());
    let begun: Vec<Version> = [begun.unwrap(), after.unwrap()].into_iter().flatten().collect();
    assert_eq!(begun.len(), 1, "the second one finds it settled");
    let head = write(&one, 2).await;
    assert_eq!(head.epoch, begun[0].epoch);
    one.close().await;
    other.close().await;
    std::fs::copy(&path, &backup).unwrap();

    // What the command line does beside a server.
    let command = open(&path).await;
    write(&command, 1).await;
    command.close().await;
    std::fs::copy(&backup, &path).unwrap();
    assert!(start(&path).await.0.is_some(), "a change is missing");
}

/// Where everything was set back, also the note, only those tell who remember.
#[tokio::test]
async fn what_somebody_has_applied_tells_that_it_is_missing() {
    let place = Place::new();
    let path = place.file("store.db");
    let head = settled(&path).await;
    let store = open(&path).await;
    let check = async |epoch: u64, ahead: u64, is_believed: bool| {
        let seen = Version {
            epoch,
            revision: head.revision + ahead,
        };
        let begun = store.settle_history_seen(seen).await.unwrap();
        assert_eq!(begun.is_some(), is_believed, "{seen:?}");
        begun
    };
    check(head.epoch, 0, false).await;
    check(head.epoch + 1, 9, false).await;
    let begun = check(head.epoch, 1, true).await.unwrap();
    // Told a second time, it is news of an earlier history.
    check(head.epoch, 1, false).await;
    assert_eq!(store.current_version().await.unwrap(), begun);
    store.close().await;
    assert_eq!(start(&path).await, (None, begun));
}
