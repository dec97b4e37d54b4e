//! `verify` tells what a gateway would decide, with the true reason, and never the key.

use crate::server::Server;
use serde_json::{Value, json};

#[tokio::test]
async fn every_reason_is_told() {
    let server = Server::start().await;
    let used_up = json!({"slug": "one", "name": "One", "rules": [
        {"unit": "minute", "duration": 1, "max_requests": 50, "mode": "per_key"},
        {"unit": "second", "duration": 10, "max_requests": 1},
    ]});
    server.post("/api-auth/rate-limit-schemes", used_up).await.expect(201);
    server.app("a").await;
    let key = async |body: Value| server.post("/api-auth/apps/a/keys", body).await.expect(201);
    let good = key(json!({"name": "good"})).await;
    let revoked = key(json!({"name": "revoked"})).await;
    let expiring = key(json!({"name": "expiring", "expires_at": "2026-01-01T00:00:10Z"})).await;
    let limited = key(json!({"name": "limited", "rate_limit_scheme_slug": "one"})).await;
    server.app("off").await;
    let inactive = server.key("off").await;
    server
        .patch("/api-auth/apps/off", json!({"is_active": false}))
        .await
        .expect(200);
    let path = format!("/api-auth/apps/a/keys/{}/revoke", revoked["id"].as_str().unwrap());
    server.post(&path, json!({"reason": "leaked"})).await.expect(200);
    server.clock.advance_us(10_000_000);
    let unknown = json!({"secret": portcullis_verify::Secret::generate("sk_test").unwrap().expose()});
    let malformed = json!({"secret": format!("{}x", good["secret"].as_str().unwrap())});

    for (key, reason, status, message) in [
        (&good, Value::Null, 200, "good"),
        (&revoked, json!("key_revoked"), 403, "revoked at 2026-01-01T00:00:00Z"),
        (&expiring, json!("key_expired"), 403, "expired at 2026-01-01T00:00:10Z"),
        (&inactive, json!("app_inactive"), 403, "app"),
        (
            &limited,
            json!("rate_limited"),
            429,
            "`per_app-10s` is used up; there is room again in 5 s",
        ),
        (&unknown, json!("key_unknown"), 403, "never issued"),
        (&malformed, json!("key_malformed"), 403, "checksum"),
        (
            &json!({"secret": "no key at all \u{0}"}),
            json!("key_malformed"),
            403,
            "shape",
        ),
    ] {
        let answer = server.post("/api-auth/verify", json!({"key": key["secret"]})).await;
        assert!(
            !answer.text.contains(key["secret"].as_str().unwrap()),
            "the key is not repeated"
        );
        let answer = answer.expect(200);
        let decision = if status == 200 { "allow" } else { "deny" };
        assert_eq!(answer["decision"], decision);
        assert_eq!(answer["reason"], reason);
        assert_eq!(answer["status"], status);
        assert!(
            answer["message"].as_str().unwrap().contains(message),
            "{}",
            answer["message"]
        );
        for (field, of_key) in [
            ("key_id", "id"),
            ("app_slug", "app_slug"),
            ("key_name", "name"),
            ("expires_at", "expires_at"),
        ] {
            assert_eq!(answer[field], key[of_key], "{reason}: {field}");
        }
        assert!(answer["as_of"]["epoch"].as_str().unwrap().parse::<u64>().unwrap() > 0);
        assert!(answer["as_of"]["revision"].as_str().unwrap().parse::<u64>().unwrap() > 0);
    }
    let answer = server
        .post("/api-auth/verify", json!({"key": revoked["secret"]}))
        .await
        .expect(200);
    assert_eq!(answer["revoked_reason"], "leaked");
    assert_eq!(answer["revoked_at"], "2026-01-01T00:00:00Z");
    let answer = server
        .post("/api-auth/verify", json!({"key": limited["secret"]}))
        .await
        .expect(200);
    let expected = json!([
        {"rule": "per_key-60s", "limit": 50, "remaining": 50},
        {"rule": "per_app-10s", "limit": 1, "remaining": 0},
    ]);
    assert_eq!(answer["rate_limits"], expected);
}

#[tokio::test]
async fn the_permissions_told_are_those_that_the_app_allows_too() {
    let server = Server::start().await;
    server.app("a").await;
    let key = server
        .post("/api-auth/apps/a/keys", json!({"name": "k", "permissions": ["b", "a"]}))
        .await
        .expect(201);
    let told = async || {
        server
            .post("/api-auth/verify", json!({"key": key["secret"]}))
            .await
            .expect(200)["permissions"]
            .clone()
    };
    assert_eq!(told().await, json!(["a", "b"]));
    server
        .patch("/api-auth/apps/a", json!({"permissions": ["a", "c"]}))
        .await
        .expect(200);
    assert_eq!(told().await, json!(["a"]));
}

#[tokio::test]
async fn a_request_without_a_key_is_refused() {
    let server = Server::start().await;
    for (body, code) in [
        (json!({}), 40002),
        (json!({"key": null}), 40002),
        (json!({"key": ""}), 40003),
        (json!({"key": 5}), 40001),
    ] {
        server
            .post("/api-auth/verify", body)
            .await
            .expect_error(400, &[code], &["`key`"]);
    }
}
