//! Whatever becomes of the bytes: nothing wrong is used, nothing breaks, and nothing is thrown away.

use super::super::chain::PREAMBLE_BYTES;
use super::super::loading::{Found, find};
use super::*;

/// The revision at which key 1 ends.
const END_OF_KEY: u64 = 7;

/// Two files, in a folder of their own each time.
struct Files {
    base: Vec<u8>,
    journal: Vec<u8>,
}

/// A base with keys 1 to 3, and a journal with keys 4 and 5, and the end of key 1 between them.
fn files() -> Files {
    let desk = desk();
    let snapshot = desk.begin();
    (1..=3).for_each(|n| put(&snapshot, n, at(5)));
    snapshot.fresh(at(5), START);
    snapshot.keeper.compact();
    put(&snapshot, 4, at(5));
    snapshot
        .changed(&run(5, END_OF_KEY, &[(END_OF_KEY, changed(1))]))
        .unwrap();
    put(&snapshot, 5, at(END_OF_KEY));
    snapshot.fresh(at(END_OF_KEY), START);
    drop(snapshot);
    let files = Files {
        base: std::fs::read(desk.path()).unwrap(),
        journal: std::fs::read(desk.folder.path().join("known.journal")).unwrap(),
    };
    assert_eq!(found(&files).unwrap(), (END_OF_KEY, vec![2, 3, 4, 5]));
    files
}

/// What a start makes of them: the revision and the keys, or what is wrong.
fn found(files: &Files) -> Result<(u64, Vec<u64>), String> {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::at(&folder.path().join("known"));
    std::fs::write(&place.base, &files.base).unwrap();
    std::fs::write(&place.journal, &files.journal).unwrap();
    match find(&place, &Scope::of_token("token").0).unwrap() {
        Ok(Some(Found { survey, .. })) => {
            let applied = survey.applied.unwrap();
            assert!(place.base.exists() && place.journal.exists());
            Ok((applied.revision, numbers(SavedKeys(survey))))
        }
        Ok(None) => panic!("the files are there"),
        Err(rejected) => {
            let kept = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
            assert_eq!(rejected.kept_as, folder.path().join("known.damaged"));
            assert!(kept("known.damaged") == files.base && kept("known.journal.damaged") == files.journal);
            assert!(!place.base.exists() && !place.journal.exists());
            Err(rejected.why.to_string())
        }
    }
}

/// Holds for every prefix of what was told.
fn is_honest((applied, keys): &(u64, Vec<u64>)) -> bool {
    keys.iter().all(|n| (1..=5).contains(n)) && (*applied < END_OF_KEY || !keys.contains(&1))
}

#[test]
fn a_byte_that_is_not_what_was_written_is_noticed() {
    let files = files();
    let mut used = 0;
    for (is_base, length) in [(true, files.base.len()), (false, files.journal.len())] {
        for index in 0..length {
            let flip = if index % 2 == 0 { 1 << (index % 8) } else { 0xff };
            let mut files = Files {
                base: files.base.clone(),
                journal: files.journal.clone(),
            };
            let bytes = if is_base { &mut files.base } else { &mut files.journal };
            bytes[index] ^= flip;
            if let Ok(found) = found(&files) {
                used += 1;
                assert!(!is_base, "byte {index}");
                // Only the last frame may be taken for one that was not written to its end, and it holds no change.
                assert_eq!(found, (END_OF_KEY, vec![2, 3, 4, 5]), "byte {index}");
            }
        }
    }
    assert!(used > 0 && used < 100, "{used}");
}

#[test]
fn a_base_that_is_cut_off_is_not_used() {
    let files = files();
    for length in 0..files.base.len() {
        let cut = Files {
            base: files.base[..length].to_vec(),
            journal: files.journal.clone(),
        };
        found(&cut).unwrap_err();
    }
}

#[test]
fn a_journal_that_is_cut_off_counts_up_to_there() {
    let files = files();
    let mut seen = std::collections::BTreeSet::new();
    for length in 0..=files.journal.len() {
        let cut = Files {
            base: files.base.clone(),
            journal: files.journal[..length].to_vec(),
        };
        match found(&cut) {
            Ok(found) => {
                assert!(is_honest(&found), "{length}: {found:?}");
                seen.insert(found);
            }
            Err(why) => assert!(length < PREAMBLE_BYTES, "{length}: {why}"),
        }
    }
    let expected = [
        (5, vec![1, 2, 3]),
        (5, vec![1, 2, 3, 4]),
        (END_OF_KEY, vec![2, 3, 4]),
        (END_OF_KEY, vec![2, 3, 4, 5]),
    ];
    assert_eq!(Vec::from_iter(seen), expected);
}

#[test]
fn a_journal_that_was_cut_off_goes_on_from_there() {
    let files = files();
    for length in [files.journal.len() - 1, files.journal.len() - 200, PREAMBLE_BYTES + 1] {
        let desk = desk();
        std::fs::write(desk.path(), &files.base).unwrap();
        std::fs::write(desk.folder.path().join("known.journal"), &files.journal[..length]).unwrap();
        let (snapshot, loaded) = desk.open();
        let Loaded::Usable(usable) = loaded else {
            panic!("{loaded:?}")
        };
        let applied = usable.applied.revision;
        let before = numbers(usable.keys);
        snapshot
            .changed(&run(applied, applied + 1, &[(applied + 1, changed(2))]))
            .unwrap();
        drop(snapshot);
        let usable = desk.usable();
        assert_eq!(usable.applied.revision, applied + 1);
        let left: Vec<_> = before.into_iter().filter(|&n| n != 2).collect();
        assert_eq!(numbers(usable.keys), left);
    }
}

#[test]
fn zeros_at_the_end_are_what_a_power_cut_leaves() {
    let mut files = files();
    files.journal.extend([0; 5_000]);
    assert_eq!(found(&files).unwrap(), (END_OF_KEY, vec![2, 3, 4, 5]));
    files.journal.push(1);
    assert!(found(&files).unwrap_err().contains("checksum"));
}

#[test]
fn files_that_do_not_belong_here_are_not_used() {
    fn check(why: &str, edit: impl FnOnce(&mut Files, &Files)) {
        let (mut files, other) = (files(), files());
        edit(&mut files, &other);
        let got = found(&files).unwrap_err();
        assert!(got.contains(why), "{got}");
    }
    check("another file", |files, other| files.journal.clone_from(&other.journal));
    check("another file", |files, other| files.base.clone_from(&other.base));
    check("checksum", |files, _| files.journal.clone_from(&files.base));
    check("checksum", |files, _| files.base.clone_from(&files.journal));
    check("not a file of saved keys", |files, _| {
        files.base = b"#!/bin/sh\n".repeat(100)
    });
    check("not a file of saved keys", |files, _| files.journal = vec![0; 1_000]);
    check("cut off", |files, _| files.base.clear());
    check("format 2", |files, _| files.base[16] = 2);
    check("no sense", |files, _| files.base.extend([7; 5]));
    // A frame that was whole, in another place of the same file.
    check("checksum", |files, _| {
        let frames = files.journal[PREAMBLE_BYTES..].to_vec();
        files.journal.extend(frames);
    });
}

#[test]
fn one_file_without_the_other_is_not_used() {
    fn check(missing: &str, why: &str, kept: &str) {
        let desk = desk();
        drop(desk.begin());
        std::fs::remove_file(desk.folder.path().join(missing)).unwrap();
        let (_, loaded) = desk.open();
        let Loaded::Rejected(rejected) = loaded else {
            panic!("{loaded:?}")
        };
        assert!(rejected.to_string().contains(why), "{rejected}");
        assert_eq!(rejected.kept_as, desk.folder.path().join(kept));
        assert!(matches!(desk.open().1, Loaded::Nothing));
    }
    check("known", "the file itself is missing", "known.journal.damaged");
    check("known.journal", "its journal is missing", "known.damaged");
}

#[test]
fn a_folder_in_its_place_is_put_aside_too() {
    let desk = desk();
    std::fs::create_dir(desk.path()).unwrap();
    let (snapshot, loaded) = desk.open();
    let Loaded::Rejected(rejected) = loaded else {
        panic!("{loaded:?}")
    };
    assert!(matches!(rejected.why, Unfit::NotAFile), "{rejected}");
    snapshot.bind(&welcome()).unwrap();
    assert!(snapshot.is_kept());
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config { cases: 300, failure_persistence: None, ..Default::default() })]

    #[test]
    fn random_bytes_are_not_a_snapshot(base in proptest::collection::vec(proptest::num::u8::ANY, 0..400), keep in 0..400_usize) {
        let good = files_once();
        let mut mixed = good.base[..keep.min(good.base.len())].to_vec();
        mixed.extend(&base);
        let files = Files { base: mixed, journal: good.journal.clone() };
        proptest::prop_assume!(files.base != good.base);
        proptest::prop_assert!(found(&files).is_err());
        let mut mixed = good.journal[..keep.min(good.journal.len())].to_vec();
        mixed.extend(&base);
        if let Ok(found) = found(&Files { base: good.base.clone(), journal: mixed }) {
            proptest::prop_assert!(is_honest(&found), "{found:?}");
        }
    }
}

fn files_once() -> &'static Files {
    static FILES: std::sync::OnceLock<Files> = std::sync::OnceLock::new();
    FILES.get_or_init(files)
}
