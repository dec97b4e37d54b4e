//! On PostgreSQL nothing differs that a gateway or an operator can see, and several control processes behave as one.

use crate::gateway::{Gateway, SOON, hello};
use crate::server::{Options, Server};
use portcullis_postgres_server::PostgresServer;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// A control process on a database of its own, and the database's server.
async fn start() -> (Server, Arc<PostgresServer>) {
    let started = tokio::task::spawn_blocking(|| {
        let database = PostgresServer::start();
        let url = database.create_database();
        (Arc::new(database), url)
    });
    let (database, url) = started.await.unwrap();
    let keep = Arc::clone(&database);
    (Server::on(Options::default(), url, keep).await, database)
}

async fn revoke(server: &Server, key: &Value, query: &str) -> Value {
    let path = format!("/api-auth/apps/a/keys/{}/revoke{query}", key["id"].as_str().unwrap());
    server.post(&path, json!({})).await.expect(200)
}

/// A gateway goes to and fro between two control processes while both change things, and misses nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_gateway_may_change_between_control_processes() {
    let (one, _database) = start().await;
    let other = one.another_process().await;
    one.app("a").await;
    let (_, token) = one.gateway_token(one.deployment.id, &[]).await;
    let mut gateway = Gateway::watch(&one, &token, hello("edge", None)).await;
    let start = gateway.expect_reset().await;
    let mut applied = gateway.catch_up(start).await;
    for round in 0..10 {
        let (here, there) = if round % 2 == 0 { (&other, &one) } else { (&one, &other) };
        let (key, _) = tokio::join!(here.key("a"), there.key("a"));
        revoke(there, &key, "").await;
        let head = one.head().await;
        gateway = Gateway::watch(here, &token, hello("edge", Some(applied))).await;
        applied = gateway.catch_up(applied).await;
        assert!(applied.covers(head), "{applied:?} {head:?}");
    }
    assert_eq!(applied.epoch, start.epoch, "there was no reset");

    // Whoever is asked to wait waits for the other one's gateways, too.
    let key = one.key("a").await;
    applied = gateway.catch_up(applied).await;
    let mut waiting = std::pin::pin!(revoke(&other, &key, "?wait=fleet"));
    let early = tokio::time::timeout(Duration::from_millis(200), &mut waiting).await;
    assert!(early.is_err(), "{early:?}");
    applied = gateway.catch_up(applied).await;
    gateway.ping(applied);
    let answer = tokio::time::timeout(SOON, waiting)
        .await
        .expect("its acknowledgement is read");
    assert_eq!((&answer["enforced"], &answer["gateways"]), (&json!(1), &json!(1)));
}

/// While the database is away nothing is answered that it would have to answer; when it is back, everything goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_database_may_go_and_come_back() {
    let (server, database) = start().await;
    server.app("a").await;
    let (_, token) = server.gateway_token(server.deployment.id, &[]).await;
    let mut gateway = Gateway::watch(&server, &token, hello("edge", None)).await;
    let start = gateway.expect_reset().await;
    let applied = gateway.catch_up(start).await;
    let turned_off = Arc::clone(&database);
    tokio::task::spawn_blocking(move || turned_off.kill()).await.unwrap();
    gateway.ping(applied);
    assert!(gateway.is_left_alone().await);
    server
        .post("/api-auth/apps/a/keys", json!({"name": "k"}))
        .await
        .expect_error(503, &[50300], &[]);
    tokio::task::spawn_blocking(move || database.restart()).await.unwrap();
    let created = async {
        loop {
            let answer = server.post("/api-auth/apps/a/keys", json!({"name": "k"})).await;
            if answer.status == 201 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(SOON, created).await.expect("the database is back");
    let head = server.head().await;
    assert!(gateway.catch_up(applied).await.covers(head), "the same watch goes on");
}
