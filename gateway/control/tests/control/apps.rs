//! Apps are created, read, changed and deleted as the contract says.

use crate::server::Server;
use portcullis_store::entity::Plan;
use serde_json::{Value, json};

const FIELDS: [&str; 17] = [
    "app_slug",
    "created_at",
    "deleted_at",
    "deployment_id",
    "description",
    "id",
    "is_active",
    "key_prefix",
    "name",
    "organization_id",
    "permissions",
    "rate_limit_scheme_slug",
    "rate_limits",
    "resources",
    "updated_at",
    "user_id",
    "workspace_id",
];

fn rule() -> Value {
    json!({"unit": "minute", "duration": 1, "max_requests": 100})
}

async fn scheme(server: &Server, slug: &str) {
    let body = json!({"slug": slug, "name": slug, "rules": [rule()]});
    server.post("/api-auth/rate-limit-schemes", body).await.expect(201);
}

#[tokio::test]
async fn an_app_is_answered_with_exactly_the_fields_of_the_contract() {
    let server = Server::start().await;
    scheme(&server, "tier-1").await;
    let body = json!({
        "app_slug": "internal-api", "name": "Internal API", "key_prefix": "wacht_internal",
        "description": "For internal services.", "organization_id": 7, "workspace_id": "8",
        "rate_limit_scheme_slug": "tier-1", "permissions": ["users:read"], "resources": ["users/*"],
        "user_id": null, "something_else": {"is": ["ignored"]},
    });
    let created = server.post("/api-auth/apps", body).await.expect(201);
    let names: Vec<&str> = created.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, FIELDS);
    let expected = json!({
        "app_slug": "internal-api", "name": "Internal API", "key_prefix": "wacht_internal",
        "description": "For internal services.", "organization_id": "7", "workspace_id": "8", "user_id": null,
        "rate_limit_scheme_slug": "tier-1", "rate_limits": [rule()], "permissions": ["users:read"],
        "resources": ["users/*"], "is_active": true, "deleted_at": null,
        "id": created["id"], "deployment_id": server.deployment.id.to_string(),
        "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z",
    });
    assert_eq!(created, expected);
    assert!(created["id"].as_str().unwrap().parse::<i64>().unwrap() > 0);
    assert_eq!(server.get("/api-auth/apps/internal-api").await.expect(200), created);
    assert_eq!(
        server.get("/api-auth/apps").await.expect(200),
        json!({"total": 1, "apps": [created]})
    );
}

#[tokio::test]
async fn the_older_form_derives_the_key_prefix() {
    let server = Server::start().await;
    let body = json!({"name": "Acme public API V2", "slug": "acme-v2", "permissions": ["read:data", "write:data"]});
    let created = server.post("/api-auth/apps", body).await.expect(201);
    assert_eq!(created["app_slug"], "acme-v2");
    assert_eq!(created["key_prefix"], "acme_v2");
    let both = json!({"name": "Both", "slug": "same", "app_slug": "same", "key_prefix": "sk"});
    assert_eq!(
        server.post("/api-auth/apps", both).await.expect(201)["key_prefix"],
        "sk"
    );
    let own = json!({"name": "Own", "slug": "own", "key_prefix": "sk_own"});
    assert_eq!(
        server.post("/api-auth/apps", own).await.expect(201)["key_prefix"],
        "sk_own"
    );
}

#[tokio::test]
async fn every_fault_of_a_new_app_is_named() {
    let server = Server::start().await;
    let good = json!({"app_slug": "a", "name": "A", "key_prefix": "a"});
    // What is changed in a good request (null takes a field away), the codes, and what the message says.
    let check = async |change: Value, codes: &[u32], parts: &[&str]| {
        let mut body = good.clone();
        body.as_object_mut()
            .unwrap()
            .extend(change.as_object().unwrap().clone());
        server
            .post("/api-auth/apps", body)
            .await
            .expect_error(400, codes, parts);
    };
    check(json!({"app_slug": null}), &[40002], &["`app_slug` is required"]).await;
    check(json!({"name": null}), &[40002], &["`name` is required"]).await;
    check(json!({"key_prefix": null}), &[40002], &["`key_prefix` is required"]).await;
    check(
        json!({"app_slug": null, "name": null, "key_prefix": null}),
        &[40002, 40002],
        &["`app_slug` is required", "`name` is required"],
    )
    .await;
    check(json!({"app_slug": "A b"}), &[40003], &["`app_slug` must be 1 to 64"]).await;
    check(json!({"app_slug": 5}), &[40001], &["`app_slug` must be a string"]).await;
    check(json!({"slug": "other"}), &[40003], &["`app_slug` and `slug`", "differ"]).await;
    check(json!({"name": ""}), &[40003], &["`name` must not be blank"]).await;
    check(
        json!({"key_prefix": "sk_"}),
        &[40003],
        &["`key_prefix` must be 1 to 32"],
    )
    .await;
    check(
        json!({"organization_id": "org_abc123"}),
        &[40001],
        &["`organization_id` must be a positive"],
    )
    .await;
    for id in [
        json!(0),
        json!(-1),
        json!(1.5),
        json!(true),
        json!("0"),
        json!("+1"),
        json!("01"),
        json!(" 1"),
        json!([1]),
    ] {
        check(
            json!({"workspace_id": id}),
            &[40001],
            &["`workspace_id` must be a positive"],
        )
        .await;
    }
    check(
        json!({"user_id": 9_223_372_036_854_775_808_u64}),
        &[40001],
        &["`user_id` must be a positive"],
    )
    .await;
    check(
        json!({"permissions": "users:read"}),
        &[40001],
        &["`permissions` must be a list"],
    )
    .await;
    check(
        json!({"permissions": ["ok", 1, "fine", null]}),
        &[40001, 40001],
        &["`permissions[1]` must be a string", "`permissions[3]` must be a string"],
    )
    .await;
    check(
        json!({"permissions": ["a b", "AND"]}),
        &[40003, 40003],
        &["`permissions[0]`", "`permissions[1]`"],
    )
    .await;
    check(json!({"resources": ["a*"]}), &[40003], &["`resources[0]`"]).await;
    check(
        json!({"rate_limit_scheme_slug": "missing"}),
        &[40003],
        &["rate_limit_scheme_slug", "missing"],
    )
    .await;
    check(
        json!({"user_id": "5", "permissions": ["a"], "resources": ["b"]}),
        &[40003, 40003],
        &["`permissions` must be empty", "`resources` must be empty"],
    )
    .await;
    check(
        json!({"app_slug": "-", "name": 1, "description": "\u{0}", "user_id": "x", "permissions": [1]}),
        &[40003, 40001, 40003, 40001, 40001],
        &["`app_slug`", "`name`", "`description`", "`user_id`", "`permissions[0]`"],
    )
    .await;
    assert_eq!(
        server.get("/api-auth/apps?include_inactive=true").await.expect(200)["total"],
        0
    );
}

#[tokio::test]
async fn ids_come_as_strings_or_numbers_and_empty_ones_are_none() {
    let server = Server::start().await;
    for (index, (given, expected)) in [
        (json!(5), json!("5")),
        (json!("5"), json!("5")),
        (json!(i64::MAX), json!("9223372036854775807")),
        (json!("9223372036854775807"), json!("9223372036854775807")),
        (json!(null), json!(null)),
        (json!(""), json!(null)),
    ]
    .into_iter()
    .enumerate()
    {
        let body = json!({"app_slug": format!("app-{index}"), "name": "A", "key_prefix": "a", "user_id": given});
        assert_eq!(
            server.post("/api-auth/apps", body).await.expect(201)["user_id"],
            expected
        );
    }
}

#[tokio::test]
async fn a_patch_keeps_what_it_leaves_out_and_clears_what_is_empty() {
    let server = Server::start().await;
    scheme(&server, "tier-1").await;
    let body = json!({
        "app_slug": "a", "name": "A", "key_prefix": "a", "description": "d", "organization_id": 1, "workspace_id": 2,
        "rate_limit_scheme_slug": "tier-1", "permissions": ["p"], "resources": ["r"],
    });
    let created = server.post("/api-auth/apps", body).await.expect(201);
    server.clock.advance_us(1_000_000);
    let check = async |patch: Value, changed: Value| {
        let mut expected = server.get("/api-auth/apps/a").await.expect(200);
        expected
            .as_object_mut()
            .unwrap()
            .extend(changed.as_object().unwrap().clone());
        expected["updated_at"] = json!("2026-01-01T00:00:01Z");
        let mut patched = server.patch("/api-auth/apps/a", patch).await.expect(200);
        for told in ["revision", "enforced", "gateways", "unenforced"] {
            assert!(patched.as_object_mut().unwrap().remove(told).is_some(), "{told}");
        }
        assert_eq!(patched, expected);
        assert_eq!(server.get("/api-auth/apps/a").await.expect(200), expected);
    };
    let nulls: serde_json::Map<String, Value> = created
        .as_object()
        .unwrap()
        .keys()
        .map(|k| (k.clone(), Value::Null))
        .collect();
    check(Value::Object(nulls), json!({})).await;
    check(json!({"unknown": 1, "app_slug": "ignored", "user_id": 9}), json!({})).await;
    check(
        json!({"name": "B", "is_active": false}),
        json!({"name": "B", "is_active": false}),
    )
    .await;
    check(
        json!({"is_active": true, "key_prefix": "b"}),
        json!({"is_active": true, "key_prefix": "b"}),
    )
    .await;
    check(json!({"description": ""}), json!({"description": null})).await;
    check(
        json!({"organization_id": "", "workspace_id": 3}),
        json!({"organization_id": null, "workspace_id": "3"}),
    )
    .await;
    check(
        json!({"permissions": [], "resources": ["s/*"]}),
        json!({"permissions": [], "resources": ["s/*"]}),
    )
    .await;
    check(
        json!({"rate_limit_scheme_slug": ""}),
        json!({"rate_limit_scheme_slug": null, "rate_limits": []}),
    )
    .await;
    check(
        json!({"rate_limit_scheme_slug": "tier-1"}),
        json!({"rate_limit_scheme_slug": "tier-1", "rate_limits": [rule()]}),
    )
    .await;

    let refused = server
        .patch(
            "/api-auth/apps/a",
            json!({"name": "", "key_prefix": "", "is_active": "yes"}),
        )
        .await;
    refused.expect_error(
        400,
        &[40003, 40003, 40001],
        &["`name`", "`key_prefix`", "`is_active` must be true or false"],
    );
    let unknown = server
        .patch("/api-auth/apps/a", json!({"rate_limit_scheme_slug": "missing"}))
        .await;
    unknown.expect_error(400, &[40003], &["missing"]);
    server
        .patch("/api-auth/apps/b", json!({}))
        .await
        .expect_error(404, &[40401], &["no app"]);
}

#[tokio::test]
async fn an_app_of_a_user_takes_no_rights() {
    let server = Server::start().await;
    let body =
        json!({"app_slug": "a", "name": "A", "key_prefix": "a", "user_id": 5, "permissions": [], "resources": []});
    server.post("/api-auth/apps", body).await.expect(201);
    let refused = server
        .patch("/api-auth/apps/a", json!({"permissions": ["p"], "resources": ["r"]}))
        .await;
    refused.expect_error(
        400,
        &[40003, 40003],
        &["`permissions` must be empty", "`resources` must be empty"],
    );
    server
        .patch(
            "/api-auth/apps/a",
            json!({"permissions": [], "resources": [], "name": "B"}),
        )
        .await
        .expect(200);
}

#[tokio::test]
async fn a_slug_is_unique_until_its_app_is_deleted() {
    let server = Server::start().await;
    let first = server.app("a").await;
    let again = json!({"app_slug": "a", "name": "A", "key_prefix": "a"});
    server
        .post("/api-auth/apps", again)
        .await
        .expect_error(409, &[40900], &["The app `a` already exists."]);
    assert_eq!(server.delete("/api-auth/apps/a").await.expect(204), Value::Null);
    server
        .delete("/api-auth/apps/a")
        .await
        .expect_error(404, &[40401], &["no app"]);
    server
        .get("/api-auth/apps/a")
        .await
        .expect_error(404, &[40401], &["no app"]);
    let second = server.app("a").await;
    assert_ne!(first["id"], second["id"], "ids are never used again");
    let listed = server.get("/api-auth/apps?include_inactive=1").await.expect(200);
    assert_eq!(listed["total"], 2);
    assert_eq!(listed["apps"][0]["deleted_at"], "2026-01-01T00:00:00Z");
    let active = |index: usize| &listed["apps"][index]["is_active"];
    assert_eq!((active(0), active(1)), (&json!(false), &json!(true)));
}

#[tokio::test]
async fn lists_leave_out_what_is_switched_off_unless_asked() {
    let server = Server::start().await;
    server.app("on").await;
    server.app("off").await;
    server
        .patch("/api-auth/apps/off", json!({"is_active": false}))
        .await
        .expect(200);
    for (query, total) in [
        ("", 1),
        ("?include_inactive=false", 1),
        ("?include_inactive=0", 1),
        ("?include_inactive=true", 2),
        ("?include_inactive=1", 2),
        ("?include_inactive=True", 2),
        ("?include_inactive=FALSE", 1),
        ("?other=x&include_inactive=true", 2),
    ] {
        assert_eq!(
            server.get(&format!("/api-auth/apps{query}")).await.expect(200)["total"],
            total,
            "{query}"
        );
    }
    for query in ["yes", "", "on", "true&include_inactive=true"] {
        let answer = server.get(&format!("/api-auth/apps?include_inactive={query}")).await;
        answer.expect_error(400, &[40004], &["`include_inactive`"]);
    }
}

#[tokio::test]
async fn a_plan_below_growth_creates_no_apps() {
    let server = Server::start().await;
    server.app("before").await;
    server.store.set_plan(server.deployment.id, Plan::Free).await.unwrap();
    let body = json!({"app_slug": "a", "name": "A", "key_prefix": "a"});
    server
        .post("/api-auth/apps", body)
        .await
        .expect_error(403, &[40300], &["growth"]);
    server
        .patch("/api-auth/apps/before", json!({"name": "still mine"}))
        .await
        .expect(200);
    server.store.set_plan(server.deployment.id, Plan::Growth).await.unwrap();
    server.app("a").await;
}
