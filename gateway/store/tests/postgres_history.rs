//! The promise that a PostgreSQL database which is a copy, or whose server was set back or exchanged, is taken for another
//! history, also under a process that is running; and one whose server merely stopped or was killed is not.

#![expect(clippy::unwrap_used, reason = "a test that fails says so by panicking")]

use portcullis_postgres_server::PostgresServer;
use portcullis_store::{Changes, Store};
use portcullis_verify::{Clock, Version};
use std::sync::OnceLock;

static SERVER: OnceLock<PostgresServer> = OnceLock::new();

async fn open(url: &str) -> Store {
    Store::open(url, Clock::system()).await.unwrap()
}

/// Opens a store, settles it, and closes it: what it began anew, and where it stood then.
async fn start(url: &str) -> (Option<Version>, Version) {
    let store = open(url).await;
    let begun = store.settle_history().await.unwrap();
    let head = store.current_version().await.unwrap();
    store.close().await;
    (begun, head)
}

async fn write(store: &Store, changes: u32) -> Version {
    for _ in 0..changes {
        let name = format!("d{}", store.current_version().await.unwrap().revision);
        store.create_deployment(&name).await.unwrap();
    }
    store.current_version().await.unwrap()
}

/// A store that was settled and has three changes.
async fn settled(url: &str) -> Version {
    let store = open(url).await;
    store.settle_history().await.unwrap();
    let head = write(&store, 3).await;
    store.close().await;
    head
}

/// The last part of a database's URL.
fn name(url: &str) -> &str {
    url.rsplit_once('/').unwrap().1
}

#[tokio::test]
async fn settling_twice_or_in_two_processes_begins_one_history() {
    let server = SERVER.get_or_init(PostgresServer::start);
    let url = server.create_database();
    let (one, other) = (open(&url).await, open(&url).await);
    let (first, second) = tokio::join!(one.settle_history(), other.settle_history());
    let begun: Vec<Version> = [first.unwrap(), second.unwrap()].into_iter().flatten().collect();
    assert_eq!(begun.len(), 1, "the second one finds it settled");
    let head = write(&other, 2).await;
    assert_eq!(head.epoch, begun[0].epoch);
    assert_eq!(start(&url).await, (None, head));
}

#[tokio::test]
async fn a_server_that_was_killed_keeps_its_history() {
    let server = PostgresServer::start_durable();
    let url = server.create_database();
    let head = settled(&url).await;
    server.kill();
    server.restart();
    assert_eq!(start(&url).await, (None, head));
    server.stop();
    server.restart();
    assert_eq!(start(&url).await, (None, head));
}

#[tokio::test]
async fn what_is_dumped_and_loaded_is_another_history() {
    let server = SERVER.get_or_init(PostgresServer::start);
    let (url, other) = (server.create_database(), server.create_database());
    let head = settled(&url).await;
    let dump = tempfile::tempdir().unwrap();
    let dump = dump.path().join("dump.sql");
    let dump = dump.to_str().unwrap();
    std::fs::write(dump, server.run("pg_dump", &["--dbname", &url])).unwrap();

    // In another database, and in its own, emptied first.
    server.run("psql", &["--quiet", "--dbname", &other, "--file", dump]);
    let (begun, there) = start(&other).await;
    assert_eq!((begun, there.revision), (Some(there), head.revision));
    assert_ne!(there.epoch, head.epoch);
    assert_eq!(start(&other).await, (None, there));
    server.psql(name(&url), "DROP SCHEMA public CASCADE; CREATE SCHEMA public");
    server.run("psql", &["--quiet", "--dbname", &url, "--file", dump]);
    let (begun, here) = start(&url).await;
    assert_eq!(begun, Some(here));
    assert!(here.epoch != head.epoch && here.epoch != there.epoch);
}

/// Where a database is at home can be asked without any rights on the server.
#[tokio::test]
async fn an_ordinary_role_can_own_the_store() {
    let server = SERVER.get_or_init(PostgresServer::start);
    server.psql("postgres", "CREATE ROLE tenant LOGIN PASSWORD 'its-own'");
    server.psql("postgres", "CREATE DATABASE of_tenant OWNER tenant");
    let url = format!("postgres://tenant:its-own@127.0.0.1:{}/of_tenant", server.port());
    let head = settled(&url).await;
    assert_eq!(start(&url).await, (None, head));
}

/// It may lack what the primary had answered last.
#[tokio::test]
async fn a_standby_that_takes_over_is_another_history() {
    let primary = PostgresServer::start();
    let url = primary.create_database();
    let head = settled(&url).await;
    let standby = primary.standby();
    primary.kill();
    let promoted = standby.psql("postgres", "SELECT pg_promote(true, 60)");
    assert_eq!(promoted.trim(), "t");
    let url = standby.url(name(&url));
    let (begun, next) = start(&url).await;
    assert_eq!((begun, next.revision), (Some(next), head.revision));
    assert_ne!(next.epoch, head.epoch);
    assert_eq!(start(&url).await, (None, next));
}

/// Rows alone come back into tables that were emptied.
#[tokio::test]
async fn rows_that_are_loaded_again_are_another_history() {
    let server = SERVER.get_or_init(PostgresServer::start);
    let url = server.create_database();
    let head = settled(&url).await;
    server.psql(
        name(&url),
        "CREATE TABLE kept AS SELECT * FROM log_head; TRUNCATE log_head; INSERT INTO log_head SELECT * FROM kept",
    );
    let (begun, next) = start(&url).await;
    assert_eq!((begun, next.revision), (Some(next), head.revision));
}

/// A running process that finds another database behind its connections gives out no revision of the old history, whether it
/// writes or asks what is new.
#[tokio::test]
async fn a_database_exchanged_under_a_running_process_is_noticed() {
    let server = SERVER.get_or_init(PostgresServer::start);
    for asks_first in [true, false] {
        let (url, copy) = (server.create_database(), server.create_database());
        let head = settled(&url).await;
        let (name, copy) = (name(&url), name(&copy));
        server.psql("postgres", &format!("DROP DATABASE {copy}"));
        // A session that was closed may not be gone yet.
        server.psql(
            "postgres",
            &format!("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{name}'"),
        );
        server.psql("postgres", &format!("CREATE DATABASE {copy} TEMPLATE {name}"));
        let store = open(&url).await;
        assert_eq!(store.settle_history().await.unwrap(), None);
        let lost = write(&store, 2).await;
        server.psql("postgres", &format!("DROP DATABASE {name} WITH (FORCE)"));
        server.psql("postgres", &format!("ALTER DATABASE {copy} RENAME TO {name}"));

        // A connection that was cut costs a call at most.
        while store.current_version().await.is_err() {}
        if asks_first {
            let told = store.changes_after(lost.revision, 10).await.unwrap();
            let Changes::Reset { head: begun } = told else {
                panic!("two changes are missing: {told:?}");
            };
            assert_ne!(begun.epoch, head.epoch);
        }
        while store.create_deployment("next").await.is_err() {}
        let next = store.current_version().await.unwrap();
        assert_eq!(next.revision, head.revision + 1);
        assert!(next.epoch != head.epoch && !lost.covers(next));
        assert!(matches!(
            store.changes_after(head.revision - 1, 10).await.unwrap(),
            Changes::Reset { .. }
        ));
        store.close().await;
    }
}
