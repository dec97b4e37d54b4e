//! What the published clients put on the wire, oddities included, works as it is.

use crate::server::{Server, TOKEN};
use serde_json::{Value, json};

/// The npm client hands its own client object over as the options where a caller leaves them out.
fn npm_client_object() -> Value {
    json!({
        "baseUrl": "http://127.0.0.1:7070", "defaultTimeout": 30_000,
        "defaultHeaders": {"Authorization": format!("Bearer {TOKEN}")}, "name": "main",
        "users": {}, "organizations": {}, "apiKeys": {}, "gateway": {}, "sessions": {},
    })
}

#[tokio::test]
async fn npm_revokes_with_its_own_client_object_as_the_body() {
    let server = Server::start().await;
    server.app("a").await;
    let key = server.key("a").await;
    let path = format!("/api-auth/apps/a/keys/{}/revoke", key["id"].as_str().unwrap());
    let answer = server.post(&path, npm_client_object()).await;
    assert!(!answer.text.contains(TOKEN));
    assert_eq!(answer.expect(200)["revoked_reason"], Value::Null);
    let again = server.post(&path, npm_client_object()).await;
    assert!(!again.text.contains(TOKEN));
    again.expect_error(404, &[40402], &[]);
}

/// Wherever that object ends up, nothing of it comes back.
#[tokio::test]
async fn the_npm_client_object_is_repeated_in_no_error() {
    let server = Server::start().await;
    server.app("a").await;
    for (method, path) in [
        ("POST", "/api-auth/apps"),
        ("PATCH", "/api-auth/apps/missing"),
        ("POST", "/api-auth/keys/revoke"),
        ("POST", "/api-auth/keys/rotate"),
        ("POST", "/api-auth/rate-limit-schemes"),
        ("PATCH", "/api-auth/rate-limit-schemes/missing"),
        ("POST", "/api-auth/verify"),
        ("POST", "/api-auth/apps/a/keys/1/revoke"),
        ("POST", "/api-auth/apps/a/keys/1/rotate"),
        ("PUT", "/api-auth/apps"),
    ] {
        let answer = server.call(method, path).json(&npm_client_object()).send().await;
        assert!(answer.status.is_client_error(), "{method} {path}: {}", answer.text);
        assert!(!answer.text.contains(TOKEN), "{method} {path}: {}", answer.text);
        let broken = format!("{},", npm_client_object());
        let answer = server.call(method, path).bytes("application/json", broken).send().await;
        assert!(
            answer.status.is_client_error() && !answer.text.contains(TOKEN),
            "{method} {path}: {}",
            answer.text
        );
    }
}

#[tokio::test]
async fn the_crates_rotate_without_body_and_content_type() {
    let server = Server::start().await;
    server.app("a").await;
    let key = server.key("a").await;
    let path = format!("/api-auth/apps/a/keys/{}/rotate", key["id"].as_str().unwrap());
    let rotated = server.call("POST", &path).send().await.expect(200);
    let path = format!("/api-auth/apps/a/keys/{}/revoke", rotated["id"].as_str().unwrap());
    server.call("POST", &path).send().await.expect(200);
}

#[tokio::test]
async fn optional_bodies_may_be_empty_in_every_way() {
    let server = Server::start().await;
    server.app("a").await;
    for (content_type, body) in [
        ("application/json", ""),
        ("application/json", "{}"),
        ("application/json", "null"),
        ("application/json; charset=utf-8", " {\"reason\": null} "),
        ("application/vnd.api+json", "{}"),
        ("text/plain", ""),
        ("text/plain", " \r\n"),
    ] {
        let key = server.key("a").await;
        let path = format!("/api-auth/apps/a/keys/{}/revoke", key["id"].as_str().unwrap());
        server
            .call("POST", &path)
            .bytes(content_type, body)
            .send()
            .await
            .expect(200);
    }
}

/// The crates name what they leave out in updates and schemes as null, and always send a priority.
#[tokio::test]
async fn the_crates_send_nulls() {
    let server = Server::start().await;
    let rules = json!([{"unit": "minute", "duration": 1, "max_requests": 5, "priority": 0}]);
    let body = json!({"slug": "s", "name": "S", "description": null, "rules": rules});
    let created = server.post("/api-auth/rate-limit-schemes", body).await.expect(201);
    assert_eq!(created["rules"], rules);
    let body = json!({"name": null, "description": "d", "rules": null});
    let updated = server.patch("/api-auth/rate-limit-schemes/s", body).await.expect(200);
    assert_eq!((&updated["name"], &updated["rules"]), (&json!("S"), &rules));
}
