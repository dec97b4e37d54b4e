//! Keys are created, listed, revoked and rotated as the contract says, in both generations of calls.

use crate::server::Server;
use serde_json::{Value, json};

const KEYS: &str = "/api-auth/apps/a/keys";
const FIELDS: [&str; 26] = [
    "app_id",
    "app_slug",
    "created_at",
    "deployment_id",
    "environment",
    "expires_at",
    "id",
    "is_active",
    "key_prefix",
    "key_suffix",
    "last_used_at",
    "metadata",
    "name",
    "org_role_permissions",
    "organization_id",
    "organization_membership_id",
    "owner",
    "owner_user_id",
    "permissions",
    "rate_limit_scheme_slug",
    "rate_limits",
    "revoked_at",
    "revoked_reason",
    "updated_at",
    "workspace_id",
    "workspace_membership_id",
];

fn without_secret(key: &Value) -> Value {
    let mut key = key.clone();
    key.as_object_mut().unwrap().retain(|name, _| {
        !["secret", "key", "revision", "enforced", "gateways", "unenforced"].contains(&name.as_str())
    });
    key
}

#[tokio::test]
async fn a_key_is_answered_for_every_client_and_its_secret_once() {
    let server = Server::start().await;
    let body = json!({"app_slug": "a", "name": "A", "key_prefix": "sk_live", "organization_id": 3, "workspace_id": 4});
    let app = server.post("/api-auth/apps", body).await.expect(201);
    let body = json!({
        "appName": "ignored", "name": "Primary", "permissions": ["users:read"], "metadata": {"tier": 1, "ä": null},
        "expires_at": "2026-12-31T23:59:59Z", "owner": "billing", "owner_user_id": 12, "environment": "production",
        "organization_membership_id": null, "workspace_membership_id": null,
    });
    let created = server.post(KEYS, body).await.expect(201);
    let secret = created["secret"].as_str().unwrap();
    assert!(
        portcullis_verify::PresentedKey::parse(secret.as_bytes()).is_ok(),
        "the secret has the contract's shape"
    );
    assert!(secret.starts_with("sk_live_") && secret.len() == "sk_live_".len() + 43);
    let key = without_secret(&created);
    assert_eq!(created["key"], key, "the nested key is the same key");
    let mut fields: Vec<&str> = FIELDS.to_vec();
    fields.push("workspace_role_permissions");
    assert_eq!(
        key.as_object().unwrap().keys().map(String::as_str).collect::<Vec<_>>(),
        fields
    );
    let expected = json!({
        "id": created["id"], "app_id": app["id"], "deployment_id": app["deployment_id"], "app_slug": "a",
        "name": "Primary", "key_prefix": "sk_live", "key_suffix": &secret[secret.len() - 8..],
        "permissions": ["users:read"], "metadata": {"tier": 1, "ä": null}, "rate_limits": [],
        "rate_limit_scheme_slug": null, "owner": "billing", "owner_user_id": "12", "environment": "production",
        "organization_id": "3", "workspace_id": "4", "organization_membership_id": null,
        "workspace_membership_id": null, "org_role_permissions": [], "workspace_role_permissions": [],
        "expires_at": "2026-12-31T23:59:59Z", "last_used_at": null, "is_active": true,
        "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z",
        "revoked_at": null, "revoked_reason": null,
    });
    assert_eq!(key, expected);
    let listed = server.get(KEYS).await;
    assert!(!listed.text.contains(secret), "a secret is shown once");
    assert_eq!(listed.expect(200), json!({"keys": [key]}));
}

#[tokio::test]
async fn a_key_needs_no_more_than_a_name() {
    let server = Server::start().await;
    server.app("a").await;
    let body = json!({
        "name": "k", "permissions": null, "metadata": null, "expires_at": null, "owner": "", "owner_user_id": "",
        "environment": null, "rate_limit_scheme_slug": "",
    });
    let created = server.post(KEYS, body).await.expect(201);
    assert_eq!(created["permissions"], json!([]));
    assert_eq!(created["metadata"], json!({}));
    for field in [
        "expires_at",
        "owner",
        "owner_user_id",
        "environment",
        "rate_limit_scheme_slug",
    ] {
        assert_eq!(created[field], Value::Null, "{field}");
    }
}

#[tokio::test]
async fn every_fault_of_a_new_key_is_named() {
    let server = Server::start().await;
    let app = json!({"app_slug": "a", "name": "A", "key_prefix": "a", "permissions": ["users:read", "users:write"]});
    server.post("/api-auth/apps", app).await.expect(201);
    let check = async |body: Value, codes: &[u32], parts: &[&str]| {
        server.post(KEYS, body).await.expect_error(400, codes, parts);
    };
    check(json!({}), &[40002], &["`name` is required"]).await;
    check(
        json!({"name": "\u{1b}[2J"}),
        &[40003],
        &["`name` must not contain control"],
    )
    .await;
    check(
        json!({"name": "k", "permissions": ["users:read", "users:delete", "x"]}),
        &[40003, 40003],
        &["`permissions`", "`users:delete`", "`x`", "among the app's permissions"],
    )
    .await;
    check(
        json!({"name": "k", "metadata": [1]}),
        &[40001],
        &["`metadata` must be an object"],
    )
    .await;
    check(
        json!({"name": "k", "metadata": {"k": "x".repeat(4_100)}}),
        &[40003],
        &["`metadata` must be at most 4096"],
    )
    .await;
    check(
        json!({"name": "k", "expires_at": "2026-01-01T00:00:00Z"}),
        &[40003],
        &["`expires_at` must be in the future"],
    )
    .await;
    check(
        json!({"name": "k", "expires_at": "soon"}),
        &[40003],
        &["`expires_at` must be a time"],
    )
    .await;
    check(
        json!({"name": "k", "expires_at": 1_798_761_599}),
        &[40001],
        &["`expires_at` must be a string"],
    )
    .await;
    check(
        json!({"name": "k", "owner_user_id": "usr_abc123"}),
        &[40001],
        &["`owner_user_id` must be a positive"],
    )
    .await;
    check(
        json!({"name": "k", "rate_limit_scheme_slug": "none"}),
        &[40003],
        &["none"],
    )
    .await;
    for field in ["organization_membership_id", "workspace_membership_id"] {
        for value in [json!("5"), json!(""), json!(false), json!({})] {
            check(
                json!({"name": "k", field: value}),
                &[40003],
                &[field, "not part of this endpoint"],
            )
            .await;
        }
    }
    check(
        json!({"workspace_membership_id": 1, "permissions": ["no"], "expires_at": 5, "owner": "a\nb"}),
        &[40003, 40002, 40003, 40001, 40003],
        &["`workspace_membership_id`", "`name`", "`no`", "`expires_at`", "`owner`"],
    )
    .await;
    assert_eq!(server.get(KEYS).await.expect(200), json!({"keys": []}));
    let missing = server.post("/api-auth/apps/b/keys", json!({"name": "k"})).await;
    missing.expect_error(404, &[40401], &["no app"]);
    server
        .get("/api-auth/apps/b/keys")
        .await
        .expect_error(404, &[40401], &[]);
}

#[tokio::test]
async fn an_app_without_permissions_bounds_no_key() {
    let server = Server::start().await;
    server.app("a").await;
    let created = server
        .post(KEYS, json!({"name": "k", "permissions": ["anything", "anything"]}))
        .await
        .expect(201);
    assert_eq!(created["permissions"], json!(["anything"]));
}

#[tokio::test]
async fn a_key_shows_its_own_scheme_else_its_apps() {
    let server = Server::start().await;
    for (slug, limit) in [("app-tier", 5), ("key-tier", 6)] {
        let rule = json!({"unit": "minute", "duration": 1, "max_requests": limit});
        let body = json!({"slug": slug, "name": slug, "rules": [rule]});
        server.post("/api-auth/rate-limit-schemes", body).await.expect(201);
    }
    server.app("a").await;
    server
        .patch("/api-auth/apps/a", json!({"rate_limit_scheme_slug": "app-tier"}))
        .await
        .expect(200);
    let of_app = server.post(KEYS, json!({"name": "k"})).await.expect(201);
    assert_eq!(
        (
            &of_app["rate_limit_scheme_slug"],
            &of_app["rate_limits"][0]["max_requests"]
        ),
        (&json!("app-tier"), &json!(5))
    );
    let own = server
        .post(KEYS, json!({"name": "k", "rate_limit_scheme_slug": "key-tier"}))
        .await
        .expect(201);
    assert_eq!(
        (&own["rate_limit_scheme_slug"], &own["rate_limits"][0]["max_requests"]),
        (&json!("key-tier"), &json!(6))
    );
}

#[tokio::test]
async fn lists_leave_out_dead_keys_unless_asked() {
    let server = Server::start().await;
    server.app("a").await;
    server.key("a").await;
    let revoked = server.key("a").await;
    let body = json!({"name": "expiring", "expires_at": "2026-01-01T00:00:10Z"});
    server.post(KEYS, body).await.expect(201);
    server
        .post(&format!("{KEYS}/{}/revoke", revoked["id"].as_str().unwrap()), json!({}))
        .await
        .expect(200);
    let check = async |query: &str, expected: Value| {
        let listed = server.get(&format!("{KEYS}{query}")).await.expect(200);
        let active: Vec<Value> = listed["keys"]
            .as_array()
            .unwrap()
            .iter()
            .map(|key| key["is_active"].clone())
            .collect();
        assert_eq!(Value::Array(active), expected, "{query}");
    };
    check("", json!([true, true])).await;
    check("?include_inactive=true", json!([true, false, true])).await;
    server.clock.advance_us(10_000_000);
    check("", json!([true])).await;
    check("?include_inactive=true", json!([true, false, false])).await;
    server
        .get(&format!("{KEYS}?include_inactive=maybe"))
        .await
        .expect_error(400, &[40004], &[]);
    // A key tells its own state, whatever its app's.
    server
        .patch("/api-auth/apps/a", json!({"is_active": false}))
        .await
        .expect(200);
    check("", json!([true])).await;
}

#[tokio::test]
async fn revoking_tells_what_is_revoked_and_works_once() {
    let server = Server::start().await;
    server.app("a").await;
    let by_id = |field: &str, id: Value| {
        (
            "/api-auth/keys/revoke".to_owned(),
            json!({field: id, "reason": "leaked"}),
        )
    };
    for form in 0..4 {
        let key = server.key("a").await;
        let id = key["id"].clone();
        let (path, body) = match form {
            0 => (
                format!("{KEYS}/{}/revoke", id.as_str().unwrap()),
                json!({"reason": "leaked"}),
            ),
            1 => by_id("key_id", id.clone()),
            2 => by_id("api_key_id", id.clone()),
            _ => by_id("key_id", json!(id.as_str().unwrap().parse::<i64>().unwrap())),
        };
        let revoked = server.post(&path, body.clone()).await.expect(200);
        assert_eq!(revoked["id"], id);
        assert_eq!(revoked["is_active"], false);
        assert_eq!(revoked["revoked_at"], "2026-01-01T00:00:00Z");
        assert_eq!(revoked["revoked_reason"], "leaked");
        assert!(revoked["revision"].as_str().unwrap().parse::<u64>().unwrap() > 0);
        assert_eq!(revoked["key"]["revoked_reason"], "leaked");
        assert_eq!(revoked["key"]["is_active"], false);
        assert_eq!(server.reason(&key).await, "key_revoked");
        server
            .post(&path, body)
            .await
            .expect_error(404, &[40402], &["revoked already"]);
    }
}

#[tokio::test]
async fn keys_that_are_not_there_are_not_found() {
    let server = Server::start().await;
    server.app("a").await;
    server.app("other").await;
    let id = server.key("other").await["id"].as_str().unwrap().to_owned();
    for act in ["revoke", "rotate"] {
        for key_id in [
            "1",
            "0",
            "-1",
            "abc",
            "9223372036854775808",
            "%20",
            "1.0",
            &format!("0{id}"),
            &id,
        ] {
            let answer = server.post(&format!("{KEYS}/{key_id}/{act}"), json!({})).await;
            answer.expect_error(404, &[40402], &["no such key"]);
        }
        let path = format!("/api-auth/keys/{act}");
        server
            .post(&path, json!({"key_id": "1"}))
            .await
            .expect_error(404, &[40402], &[]);
        for (body, code) in [
            (json!({}), 40002),
            (json!({"key_id": null}), 40002),
            (json!({"key_id": ""}), 40003),
            (json!({"key_id": 0}), 40001),
            (json!({"api_key_id": "key_xyz789"}), 40001),
            (json!({"key_id": 1, "api_key_id": 2}), 40003),
        ] {
            server.post(&path, body).await.expect_error(400, &[code], &["key_id"]);
        }
    }
    let bad = json!({"key_id": "x", "reason": 5});
    server
        .post("/api-auth/keys/revoke", bad)
        .await
        .expect_error(400, &[40001, 40001], &["`key_id`", "`reason`"]);
}

#[tokio::test]
async fn rotating_makes_another_key_of_the_same_kind() {
    let server = Server::start().await;
    server.app("a").await;
    let body = json!({"name": "k", "permissions": ["p"], "metadata": {"m": 1}, "expires_at": "2027-01-01T00:00:00Z", "owner": "o"});
    let mut key = server.post(KEYS, body).await.expect(201);
    for form in 0..3 {
        let id = key["id"].as_str().unwrap();
        let (path, body) = match form {
            0 => (format!("{KEYS}/{id}/rotate"), json!({})),
            1 => ("/api-auth/keys/rotate".to_owned(), json!({"key_id": id})),
            _ => ("/api-auth/keys/rotate".to_owned(), json!({"api_key_id": id})),
        };
        let rotated = server.post(&path, body.clone()).await.expect(200);
        assert_ne!(rotated["id"], key["id"]);
        assert_ne!(rotated["secret"], key["secret"]);
        for kept in [
            "name",
            "permissions",
            "metadata",
            "expires_at",
            "owner",
            "app_id",
            "key_prefix",
        ] {
            assert_eq!(rotated[kept], key[kept], "{kept}");
        }
        assert_eq!(rotated["key"], without_secret(&rotated));
        assert_eq!(server.reason(&key).await, "key_revoked", "the old secret dies at once");
        assert_eq!(server.reason(&rotated).await, Value::Null);
        server.post(&path, body).await.expect_error(404, &[40402], &[]);
        key = rotated;
    }
    let all = server.get(&format!("{KEYS}?include_inactive=true")).await.expect(200);
    assert_eq!(all["keys"][0]["revoked_reason"], "Rotated");
}

#[tokio::test]
async fn a_grace_period_lets_the_old_secret_live_that_long() {
    let server = Server::start().await;
    server.app("a").await;
    let old = server.key("a").await;
    let path = format!("{KEYS}/{}/rotate", old["id"].as_str().unwrap());
    for bad in [json!(-1), json!(2_592_001)] {
        let refused = server.post(&path, json!({"grace_period_seconds": bad})).await;
        refused.expect_error(400, &[40003], &["`grace_period_seconds`"]);
    }
    let refused = server.post(&path, json!({"grace_period_seconds": "60"})).await;
    refused.expect_error(400, &[40001], &["`grace_period_seconds`"]);
    let new = server
        .post(&path, json!({"grace_period_seconds": 60}))
        .await
        .expect(200);
    let listed = server.get(KEYS).await.expect(200);
    assert_eq!(listed["keys"][0]["is_active"], true);
    assert_eq!(listed["keys"][0]["revoked_at"], "2026-01-01T00:01:00Z");
    assert_eq!(
        (server.reason(&old).await, server.reason(&new).await),
        (Value::Null, Value::Null)
    );
    server.clock.advance_us(59_999_999);
    assert_eq!(server.reason(&old).await, Value::Null);
    server.clock.advance_us(1);
    assert_eq!(
        (server.reason(&old).await, server.reason(&new).await),
        (json!("key_revoked"), Value::Null)
    );
}

#[tokio::test]
async fn a_new_secret_starts_with_the_apps_prefix_of_now() {
    let server = Server::start().await;
    server.app("a").await;
    let old = server.key("a").await;
    server
        .patch("/api-auth/apps/a", json!({"key_prefix": "changed"}))
        .await
        .expect(200);
    let new = server
        .post("/api-auth/keys/rotate", json!({"key_id": old["id"]}))
        .await
        .expect(200);
    assert_eq!(new["key_prefix"], "changed");
    assert!(new["secret"].as_str().unwrap().starts_with("changed_"));
}

#[tokio::test]
async fn an_expired_key_is_not_rotated() {
    let server = Server::start().await;
    server.app("a").await;
    let key = server
        .post(KEYS, json!({"name": "k", "expires_at": "2026-01-01T00:00:01Z"}))
        .await
        .expect(201);
    server.clock.advance_us(1_000_000);
    let refused = server.post("/api-auth/keys/rotate", json!({"key_id": key["id"]})).await;
    refused.expect_error(400, &[40003], &["expired"]);
}
