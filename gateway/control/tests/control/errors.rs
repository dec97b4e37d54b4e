//! Whatever goes wrong is answered in one shape, and every answer carries the same headers.

use crate::server::{PANICS, Server};
use serde_json::json;
use std::collections::HashSet;

#[tokio::test]
async fn unknown_paths_are_not_found() {
    let server = Server::start().await;
    server.app("a").await;
    for path in [
        "/api-auth",
        "/api-auth/",
        "/api-auth/apps/",
        "/api-auth/apps/a/",
        "/api-auth/app",
        "/api-auth/apps/a/keys/1",
        "/api-auth/apps/a/audit/logs",
        "/api-auth/apps/a/audit/analytics",
        "/api-auth/apps/a/audit/timeseries",
        "/",
        "/openapi.yaml",
        "//api-auth/apps",
        "/API-AUTH/apps",
    ] {
        server.get(path).await.expect_error(404, &[40400], &["no such path"]);
    }
    // A segment that no slug can be names nothing.
    for path in [
        "/api-auth/apps/%00",
        "/api-auth/apps/..%2Fapps",
        "/api-auth/apps/A",
        "/api-auth/apps/%F0%9F%98%80",
    ] {
        server.get(path).await.expect_error(404, &[40401], &[]);
    }
    server.get("/api-auth/apps/%FF").await.expect_error(404, &[40400], &[]);
}

#[tokio::test]
async fn other_methods_are_refused_with_those_that_are_allowed() {
    let server = Server::start().await;
    for (method, path, allowed) in [
        ("PUT", "/api-auth/apps", "GET,HEAD,POST"),
        ("DELETE", "/api-auth/apps", "GET,HEAD,POST"),
        ("POST", "/api-auth/apps/a", "DELETE,GET,HEAD,PATCH"),
        ("GET", "/api-auth/keys/revoke", "POST"),
        ("GET", "/api-auth/apps/a/keys/1/rotate", "POST"),
        ("OPTIONS", "/api-auth/verify", "POST"),
        ("POST", "/openapi.json", "GET,HEAD"),
    ] {
        let answer = server.call(method, path).send().await;
        let mut found: Vec<&str> = answer
            .header("allow")
            .expect("405 comes with Allow")
            .split(',')
            .collect();
        found.sort_unstable();
        assert_eq!(found.join(","), allowed, "{method} {path}");
        answer.expect_error(405, &[40500], &["Allow"]);
    }
}

#[tokio::test]
async fn head_is_answered_like_get_without_its_body() {
    let server = Server::start().await;
    let answer = server.call("HEAD", "/api-auth/apps").send().await;
    assert_eq!((answer.status.as_u16(), answer.text.as_str()), (200, ""));
    assert_eq!(server.call("HEAD", "/api-auth/apps/a").send().await.status, 404);
    assert_eq!(server.bare("HEAD", "/api-auth/apps").send().await.status, 401);
}

#[tokio::test]
async fn every_answer_carries_an_id_and_is_kept_by_no_cache() {
    let server = Server::start().await;
    let mut ids = HashSet::new();
    for call in [
        server.call("GET", "/api-auth/apps"),
        server.call("GET", "/api-auth/apps/missing"),
        server.call("GET", "/nowhere"),
        server.call("PUT", "/api-auth/apps"),
        server.bare("GET", "/api-auth/apps"),
        server.bare("GET", "/openapi.json"),
        server
            .call("POST", "/api-auth/apps")
            .json(&json!({"app_slug": "a", "name": "A", "key_prefix": "a"})),
        server.call("DELETE", "/api-auth/apps/a"),
    ] {
        let answer = call.header("x-request-id", "mine").send().await;
        let id = answer
            .header("x-request-id")
            .expect("every answer has an id")
            .to_owned();
        assert!(
            id.len() >= 26 && id.bytes().all(|byte| byte.is_ascii_alphanumeric()),
            "{id}"
        );
        assert!(ids.insert(id), "ids do not repeat");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        if !answer.text.is_empty() {
            assert_eq!(answer.header("content-type"), Some("application/json"));
        }
    }
}

#[tokio::test]
async fn a_store_that_is_gone_is_unavailable_and_says_no_more() {
    let server = Server::start().await;
    server.app("a").await;
    server.store.close().await;
    let answer = server.get("/api-auth/apps/a").await;
    assert!(
        !answer.text.contains("pool") && !answer.text.contains("sql"),
        "{}",
        answer.text
    );
    answer.expect_error(503, &[50300], &["store"]);
}

#[tokio::test]
async fn a_panic_is_answered_and_the_server_lives() {
    let server = Server::start().await;
    server.app("a").await;
    let key = server
        .post("/api-auth/apps/a/keys", json!({"name": PANICS}))
        .await
        .expect(201);
    let answer = server.post("/api-auth/verify", json!({"key": key["secret"]})).await;
    assert!(answer.header("x-request-id").is_some());
    answer.expect_error(500, &[50000], &["its log has the cause"]);
    server.get("/api-auth/apps").await.expect(200);
}
