//! The file itself: whose it is, how it is replaced, and what becomes of one that is unfit.

use super::super::{CountersFile, CountersFileError, Restored};
use super::*;
use crate::local::{LimiterSettings, LocalLimiter};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const SETTINGS: LimiterSettings = LimiterSettings { counters_max: 100 };

fn folder() -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("portcullis.limits");
    (folder, path)
}

fn names(folder: &TempDir) -> Vec<String> {
    let entries = std::fs::read_dir(folder.path()).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort_unstable();
    names
}

fn spent_limiter() -> LocalLimiter {
    LocalLimiter::over(spent(100, noon()))
}

#[test]
fn a_file_is_replaced_as_a_whole_and_taken_up_by_who_comes_next() {
    let (folder, path) = folder();
    let file = CountersFile::open(&path).unwrap();
    let (limiter, restored) = file.restore(SETTINGS, noon()).unwrap();
    assert!(matches!(restored, Restored::NoFile), "{restored:?}");
    assert_eq!(limiter.stats().counters, 0);

    // Left over by a process that died while it wrote.
    std::fs::write(folder.path().join("portcullis.limits.new"), "half a fi").unwrap();
    for limiter in [limiter, spent_limiter()] {
        let counters = file.save(&limiter, noon()).unwrap();
        assert_eq!(counters, limiter.stats().counters);
        assert_eq!(names(&folder), ["portcullis.limits", "portcullis.limits.lock"]);
        for name in names(&folder) {
            let mode = std::fs::metadata(folder.path().join(&name))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }
    drop(file);
    let file = CountersFile::open(&path).unwrap();
    let (limiter, restored) = file.restore(SETTINGS, noon()).unwrap();
    let Restored::Counters(taken) = restored else {
        panic!("{restored:?}")
    };
    assert_eq!((taken.counters, limiter.stats().counters), (60, 60));
    assert!(path.exists(), "it is there until it is replaced");
}

#[test]
fn two_processes_never_have_one_file() {
    let (_folder, path) = folder();
    let first = CountersFile::open(&path).unwrap();
    let refused = CountersFile::open(&path).unwrap_err();
    assert!(matches!(refused, CountersFileError::InUse { .. }));
    let told = refused.to_string();
    assert!(
        told.starts_with("another process keeps its counters in ") && told.contains("portcullis.limits.lock"),
        "{told}"
    );
    drop(first);
    assert!(CountersFile::open(&path).is_ok());
}

#[test]
fn an_unfit_file_is_put_aside_and_none_of_it_is_used() {
    let check = |make: &dyn Fn(&Path), why: &str| {
        let (folder, path) = folder();
        make(&path);
        let file = CountersFile::open(&path).unwrap();
        let (limiter, restored) = file.restore(SETTINGS, noon()).unwrap();
        let Restored::PutAside { why: found, kept_as } = restored else {
            panic!("{why}: {restored:?}")
        };
        assert!(found.to_string().starts_with(why), "{found}");
        assert_eq!(kept_as, folder.path().join("portcullis.limits.damaged"));
        assert_eq!(limiter.stats().counters, 0);
        assert_eq!(names(&folder), ["portcullis.limits.damaged", "portcullis.limits.lock"]);
        file.save(&limiter, noon()).unwrap();
        let (_, restored) = file.restore(SETTINGS, noon()).unwrap();
        assert!(matches!(restored, Restored::Counters(_)), "{restored:?}");
    };
    let bytes = saved(&spent(100, noon()), ClockIdentity::of_this_process(), noon());
    let half = bytes[..bytes.len() / 2].to_vec();
    check(
        &|path| std::fs::write(path, &half).unwrap(),
        "it is cut off or too long",
    );
    check(
        &|path| std::fs::write(path, b"").unwrap(),
        "it is not a file of saved counters",
    );
    let mut flipped = bytes;
    let middle = flipped.len() - 1;
    flipped[middle] ^= 1;
    check(
        &|path| std::fs::write(path, &flipped).unwrap(),
        "its checksum does not match",
    );
    check(&|path| std::fs::create_dir(path).unwrap(), "it is not a regular file");
    let circle = |path: &Path| std::os::unix::fs::symlink(path, path).unwrap();
    check(&circle, "it cannot be read: ");
}

#[test]
fn what_cannot_be_done_names_the_file() {
    let (folder, path) = folder();
    let nowhere = folder.path().join("none").join("portcullis.limits");
    let told = CountersFile::open(&nowhere).unwrap_err().to_string();
    assert!(told.starts_with("cannot open ") && told.contains("none"), "{told}");

    let file = CountersFile::open(&path).unwrap();
    std::fs::create_dir(folder.path().join("portcullis.limits.new")).unwrap();
    let told = file.save(&spent_limiter(), noon()).unwrap_err().to_string();
    assert!(
        told.starts_with("cannot write ") && told.contains("portcullis.limits"),
        "{told}"
    );

    // What cannot be put aside must not be overwritten.
    std::fs::write(&path, "not counters").unwrap();
    let aside = folder.path().join("portcullis.limits.damaged");
    std::fs::create_dir_all(aside.join("in the way")).unwrap();
    let told = file.restore(SETTINGS, noon()).unwrap_err().to_string();
    assert!(told.starts_with("cannot put aside "), "{told}");
    assert_eq!(std::fs::read(&path).unwrap(), b"not counters");
}

#[test]
fn saving_holds_no_lock_while_it_writes() {
    /// A disk that charges a request during every write.
    struct Busy<'a>(&'a CounterTable, u32);

    impl std::io::Write for Busy<'_> {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.1 += 1;
            for rule in rules() {
                rule.charge(self.0, self.1, noon());
            }
            for shard in self.0.shards() {
                drop(shard);
            }
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    let table = spent(100, noon());
    let mut busy = Busy(&table, 1_000);
    // A lock that was held would never be had again.
    assert!(save(&table, THIS_BOOT, noon(), &mut busy).unwrap() >= 60);
    assert!(busy.1 > 1_000);
}
