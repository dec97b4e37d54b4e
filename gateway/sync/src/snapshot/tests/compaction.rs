//! A new base holds what still counts, and takes the place of the old one at once or not at all.

use super::*;

#[test]
fn what_counts_no_more_takes_no_room() {
    let desk = desk();
    let snapshot = desk.begin();
    for revision in 5..105 {
        (1..=10).for_each(|n| put(&snapshot, n, at(revision)));
        let n = revision % 10 + 1;
        snapshot
            .changed(&run(revision, revision + 1, &[(revision + 1, changed(n))]))
            .unwrap();
    }
    let length = |name: &str| std::fs::metadata(desk.folder.path().join(name)).unwrap().len();
    let before = length("known.journal");
    snapshot.keeper.compact();
    assert!(length("known.journal") < 100, "{}", length("known.journal"));
    assert!(length("known") < before / 50, "{} {before}", length("known"));
    drop(snapshot);
    let usable = desk.usable();
    assert_eq!((usable.applied, usable.keys.in_files()), (at(105), 9));
    assert_eq!(
        numbers(usable.keys),
        [1, 2, 3, 4, 6, 7, 8, 9, 10],
        "the last change was of key 5"
    );
}

#[test]
fn it_comes_when_the_journal_outgrows_the_base() {
    let mut desk = desk();
    desk.journal_bytes_min = 10_000;
    let snapshot = desk.begin();
    let length = |name: &str| std::fs::metadata(desk.folder.path().join(name)).unwrap().len();
    let first = length("known");
    let mut n = 0;
    let since = waiting_since();
    while length("known") == first {
        n += 1;
        put(&snapshot, n, at(5));
        assert!(since.elapsed() < PATIENCE, "no new base after {n} keys");
    }
    drop(snapshot);
    assert_eq!(numbers(desk.usable().keys), Vec::from_iter(1..=n));
}

#[test]
fn of_too_many_keys_the_newest_stay() {
    let mut desk = desk();
    desk.keys_max = 5;
    let snapshot = desk.begin();
    (1..=4).for_each(|n| put(&snapshot, n, at(5)));
    snapshot.keeper.compact();
    (5..=8).for_each(|n| put(&snapshot, n, at(5)));
    snapshot.keeper.compact();
    drop(snapshot);
    assert_eq!(numbers(desk.usable().keys), [4, 5, 6, 7, 8]);
    let (snapshot, _) = desk.open();
    put(&snapshot, 4, at(6));
    put(&snapshot, 9, at(6));
    snapshot.keeper.compact();
    drop(snapshot);
    assert_eq!(numbers(desk.usable().keys), [4, 6, 7, 8, 9], "told again is newer");
}

#[test]
fn a_process_that_ends_between_the_two_steps_of_a_replacement_loses_nothing() {
    let desk = desk();
    let snapshot = desk.begin();
    (1..=3).for_each(|n| put(&snapshot, n, at(5)));
    snapshot.changed(&run(5, 6, &[(6, changed(1))])).unwrap();
    let path = |name: &str| desk.folder.path().join(name);
    let old_base = std::fs::read(desk.path()).unwrap();
    let old_journal = std::fs::read(path("known.journal")).unwrap();
    snapshot.keeper.compact();
    drop(snapshot);
    let new_base = std::fs::read(desk.path()).unwrap();
    let new_journal = std::fs::read(path("known.journal")).unwrap();
    let check = |base: &[u8], journal: Option<&[u8]>, in_the_making: &[(&str, &[u8])]| {
        for name in ["known", "known.journal"] {
            let _ = std::fs::remove_file(path(name));
        }
        std::fs::write(desk.path(), base).unwrap();
        if let Some(journal) = journal {
            std::fs::write(path("known.journal"), journal).unwrap();
        }
        for (name, bytes) in in_the_making {
            std::fs::write(path(name), bytes).unwrap();
        }
        assert_eq!(numbers(desk.usable().keys), [2, 3]);
        assert_eq!(desk.files(), ["known", "known.journal", "known.lock"]);
    };
    // Before the first step, whatever is finished of the new files.
    check(
        &old_base,
        Some(&old_journal),
        &[("known.new", &new_base), ("known.journal.new", &new_journal)],
    );
    check(&old_base, Some(&old_journal), &[("known.new", &new_base[..50])]);
    // Between them.
    check(&new_base, Some(&old_journal), &[("known.journal.new", &new_journal)]);
    check(&new_base, None, &[("known.journal.new", &new_journal)]);
    // After the second.
    check(&new_base, Some(&new_journal), &[]);
}

#[test]
fn what_is_on_the_disk_and_was_not_written_there_is_given_up() {
    let desk = desk();
    let snapshot = desk.begin();
    put(&snapshot, 1, at(5));
    snapshot.keeper.flush();
    let mut bytes = std::fs::read(desk.path()).unwrap();
    bytes[100] ^= 1;
    std::fs::write(desk.path(), bytes).unwrap();
    snapshot.keeper.compact();
    assert!(!snapshot.is_kept());
    assert_eq!(desk.files(), ["known.lock"]);
}
