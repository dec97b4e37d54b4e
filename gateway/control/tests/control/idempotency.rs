//! A creating call with an `Idempotency-Key` creates once in 24 hours, however often and however fast it is repeated.

use crate::server::{Answer, Server};
use serde_json::{Value, json};

const DAY_US: u64 = 24 * 60 * 60 * 1_000_000;

async fn create(server: &Server, path: &str, key: &str, body: &Value) -> Answer {
    server
        .call("POST", path)
        .header("Idempotency-Key", key)
        .json(body)
        .send()
        .await
}

fn app(slug: &str) -> Value {
    json!({"app_slug": slug, "name": slug, "key_prefix": "sk"})
}

#[tokio::test]
async fn a_repeated_creation_of_an_app_is_answered_as_the_first() {
    let server = Server::start().await;
    let first = create(&server, "/api-auth/apps", "one", &app("a")).await;
    assert_eq!(first.header("idempotency-replayed"), None);
    server
        .patch("/api-auth/apps/a", json!({"name": "renamed"}))
        .await
        .expect(200);
    let again = create(&server, "/api-auth/apps", "one", &app("a")).await;
    assert_eq!(again.status, 201);
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!(again.header("content-type"), Some("application/json"));
    assert_eq!(again.text, first.text, "word for word, whatever happened since");
    // Another key is another call.
    create(&server, "/api-auth/apps", "two", &app("a"))
        .await
        .expect_error(409, &[40900], &[]);
}

#[tokio::test]
async fn a_different_request_under_the_same_key_is_refused() {
    let server = Server::start().await;
    create(&server, "/api-auth/apps", "one", &app("a")).await.expect(201);
    for body in [app("b"), json!({}), json!({"app_slug": "a"})] {
        let refused = create(&server, "/api-auth/apps", "one", &body).await;
        refused.expect_error(409, &[40902], &["Idempotency-Key", "different request"]);
    }
    server.app("b").await;
    // The two creating calls do not share keys; two apps do.
    create(&server, "/api-auth/apps/a/keys", "one", &json!({"name": "k"}))
        .await
        .expect(201);
    let refused = create(&server, "/api-auth/apps/b/keys", "one", &json!({"name": "k"})).await;
    refused.expect_error(409, &[40902], &[]);
}

#[tokio::test]
async fn a_refused_creation_leaves_its_key_free() {
    let server = Server::start().await;
    create(&server, "/api-auth/apps", "one", &json!({}))
        .await
        .expect_error(400, &[40002, 40002], &[]);
    create(&server, "/api-auth/apps", "one", &app("a")).await.expect(201);
    create(&server, "/api-auth/apps/b/keys", "k", &json!({"name": "k"}))
        .await
        .expect_error(404, &[40401], &[]);
    create(&server, "/api-auth/apps/a/keys", "k", &json!({"name": "k"}))
        .await
        .expect(201);
}

#[tokio::test]
async fn a_repeated_creation_of_a_key_names_the_key_and_not_its_secret() {
    let server = Server::start().await;
    server.app("a").await;
    let body = json!({"name": "k"});
    let first = create(&server, "/api-auth/apps/a/keys", "one", &body).await.expect(201);
    let again = create(&server, "/api-auth/apps/a/keys", "one", &body).await;
    assert!(!again.text.contains(first["secret"].as_str().unwrap()));
    let id = first["id"].as_str().unwrap();
    let refused = again.expect_error(409, &[40903], &[id, "secret"]);
    assert_eq!(refused["key_id"], first["id"]);
    let listed = server.get("/api-auth/apps/a/keys").await.expect(200);
    assert_eq!(listed["keys"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn after_a_day_a_key_is_as_new() {
    let server = Server::start().await;
    server.app("a").await;
    let body = json!({"name": "k"});
    let first = create(&server, "/api-auth/apps/a/keys", "one", &body).await.expect(201);
    server.clock.advance_us(DAY_US - 1);
    create(&server, "/api-auth/apps/a/keys", "one", &body)
        .await
        .expect_error(409, &[40903], &[]);
    server.clock.advance_us(1);
    let second = create(&server, "/api-auth/apps/a/keys", "one", &body).await.expect(201);
    assert_ne!(first["id"], second["id"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn simultaneous_repetitions_create_once() {
    let server = Server::start().await;
    server.app("a").await;
    let body = json!({"name": "k"});
    let keys = (0..24).map(|_| create(&server, "/api-auth/apps/a/keys", "one", &body));
    let answers = futures_util::future::join_all(keys).await;
    let created = answers.iter().filter(|answer| answer.status == 201).count();
    let repeated = answers.iter().filter(|answer| answer.status == 409).count();
    assert_eq!((created, repeated), (1, 23), "{answers:?}");
    assert!(
        answers
            .iter()
            .filter(|answer| answer.status == 409)
            .all(|answer| answer.json()["errors"][0]["code"] == 40903)
    );

    let new = app("b");
    let apps = (0..24).map(|_| create(&server, "/api-auth/apps", "two", &new));
    let answers = futures_util::future::join_all(apps).await;
    assert!(
        answers
            .iter()
            .all(|answer| answer.status == 201 && answer.text == answers[0].text),
        "{answers:?}"
    );
    let replayed = answers
        .iter()
        .filter(|answer| answer.header("idempotency-replayed").is_some())
        .count();
    assert_eq!(replayed, 23);
    assert_eq!(server.get("/api-auth/apps").await.expect(200)["total"], 2);
}

#[tokio::test]
async fn unfit_keys_are_refused() {
    let server = Server::start().await;
    let longest = "x".repeat(255);
    create(&server, "/api-auth/apps", &longest, &app("a")).await.expect(201);
    for bad in ["", "two words", &"x".repeat(256), "größe"] {
        let refused = create(&server, "/api-auth/apps", bad, &app("b")).await;
        refused.expect_error(400, &[40005], &["`Idempotency-Key`", "255"]);
    }
    let twice = server
        .call("POST", "/api-auth/apps")
        .header("idempotency-key", "1")
        .header("idempotency-key", "2");
    twice
        .json(&app("b"))
        .send()
        .await
        .expect_error(400, &[40005], &["once"]);
}
