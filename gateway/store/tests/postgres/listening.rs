//! A commit of one process wakes those who wait in another, without their asking.

use crate::{database_of, new_app, open, shared_server};
use std::time::Duration;

#[tokio::test]
async fn commits_of_another_process_wake_who_waits() {
    let server = shared_server();
    let url = server.create_database();
    let (one, deployment) = open(&url).await;
    let (other, _) = open(&url).await;
    let mut committed = other.committed();
    let told = async |slug: &str, committed: &mut tokio::sync::watch::Receiver<u64>| {
        let done = one.create_app(deployment, new_app(slug)).await.unwrap();
        let woken = committed.wait_for(|revision| *revision >= done.version.revision);
        tokio::time::timeout(Duration::from_secs(4), woken)
            .await
            .expect("nobody said that it was committed")
            .unwrap();
    };
    told("first", &mut committed).await;

    // Whoever ends the listener's connection ends nothing else: it comes back, and what was said meanwhile is made up.
    let ended = server.psql(
        database_of(&url),
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid()",
    );
    assert!(ended.parse::<u32>().unwrap() >= 2, "{ended}");
    told("second", &mut committed).await;
    told("third", &mut committed).await;

    // It ends with the store.
    other.close().await;
    one.close().await;
    for _ in 0..200 {
        let left =
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
        if server.psql(database_of(&url), left) == "0" {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("a closed store keeps a connection");
}
