//! What gateways ask beside their watch is answered for their deployment and their apps, and counted once.

use crate::gateway::Connection;
use crate::server::Server;
use http::Method;
use portcullis_sync::message;
use portcullis_verify::PresentedKey;
use serde_json::{Value, json};

/// The hash of a key, as gateways send it.
fn hash(key: &Value) -> String {
    let hash = PresentedKey::parse(key["secret"].as_str().unwrap().as_bytes())
        .unwrap()
        .hash();
    String::from(message::HashText(hash))
}

async fn ask(connection: &mut Connection, token: &str, method: Method, path: &str, body: Value) -> Value {
    let (status, answer) = connection.call(method, path, token, &body).await;
    assert_eq!(status, 200, "{answer}");
    answer
}

async fn refused(connection: &mut Connection, token: &str, method: Method, path: &str, body: Value, code: u32) {
    let (status, answer) = connection.call(method, path, token, &body).await;
    assert_eq!(
        (u32::from(status.as_u16()), &answer["errors"][0]["code"]),
        (code / 100, &json!(code)),
        "{answer}"
    );
}

#[tokio::test]
async fn keys_are_told_by_deployment_and_app_only() {
    let server = Server::start().await;
    server.app("a").await;
    server.app("b").await;
    let (in_a, in_b) = (server.key("a").await, server.key("b").await);
    let (other, _) = server.tenant("other").await;
    let mut connection = Connection::open(&server).await;
    let (_, whole) = server.gateway_token(server.deployment.id, &[]).await;
    let (_, only_a) = server.gateway_token(server.deployment.id, &["a", "not-yet"]).await;
    let (_, theirs) = server.gateway_token(other.id, &[]).await;
    let hashes = json!({"hashes": [hash(&in_b), "00".repeat(32), hash(&in_a), hash(&in_b)]});
    let known = async |connection: &mut Connection, token: &str| -> (Vec<Value>, Vec<Value>) {
        let looked_up = ask(connection, token, Method::POST, message::LOOK_UP, hashes.clone()).await;
        assert_eq!(looked_up["as_of"]["revision"], server.head().await.revision);
        let records = looked_up["records"].as_array().unwrap().iter();
        let paged = ask(connection, token, Method::GET, message::KEYS, Value::Null).await;
        assert_eq!(paged["next"], Value::Null);
        let keys = paged["keys"].as_array().unwrap().iter();
        (
            records.map(|record| record["key_id"].clone()).collect(),
            keys.map(|key| key["hash"].clone()).collect(),
        )
    };
    let id = |key: &Value| json!(key["id"].as_str().unwrap().parse::<i64>().unwrap());
    let (a, b) = (id(&in_a), id(&in_b));
    assert_eq!(
        known(&mut connection, &whole).await,
        (
            vec![b.clone(), Value::Null, a.clone(), b],
            vec![json!(hash(&in_a)), json!(hash(&in_b))]
        )
    );
    assert_eq!(
        known(&mut connection, &only_a).await,
        (vec![Value::Null, Value::Null, a, Value::Null], vec![json!(hash(&in_a))])
    );
    assert_eq!(known(&mut connection, &theirs).await, (vec![Value::Null; 4], vec![]));
}

#[tokio::test]
async fn pages_lead_through_all_keys_once() {
    let server = Server::start().await;
    server.app("a").await;
    server.app("b").await;
    let mut expected = Vec::new();
    for number in 0..7 {
        expected.push(hash(&server.key(if number % 3 == 0 { "b" } else { "a" }).await));
    }
    let mut connection = Connection::open(&server).await;
    let (_, token) = server.gateway_token(server.deployment.id, &[]).await;
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let path = format!("{}?limit=2{after}", message::KEYS);
        let page = ask(&mut connection, &token, Method::GET, &path, Value::Null).await;
        found.extend(
            page["keys"]
                .as_array()
                .unwrap()
                .iter()
                .map(|key| key["hash"].as_str().unwrap().to_owned()),
        );
        if page["next"].is_null() {
            break;
        }
        after = format!("&after={}", page["next"]);
    }
    assert_eq!(found, expected);
    let app_id = server.get("/api-auth/apps/b").await.expect(200)["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let path = format!("{}?app_id={app_id}", message::KEYS);
    let page = ask(&mut connection, &token, Method::GET, &path, Value::Null).await;
    assert_eq!(page["keys"].as_array().unwrap().len(), 3);
    for wrong in ["?limit=x", "?after=-", "?app_id=b"] {
        let path = format!("{}{wrong}", message::KEYS);
        refused(&mut connection, &token, Method::GET, &path, Value::Null, 40004).await;
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_refused() {
    let server = Server::start().await;
    let mut connection = Connection::open(&server).await;
    let (_, token) = server.gateway_token(server.deployment.id, &[]).await;
    let hashes = |count: usize| json!({"hashes": vec!["ab".repeat(32); count]});
    ask(&mut connection, &token, Method::POST, message::LOOK_UP, hashes(256)).await;
    refused(
        &mut connection,
        &token,
        Method::POST,
        message::LOOK_UP,
        hashes(257),
        40003,
    )
    .await;
    refused(
        &mut connection,
        &token,
        Method::POST,
        message::LOOK_UP,
        json!({"hashes": ["ab"]}),
        40000,
    )
    .await;
    refused(
        &mut connection,
        &token,
        Method::POST,
        message::USAGE,
        json!({"rows": []}),
        40000,
    )
    .await;
    let batch = |id: &str, rows: Value| json!({"batch_id": id, "rows": rows});
    refused(
        &mut connection,
        &token,
        Method::POST,
        message::USAGE,
        batch("xyz", json!([])),
        40003,
    )
    .await;
    let row = json!({"key_id": 1, "minute": 1, "outcome": "allowed", "count": 1, "last_at_us": 1});
    let rows = Value::Array(vec![row; 5_001]);
    refused(
        &mut connection,
        &token,
        Method::POST,
        message::USAGE,
        batch(&"a".repeat(32), rows),
        40003,
    )
    .await;
}

#[tokio::test]
async fn usage_is_counted_once_and_shows_when_a_key_was_last_used() {
    let server = Server::start().await;
    server.app("a").await;
    let key = server.key("a").await;
    let key_id: i64 = key["id"].as_str().unwrap().parse().unwrap();
    let (other, _) = server.tenant("other").await;
    let mut connection = Connection::open(&server).await;
    let (_, token) = server.gateway_token(server.deployment.id, &[]).await;
    let (_, theirs) = server.gateway_token(other.id, &[]).await;
    // 2025-12-31T23:59:00Z, in minutes and microseconds.
    let (minute, at_us) = (29_453_759, 1_767_225_540_000_000_i64);
    let batch = |id: &str, count: u64| {
        json!({"batch_id": id.repeat(32), "rows": [
            {"key_id": key_id, "minute": minute, "outcome": "allowed", "count": count, "last_at_us": at_us},
            {"key_id": key_id, "minute": minute, "outcome": {"rate_limited": "per_key-60s"}, "count": 1, "last_at_us": at_us - 5},
        ]})
    };
    for (sender, id, count, is_new) in [
        (&token, "a", 5, true),
        (&token, "a", 5, false),
        (&token, "b", 2, true),
        // Their deployment has no such key, and batches of its own.
        (&theirs, "a", 100, true),
    ] {
        let answer = ask(&mut connection, sender, Method::POST, message::USAGE, batch(id, count)).await;
        assert_eq!(answer, json!({"is_new": is_new}), "{id}");
    }
    let usage = server
        .store
        .usage_of_key(server.deployment.id, portcullis_verify::KeyId(key_id), 0..=i64::MAX)
        .await
        .unwrap();
    let mut counts: Vec<u64> = usage.iter().map(|usage| usage.count).collect();
    counts.sort_unstable();
    assert_eq!(counts, [2, 7], "two refused, seven allowed");
    let listed = server.get("/api-auth/apps/a/keys").await.expect(200);
    assert_eq!(listed["keys"][0]["last_used_at"], "2025-12-31T23:59:00Z");
}
