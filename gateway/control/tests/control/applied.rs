//! A change is answered once it holds: the verifier of this process decides by it, whoever made it.

use crate::server::{Server, TOKEN};
use portcullis_control::token;
use portcullis_store::Store;
use portcullis_store::entity::TokenKind;
use portcullis_verify::{Clock, KeyId};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_next_request_after_an_answer_is_decided_by_it() {
    let server = Server::start().await;
    server.app("a").await;
    for round in 0..30 {
        let key = server.key("a").await;
        assert_eq!(server.reason(&key).await, Value::Null);
        let path = format!("/api-auth/apps/a/keys/{}/revoke", key["id"].as_str().unwrap());
        server.post(&path, json!({})).await.expect(200);
        assert_eq!(server.reason(&key).await, "key_revoked", "round {round}");
    }
    let key = server.key("a").await;
    for _ in 0..10 {
        server
            .patch("/api-auth/apps/a", json!({"is_active": false}))
            .await
            .expect(200);
        assert_eq!(server.reason(&key).await, "app_inactive");
        server
            .patch("/api-auth/apps/a", json!({"is_active": true}))
            .await
            .expect(200);
        assert_eq!(server.reason(&key).await, Value::Null);
    }
    server.delete("/api-auth/apps/a").await.expect(204);
    assert_eq!(server.reason(&key).await, "app_inactive");
    server.app("a").await;
    assert_eq!(
        server.reason(&key).await,
        "app_inactive",
        "a new app of the same slug revives no key"
    );
}

#[tokio::test]
async fn what_another_process_commits_is_heard_of() {
    let server = Server::start().await;
    server.app("a").await;
    let other = Store::open(&server.store_url, Clock::system()).await.unwrap();
    let secret = portcullis_verify::Secret::generate("sk_test").unwrap();
    let asked = json!({"secret": secret.expose()});
    assert_eq!(server.reason(&asked).await, "key_unknown");
    let key = portcullis_store::entity::NewKey {
        hash: secret.hash(),
        key_prefix: "sk_test".to_owned(),
        key_suffix: secret.suffix().to_owned(),
        name: "k".to_owned(),
        permissions: Vec::new(),
        metadata: serde_json::Map::new(),
        owner: None,
        owner_user_id: None,
        environment: None,
        scheme_slug: None,
        expires_at: None,
    };
    let id = other.create_key(server.deployment.id, "a", key).await.unwrap().value.id;
    until(&server, &asked, Value::Null).await;
    revoke(&other, &server, id).await;
    until(&server, &asked, json!("key_revoked")).await;
}

async fn revoke(other: &Store, server: &Server, id: KeyId) {
    let now = jiff::Timestamp::from_second(1_767_225_600).unwrap();
    other
        .revoke_key(server.deployment.id, None, id, None, now)
        .await
        .unwrap();
}

/// Waits until the verifier decides so; another process's commits are heard of within the tailer's poll.
async fn until(server: &Server, key: &Value, reason: Value) {
    let heard = async {
        while server.reason(key).await != reason {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), heard)
        .await
        .expect("the change is heard of");
}

#[tokio::test]
async fn what_is_not_confirmed_is_said_to_be_committed() {
    let server = Server::start().await;
    server.app("a").await;
    let key = server.key("a").await;
    server.stop_tailer.cancel();
    // The tailer notices within its poll.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let path = format!("/api-auth/apps/a/keys/{}/revoke", key["id"].as_str().unwrap());
    let answer = server.post(&path, json!({})).await;
    answer.expect_error(503, &[50301], &["committed", "not yet confirmed"]);
    let listed = server
        .get("/api-auth/apps/a/keys?include_inactive=true")
        .await
        .expect(200);
    assert_eq!(listed["keys"][0]["is_active"], false, "it is committed indeed");
    // A created key's secret is lost with such an answer; its id is not.
    let body = server
        .post("/api-auth/apps/a/keys", json!({"name": "k"}))
        .await
        .expect_error(503, &[50301], &[]);
    let listed = server.get("/api-auth/apps/a/keys").await.expect(200);
    assert_eq!(listed["keys"][0]["id"], body["key_id"]);
}

/// Wherever a caller hangs up, its change is either not made or made whole and heard of.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_caller_who_hangs_up_loses_nothing() {
    let server = Server::start().await;
    server.app("a").await;
    let mut revoked = 0;
    for delay_us in (0..10_000).step_by(250) {
        let key = server.key("a").await;
        assert_eq!(server.reason(&key).await, Value::Null);
        let id = key["id"].as_str().unwrap();
        let request = format!(
            "POST /api-auth/apps/a/keys/{id}/revoke HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
        );
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_micros(delay_us)).await;
        drop(stream);
        let id: KeyId = KeyId(id.parse().unwrap());
        let stored = server.store.get_key(server.deployment.id, id).await.unwrap();
        if stored.revoked_at.is_some() {
            revoked += 1;
            until(&server, &key, json!("key_revoked")).await;
        }
    }
    assert!(revoked > 0, "at least who waited ten milliseconds was heard");
}

#[tokio::test]
async fn a_drain_lets_a_running_request_finish_and_takes_no_new_ones() {
    let server = Server::start().await;
    let idle = TcpStream::connect(server.address).await.unwrap();
    let body = json!({"app_slug": "a", "name": "A", "key_prefix": "a"}).to_string();
    let (first_half, second_half) = body.split_at(20);
    let mut running = TcpStream::connect(server.address).await.unwrap();
    let head = format!(
        "POST /api-auth/apps HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{first_half}",
        body.len()
    );
    running.write_all(head.as_bytes()).await.unwrap();
    // The server has read the head once it answers a request that came after it.
    server.get("/api-auth/apps").await.expect(200);
    server.stop.cancel();
    let closed = async {
        while TcpStream::connect(server.address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), closed)
        .await
        .expect("the listener closes");
    assert_eq!(read_all(idle).await, "", "an idle connection is closed");
    running.write_all(second_half.as_bytes()).await.unwrap();
    let answer = read_all(running).await;
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
}

async fn read_all(mut stream: TcpStream) -> String {
    let mut text = String::new();
    let read = tokio::time::timeout(Duration::from_secs(5), stream.read_to_string(&mut text));
    read.await.expect("the server hangs up").unwrap();
    text
}

#[tokio::test]
async fn tokens_created_elsewhere_work_at_once() {
    let server = Server::start().await;
    let other = Store::open(&server.store_url, Clock::system()).await.unwrap();
    let hash = token::hash("made-by-another-process");
    other
        .create_token(server.deployment.id, TokenKind::Management, "other", &[], hash)
        .await
        .unwrap();
    server
        .bare("GET", "/api-auth/apps")
        .token("made-by-another-process")
        .send()
        .await
        .expect(200);
}
