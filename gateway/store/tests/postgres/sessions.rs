//! How a store's sessions are set, how many there are, and how long they wait for a lock.

use crate::{BOUND, database_of, in_time, new_app, new_key, open, shared_server, unavailable};
use portcullis_verify::KeySource as _;
use sqlx::Connection as _;
use std::time::Duration;

/// The server's own default would lose what was answered when the power goes.
#[tokio::test]
async fn a_commit_waits_for_the_disk_whatever_the_servers_default() {
    let server = shared_server();
    let url = server.create_database();
    let database = database_of(&url);
    server.psql(
        database,
        &format!("ALTER DATABASE {database} SET synchronous_commit = off"),
    );
    assert_eq!(server.psql(database, "SHOW synchronous_commit"), "off");
    let (store, deployment) = open(&url).await;
    server.psql(
        database,
        "CREATE TABLE witnessed (setting TEXT);
         CREATE FUNCTION witness() RETURNS trigger LANGUAGE plpgsql AS
             $$BEGIN INSERT INTO witnessed VALUES (current_setting('synchronous_commit')); RETURN NEW; END$$;
         CREATE TRIGGER witness AFTER UPDATE ON log_head FOR EACH ROW EXECUTE FUNCTION witness()",
    );
    store.create_app(deployment, new_app("it")).await.unwrap();
    assert_eq!(server.psql(database, "SELECT DISTINCT setting FROM witnessed"), "on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_crowd_of_calls_shares_a_few_connections() {
    let server = shared_server();
    let url = server.create_database();
    let (store, deployment) = open(&url).await;
    store.create_app(deployment, new_app("it")).await.unwrap();
    let calls: Vec<_> = (0..300)
        .map(|number| {
            let store = store.clone();
            tokio::spawn(async move {
                if number % 10 == 0 {
                    store
                        .create_key(deployment, "it", new_key(number))
                        .await
                        .map(drop)
                        .unwrap();
                } else {
                    store.fetch(&crate::hash(number)).await.map(drop).unwrap();
                }
            })
        })
        .collect();
    for call in calls {
        call.await.unwrap();
    }
    let count = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let connections: u32 = server.psql(database_of(&url), count).parse().unwrap();
    assert!((3..=11).contains(&connections), "{connections}");
}

/// Another process stopped in the middle of a write. Who comes after is told within a bound, and the server ends the
/// stopped one's transaction by itself.
#[tokio::test]
async fn a_process_that_stands_still_stops_the_others_for_seconds_only() {
    let url = shared_server().create_database();
    let (store, deployment) = open(&url).await;
    let mut stopped = sqlx::PgConnection::connect(&url).await.unwrap();
    sqlx::raw_sql("SET idle_in_transaction_session_timeout = '10s'; BEGIN; SELECT * FROM log_head FOR UPDATE")
        .execute(&mut stopped)
        .await
        .unwrap();
    let refused = in_time(store.create_app(deployment, new_app("it"))).await;
    assert!(unavailable(refused).contains("lock timeout"));
    // Reading goes on all the while.
    assert!(store.list_apps(deployment, true).await.unwrap().is_empty());
    tokio::time::timeout(BOUND, async {
        while store.create_app(deployment, new_app("it")).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .expect("the lock was never let go");
}

/// Calls that are given up at any point leave no lock, no transaction and no connection behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn calls_that_are_given_up_leave_nothing_behind() {
    let server = shared_server();
    let url = server.create_database();
    let (store, deployment) = open(&url).await;
    for number in 0..120_u64 {
        let call = {
            let store = store.clone();
            tokio::spawn(async move {
                drop(store.create_app(deployment, new_app(&format!("app{number}"))).await);
                drop(store.list_apps(deployment, true).await);
            })
        };
        tokio::time::sleep(Duration::from_micros(number * 50)).await;
        call.abort();
    }
    in_time(store.create_app(deployment, new_app("last"))).await.unwrap();
    let apps = store.list_apps(deployment, true).await.unwrap().len();
    let changes = crate::replay(&store, 0).await.len();
    assert_eq!(changes, apps + 1, "the first deployment is a change, too");
    let open = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND xact_start IS NOT NULL
                AND pid <> pg_backend_pid()";
    for _ in 0..200 {
        if server.psql(database_of(&url), open) == "0" {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("a transaction was left open");
}
