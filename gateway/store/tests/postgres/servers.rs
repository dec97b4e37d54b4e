//! Which URLs and servers are taken for a store.

use crate::{PASSWORD, database_of, open, shared_server, unavailable};
use portcullis_store::{Store, StoreError};
use portcullis_verify::Clock;

#[tokio::test]
async fn urls_that_say_something_else_are_refused_and_not_repeated() {
    for url in [
        "postgres://",
        "postgres://u:hunter2@h",
        "postgres://u:hunter2@h/",
        "postgres://u:hunter2@h:port/d",
        "postgres://u:hunter2@h/d?sslmode=maybe",
        // Characters of a password that are not percent-encoded.
        "postgres://u:hunter2/x@h/d",
        "postgres://u:12/hunter2@h/d",
        "postgres://u:hunter2#x@h/d",
        "postgres://u:x#hunter2@h/d",
        "postgres://u:x?hunter2@h/d",
        // A parameter that nobody knows, which sqlx would log with its value.
        "postgresql://u@h/d?pasword=hunter2",
        "postgres://u@h/d?sslmode=disable&hunter2",
    ] {
        let error = Store::open(url, Clock::system()).await.unwrap_err();
        assert!(matches!(error, StoreError::Invalid { .. }), "{url}: {error:?}");
        assert!(!format!("{error:?} {error}").contains("hunter2"), "{url}: {error:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_opened_is_named_without_the_password() {
    let server = shared_server();
    let url = server.create_database();
    let wrong_password = url.replace(PASSWORD, "hunter3");
    let cause = unavailable(Store::open(&wrong_password, Clock::system()).await);
    assert!(!cause.contains("hunter3"), "{cause}");
    assert!(cause.contains("password authentication failed"), "{cause}");
    let cause = unavailable(Store::open(&server.url("none"), Clock::system()).await);
    assert!(cause.contains("none"), "{cause}");
    let nobody_there = url.replace(&server.port().to_string(), "1");
    let cause = unavailable(Store::open(&nobody_there, Clock::system()).await);
    assert!(cause.contains("127.0.0.1:1"), "{cause}");
}

#[tokio::test]
async fn a_store_in_use_shows_no_password() {
    let url = shared_server().create_database();
    let (store, _) = open(&url).await;
    let text = format!("{store:?}");
    assert!(!text.contains(PASSWORD) && text.contains(database_of(&url)), "{text}");
}

/// It may be any time behind: a key that was revoked could open something again.
#[tokio::test]
async fn a_standby_is_no_store() {
    let server = shared_server();
    let url = server.create_database();
    let (store, _) = open(&url).await;
    let standby = server.standby();
    let url = standby.url(database_of(&url));
    let cause = unavailable(Store::open(&url, Clock::system()).await);
    assert!(cause.contains("standby"), "{cause}");
    store.close().await;
}

/// The primary is replaced by a standby at the same address, while stores are open: none of them reads from it.
#[tokio::test]
async fn a_standby_in_the_place_of_the_primary_is_noticed() {
    let server = portcullis_postgres_server::PostgresServer::start();
    let url = server.create_database();
    let (store, deployment) = open(&url).await;
    server.become_standby();
    let cause = unavailable(store.list_apps(deployment, true).await);
    assert!(cause.contains("standby"), "{cause}");
    unavailable(store.current_version().await);
    server.become_primary();
    assert!(store.list_apps(deployment, true).await.unwrap().is_empty());
}

#[tokio::test]
async fn processes_that_start_together_agree_on_the_schema() {
    let url = shared_server().create_database();
    let openings: Vec<_> = (0..6)
        .map(|_| {
            let url = url.clone();
            tokio::spawn(async move { open(&url).await })
        })
        .collect();
    let mut deployments = vec![];
    for opening in openings {
        deployments.push(opening.await.unwrap().1);
    }
    deployments.dedup();
    assert_eq!(deployments.len(), 1);
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_left_alone() {
    let server = shared_server();
    let url = server.create_database();
    open(&url).await.0.close().await;
    server.psql(
        database_of(&url),
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (9999, 'of the future', TRUE, '', 0)",
    );
    let cause = unavailable(Store::open(&url, Clock::system()).await);
    assert!(cause.contains("9999"), "{cause}");
}

#[tokio::test]
async fn text_that_cannot_be_stored_is_the_callers_fault() {
    let (store, deployment) = open(&shared_server().create_database()).await;
    let found = store.get_app(deployment, "a\0b").await.unwrap_err();
    assert!(matches!(found, StoreError::Invalid { .. }), "{found:?}");
    let mut app = crate::new_app("it");
    app.description = Some("a\0b".into());
    let created = store.create_app(deployment, app).await.unwrap_err();
    assert!(matches!(created, StoreError::Invalid { .. }), "{created:?}");
    assert!(store.list_apps(deployment, true).await.unwrap().is_empty());
}
