//! Several stores on one database, as several control processes have it, behave as one.

use crate::{database_of, new_app, new_key, open, replay, shared_server};
use portcullis_store::Changes;
use portcullis_store::entity::AppPatch;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const PROCESSES: u32 = 4;
const CALLS: u32 = 40;
const CHANGES: u32 = 60;

/// A tailer that reads while they write sees every revision once, in order and without gaps, and never has to go back.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn revisions_and_ids_rise_in_commit_order_without_gaps() {
    let server = shared_server();
    let url = server.create_database();
    let (store, deployment) = open(&url).await;
    store.create_app(deployment, new_app("shared")).await.unwrap();

    let is_over = Arc::new(AtomicBool::new(false));
    let tailer = {
        let (url, is_over) = (url.clone(), Arc::clone(&is_over));
        tokio::spawn(async move {
            let (store, _) = open(&url).await;
            let (mut seen, mut reads) = (0, 0_u32);
            loop {
                let was_over = is_over.load(Ordering::Acquire);
                let Changes::Replay { changes, head } = store.changes_after(seen, 7).await.unwrap() else {
                    panic!("reset");
                };
                for change in &changes {
                    seen += 1;
                    assert_eq!(change.version.revision, seen, "a gap, or out of order");
                    assert_eq!(change.version.epoch, head.epoch);
                }
                reads += u32::from(!changes.is_empty());
                if was_over && changes.is_empty() {
                    return (seen, reads);
                }
            }
        })
    };

    let writers: Vec<_> = (0..PROCESSES)
        .map(|process| {
            let url = url.clone();
            tokio::spawn(async move {
                let (store, deployment) = open(&url).await;
                let mut revisions = vec![];
                for call in 0..CALLS {
                    let number = process * CALLS + call;
                    let version = match call % 4 {
                        0 => {
                            let app = new_app(&format!("app{number}"));
                            store.create_app(deployment, app).await.unwrap().version
                        }
                        1 | 2 => {
                            let key = new_key(number);
                            store.create_key(deployment, "shared", key).await.unwrap().version
                        }
                        _ => {
                            let patch = AppPatch::default();
                            store.update_app(deployment, "shared", patch).await.unwrap().version
                        }
                    };
                    // One that fails takes no revision along.
                    store.create_app(deployment, new_app("shared")).await.unwrap_err();
                    revisions.push(version.revision);
                }
                revisions
            })
        })
        .collect();
    let mut acknowledged = BTreeSet::new();
    for writer in writers {
        let revisions = writer.await.unwrap();
        assert!(
            revisions.is_sorted(),
            "a later call of one process got an earlier revision"
        );
        acknowledged.extend(revisions);
    }
    is_over.store(true, Ordering::Release);
    let (seen, reads) = tailer.await.unwrap();

    // The first deployment and the shared app come first.
    let expected: BTreeSet<u64> = (3..3 + u64::from(PROCESSES * CALLS)).collect();
    assert_eq!(acknowledged, expected);
    assert_eq!(seen, store.current_version().await.unwrap().revision);
    assert!(reads > PROCESSES, "the tailer read after the fact only");
    assert_eq!(replay(&store, 0).await.len() as u64, seen);

    // Ids of whatever kind rise with the revision of their creation.
    let disorder = "SELECT count(*) FROM (
            SELECT id, lag(id) OVER (ORDER BY revision, id) AS before FROM (
                SELECT revision, subject_id AS id FROM change_log WHERE kind = 'app_created'
                UNION ALL
                SELECT log.revision, k.id FROM change_log AS log JOIN keys AS k ON k.hash = log.key_hash
                WHERE log.kind = 'key_created'
            ) AS created
        ) AS pairs WHERE id <= before";
    assert_eq!(server.psql(database_of(&url), disorder), "0");
}

/// A change reads what it does not change and writes it back: two of them at once must not undo each other.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn changes_of_two_processes_to_one_thing_both_hold() {
    let url = shared_server().create_database();
    let (store, deployment) = open(&url).await;
    store.create_app(deployment, new_app("it")).await.unwrap();
    let named = async {
        let (store, _) = open(&url).await;
        for number in 0..CHANGES {
            let patch = AppPatch {
                name: Some(number.to_string()),
                ..AppPatch::default()
            };
            store.update_app(deployment, "it", patch).await.unwrap();
            // Nobody else changes the name.
            let app = store.get_app(deployment, "it").await.unwrap();
            assert_eq!(app.name, number.to_string(), "undone by a change of something else");
        }
    };
    let described = async {
        let (store, _) = open(&url).await;
        for number in 0..CHANGES {
            let patch = AppPatch {
                description: Some(Some(number.to_string())),
                ..AppPatch::default()
            };
            store.update_app(deployment, "it", patch).await.unwrap();
            let app = store.get_app(deployment, "it").await.unwrap();
            assert_eq!(
                app.description,
                Some(number.to_string()),
                "undone by a change of something else"
            );
        }
    };
    tokio::join!(named, described);
}

/// What one process was answered, the next read of any other one shows.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_answer_of_one_process_holds_in_all() {
    let url = shared_server().create_database();
    let (one, deployment) = open(&url).await;
    let (other, _) = open(&url).await;
    for number in 0..50 {
        let slug = format!("app{number}");
        let done = one.create_app(deployment, new_app(&slug)).await.unwrap();
        assert_eq!(other.get_app(deployment, &slug).await.unwrap(), done.value);
        assert_eq!(other.current_version().await.unwrap(), done.version);
    }
}
