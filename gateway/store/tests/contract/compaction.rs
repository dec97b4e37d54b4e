use crate::{Fresh, SECOND_US, fresh};
use portcullis_store::Changes;
use std::time::Duration;

/// A log with 1 entry now, 3 more a minute later and 4 more another minute later, which is now.
async fn log_of_eight() -> Fresh {
    let it = fresh().await;
    for (minute, entries) in [(1, 3), (2, 4)] {
        it.time.advance_us(60 * SECOND_US);
        for entry in 0..entries {
            it.app(&format!("app{minute}{entry}")).await;
        }
    }
    it
}

/// Fails unless exactly the entries after `floor` are left, and every reader behind it is told so.
async fn check_floor(it: &Fresh, floor: u64) {
    let head = it.store.current_version().await.unwrap();
    for revision in 0..=head.revision {
        match it.store.changes_after(revision, u32::MAX).await.unwrap() {
            Changes::Reset { head: at } => {
                assert!(revision < floor, "{revision} is told nothing");
                assert_eq!(at, head);
            }
            Changes::Replay { changes, .. } => {
                assert!(revision >= floor, "{revision} would miss something");
                let revisions: Vec<u64> = changes.iter().map(|change| change.version.revision).collect();
                assert_eq!(revisions, (revision + 1..=head.revision).collect::<Vec<_>>());
            }
        }
    }
}

#[tokio::test]
async fn what_is_old_goes_and_what_is_too_many_goes() {
    const LONG: Duration = Duration::from_secs(9_999);
    let check = async |keep_rows, keep_for, floor| {
        let it = log_of_eight().await;
        let version = it.store.current_version().await.unwrap();
        assert_eq!(version.revision, 8);
        assert_eq!(it.store.compact_change_log(keep_rows, keep_for).await.unwrap(), floor);
        check_floor(&it, floor).await;
        assert_eq!(it.store.compact_change_log(keep_rows, keep_for).await.unwrap(), 0);
        assert_eq!(it.store.current_version().await.unwrap(), version);
    };
    check(u64::MAX, LONG, 0).await;
    check(u64::MAX, Duration::MAX, 0).await;
    check(8, LONG, 0).await;
    check(5, LONG, 3).await;
    check(u64::MAX, Duration::from_secs(120), 0).await;
    check(u64::MAX, Duration::from_secs(119), 1).await;
    check(u64::MAX, Duration::from_secs(30), 4).await;
    check(2, Duration::from_secs(30), 6).await;
    check(6, Duration::from_secs(30), 4).await;
    // The newest entry stays.
    check(0, Duration::ZERO, 7).await;
}

#[tokio::test]
async fn a_reader_that_slept_is_told_and_goes_on_from_the_head() {
    let it = log_of_eight().await;
    let asleep_at = 3;
    it.store.compact_change_log(2, Duration::MAX).await.unwrap();
    let Changes::Reset { head } = it.store.changes_after(asleep_at, 100).await.unwrap() else {
        panic!("it missed three changes");
    };
    let next = it
        .store
        .create_app(it.deployment, crate::new_app("next"))
        .await
        .unwrap();
    let Changes::Replay { changes, .. } = it.store.changes_after(head.revision, 100).await.unwrap() else {
        panic!("it is at the head");
    };
    assert_eq!(changes.last().unwrap().version, next.version);
    assert_eq!(changes.len(), 1);
}

/// An entry from before the clock was set back looks younger than those behind it: they wait for it.
#[tokio::test]
async fn a_clock_that_was_set_back_takes_no_entry_out_of_turn() {
    let it = fresh().await;
    it.app("first").await;
    let start_us = it.now().as_microsecond();
    it.time.set_wall_us(start_us - 3_600_000_000);
    it.app("second").await;
    it.app("third").await;
    it.time.set_wall_us(start_us + 1_000_000);
    assert_eq!(
        it.store.compact_change_log(100, Duration::from_secs(60)).await.unwrap(),
        0
    );
    check_floor(&it, 0).await;
    it.time.advance_us(90 * SECOND_US);
    assert_eq!(
        it.store.compact_change_log(100, Duration::from_secs(60)).await.unwrap(),
        3
    );
    check_floor(&it, 3).await;
}

/// Whoever reads while pieces go finds every change, or is told that it cannot.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_and_writers_go_on_meanwhile() {
    let it = fresh().await;
    let reader = {
        let store = it.store.clone();
        tokio::spawn(async move {
            let (mut seen, mut resets) = (1, 0);
            while seen < 401 {
                match store.changes_after(seen, 5).await.unwrap() {
                    Changes::Reset { head } => {
                        resets += 1;
                        seen = head.revision;
                    }
                    Changes::Replay { changes, .. } => {
                        for change in changes {
                            seen += 1;
                            assert_eq!(change.version.revision, seen);
                        }
                    }
                }
            }
            resets
        })
    };
    for number in 0..400 {
        it.app(&format!("app{number}")).await;
        if number % 10 == 0 {
            it.store.compact_change_log(3, Duration::MAX).await.unwrap();
        }
    }
    reader.await.unwrap();
    it.store.compact_change_log(3, Duration::MAX).await.unwrap();
    check_floor(&it, 398).await;
}
