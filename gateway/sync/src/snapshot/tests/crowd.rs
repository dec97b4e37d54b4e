//! Many tell at once, while new bases are written: nothing gets lost, and nothing comes back.

use super::*;
use std::sync::atomic::{AtomicBool, Ordering};

const TELLERS: u64 = 4;
const KEYS_EACH: u64 = 400;

#[test]
fn keys_changes_and_new_bases_do_not_get_in_each_others_way() {
    let mut desk = desk();
    desk.journal_bytes_min = 20_000;
    let snapshot = desk.begin();
    let is_over = AtomicBool::new(false);
    let ended: Vec<u64> = std::thread::scope(|scope| {
        for teller in 0..TELLERS {
            let snapshot = &snapshot;
            // Read after every change there will be: none of these is outdated by any.
            scope.spawn(move || (0..KEYS_EACH).for_each(|n| put(snapshot, 1_000 + teller * KEYS_EACH + n, at(1_000))));
        }
        // Keys that are told and then end, one after the other.
        let follower = scope.spawn(|| {
            let ended: Vec<u64> = (5..205).collect();
            for &revision in &ended {
                put(&snapshot, revision, at(revision));
                put(&snapshot, revision + 500, at(revision));
                let run = run(revision, revision + 1, &[(revision + 1, changed(revision))]);
                snapshot.changed(&run).unwrap();
                snapshot.fresh(at(revision + 1), desk.clock.now());
                // Told too late.
                put(&snapshot, revision, at(revision));
            }
            is_over.store(true, Ordering::Release);
            ended
        });
        while !is_over.load(Ordering::Acquire) {
            snapshot.keeper.compact();
        }
        follower.join().unwrap()
    });
    assert!(snapshot.is_kept());
    drop(snapshot);
    let usable = desk.usable();
    assert_eq!(usable.applied, at(205));
    let keys = keys(usable.keys);
    for n in ended {
        assert!(!keys.contains_key(&n), "{n} came back");
        assert!(keys.contains_key(&(n + 500)), "{n} is lost");
    }
    for n in 1_000..1_000 + TELLERS * KEYS_EACH {
        assert_eq!(keys.get(&n), Some(&1_000), "{n} is lost");
    }
}

#[test]
fn more_than_the_disk_takes_at_once_is_waited_for_and_not_dropped() {
    let desk = desk();
    let snapshot = desk.begin();
    // Some twenty times what may wait.
    let count = 100_000;
    (0..count).for_each(|n| put(&snapshot, n, at(5)));
    drop(snapshot);
    let mut read = 0;
    desk.usable().keys.for_each(|_, _, _| read += 1).unwrap();
    assert_eq!(read, count);
}

#[tokio::test]
async fn keys_are_remembered_as_they_pass() {
    struct One;
    #[async_trait::async_trait]
    impl portcullis_verify::KeySource for One {
        async fn fetch(&self, key: &KeyHash) -> Result<portcullis_verify::Fetched, portcullis_verify::SourceError> {
            Ok(portcullis_verify::Fetched {
                as_of: at(5),
                record: (*key == hash(1)).then(|| record(1)),
            })
        }
    }
    #[derive(Default)]
    struct Deaf;
    impl crate::KeyTable for Deaf {
        fn admit(&self, _: KeyHash, _: KeyRecord, _: Version) -> bool {
            true
        }
        fn absent(&self, _: &KeyHash, _: Version) {}
        fn complete(&self, _: Version) -> bool {
            true
        }
        fn incomplete(&self) {}
    }
    use crate::KeyTable as _;
    use portcullis_verify::KeySource as _;
    let desk = desk();
    let snapshot = desk.begin();
    let source = Remembering::new(One, Arc::clone(&snapshot));
    assert!(source.fetch(&hash(1)).await.unwrap().record.is_some());
    assert!(source.fetch(&hash(2)).await.unwrap().record.is_none());
    let table = Remembering::new(Deaf, Arc::clone(&snapshot));
    assert!(table.admit(hash(3), record(3), at(6)));
    drop((source, table, snapshot));
    assert_eq!(keys(desk.usable().keys), BTreeMap::from([(1, 5), (3, 6)]));
}

#[test]
fn another_deployment_may_come_while_a_new_base_is_written() {
    let desk = desk();
    let snapshot = desk.begin();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Acquire) {
                snapshot.keeper.compact();
            }
        });
        for turn in 0..40 {
            let welcome = Welcome {
                deployment_id: DeploymentId(turn % 2),
                ..welcome()
            };
            assert_eq!(snapshot.bind(&welcome).unwrap(), Bound::Anew);
            snapshot.reset(at(5)).unwrap();
            (0..20).for_each(|n| put(&snapshot, n, at(5)));
            snapshot.changed(&run(5, 6, &[(6, changed(7))])).unwrap();
            assert!(snapshot.is_kept(), "turn {turn}");
        }
        is_over.store(true, Ordering::Release);
    });
    put(&snapshot, 30, at(6));
    drop(snapshot);
    let usable = desk.usable();
    assert_eq!((usable.deployment_id, usable.applied), (DeploymentId(1), at(6)));
    let expected: Vec<_> = (0..20).filter(|&n| n != 7).chain([30]).collect();
    assert_eq!(numbers(usable.keys), expected);
}
