//! The server is killed in the middle of writes, again and again: what was acknowledged is there, and nothing hangs.

use crate::{in_time, new_app, open, replay};
use portcullis_postgres_server::PostgresServer;
use portcullis_store::Store;
use portcullis_verify::DeploymentId;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const KILLS: u32 = 5;
const WRITERS: u32 = 3;

/// Writes until it is told to stop, and answers what was acknowledged, with its revision.
async fn write(store: Store, deployment: DeploymentId, writer: u32, is_over: Arc<AtomicBool>) -> Vec<(String, u64)> {
    let mut acknowledged = vec![];
    for number in 0_u32.. {
        if is_over.load(Ordering::Acquire) {
            break;
        }
        let slug = format!("app{writer}-{number}");
        match in_time(store.create_app(deployment, new_app(&slug))).await {
            Ok(done) => acknowledged.push((slug, done.version.revision)),
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
        }
    }
    acknowledged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_acknowledged_survives_kills_of_the_server() {
    let server = Arc::new(PostgresServer::start_durable());
    let url = server.create_database();
    let is_over = Arc::new(AtomicBool::new(false));
    let mut writers = vec![];
    for writer in 0..WRITERS {
        let (store, deployment) = open(&url).await;
        writers.push(tokio::spawn(write(store, deployment, writer, Arc::clone(&is_over))));
    }
    let (store, deployment) = open(&url).await;
    for kill in 0..KILLS {
        // Each time after some more has been written, and read back by a process that saw the kills.
        let before = in_time(store.list_apps(deployment, true)).await.unwrap().len();
        while in_time(store.list_apps(deployment, true)).await.unwrap().len() < before + 10 {
            tokio::task::yield_now().await;
        }
        let server = Arc::clone(&server);
        let killing = tokio::task::spawn_blocking(move || {
            server.kill();
            server.restart();
        });
        killing.await.unwrap();
        assert!(
            in_time(store.list_apps(deployment, true)).await.is_ok(),
            "after kill {kill}"
        );
    }
    is_over.store(true, Ordering::Release);

    let mut acknowledged = vec![];
    for writer in writers {
        acknowledged.extend(writer.await.unwrap());
    }
    acknowledged.sort_by_key(|(_, revision)| *revision);
    acknowledged.dedup_by_key(|(_, revision)| *revision);
    let apps = store.list_apps(deployment, true).await.unwrap();
    for (slug, revision) in &acknowledged {
        assert!(
            apps.iter().any(|app| app.slug == *slug),
            "{slug} of revision {revision} is gone"
        );
    }
    // Each app is a change, also one whose creation was not acknowledged; the first deployment is one, too.
    let changes = replay(&store, 0).await;
    assert_eq!(changes.len(), apps.len() + 1);
    for (number, change) in (1..).zip(&changes) {
        assert_eq!(change.version.revision, number);
    }
    assert!(acknowledged.len() > 50, "{}", acknowledged.len());
}
