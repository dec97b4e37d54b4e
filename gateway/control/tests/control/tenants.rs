//! Two deployments never see each other's anything, on any route.

use crate::server::Server;
use serde_json::{Value, json};

#[tokio::test]
async fn a_deployment_is_blind_to_all_of_another() {
    let server = Server::start().await;
    let (theirs, their_token) = server.tenant("theirs").await;
    let rules = json!([{"unit": "minute", "duration": 1, "max_requests": 9}]);
    let scheme = json!({"slug": "mine", "name": "Mine", "rules": rules});
    server.post("/api-auth/rate-limit-schemes", scheme).await.expect(201);
    server.app("mine").await;
    let key = server.key("mine").await;
    let id = key["id"].as_str().unwrap();
    let before = server.get("/api-auth/apps/mine").await.expect(200);

    // As the other tenant: every route that names something, with a body that would do.
    let check = async |method: &str, path: String, body: Value, status: u16, code: u32| {
        let answer = server.bare(method, &path).token(&their_token).json(&body).send().await;
        answer.expect_error(status, &[code], &[]);
    };
    let named = json!({"key_id": id});
    let key_path = format!("/api-auth/apps/mine/keys/{id}");
    check("GET", "/api-auth/apps/mine".into(), json!({}), 404, 40401).await;
    check(
        "PATCH",
        "/api-auth/apps/mine".into(),
        json!({"name": "taken over"}),
        404,
        40401,
    )
    .await;
    check("DELETE", "/api-auth/apps/mine".into(), json!({}), 404, 40401).await;
    check(
        "POST",
        "/api-auth/apps/mine/keys".into(),
        json!({"name": "k"}),
        404,
        40401,
    )
    .await;
    check("GET", "/api-auth/apps/mine/keys".into(), json!({}), 404, 40401).await;
    check("POST", format!("{key_path}/revoke"), json!({}), 404, 40402).await;
    check("POST", format!("{key_path}/rotate"), json!({}), 404, 40402).await;
    check("POST", "/api-auth/keys/revoke".into(), named.clone(), 404, 40402).await;
    check("POST", "/api-auth/keys/rotate".into(), named.clone(), 404, 40402).await;
    check("GET", "/api-auth/rate-limit-schemes/mine".into(), json!({}), 404, 40403).await;
    check(
        "PATCH",
        "/api-auth/rate-limit-schemes/mine".into(),
        json!({"name": "x"}),
        404,
        40403,
    )
    .await;
    check(
        "DELETE",
        "/api-auth/rate-limit-schemes/mine".into(),
        json!({}),
        404,
        40403,
    )
    .await;
    let app = json!({"app_slug": "b", "name": "B", "key_prefix": "b", "rate_limit_scheme_slug": "mine"});
    check("POST", "/api-auth/apps".into(), app, 400, 40003).await;

    // The same slugs are theirs to take, and a key id under their own app of that slug still is not theirs.
    let their = |method: &'static str, path: &str| server.bare(method, path).token(&their_token);
    let app = json!({"app_slug": "mine", "name": "Theirs", "key_prefix": "th"});
    let their_app = their("POST", "/api-auth/apps").json(&app).send().await.expect(201);
    assert_eq!(their_app["deployment_id"], theirs.id.to_string());
    check("POST", format!("{key_path}/revoke"), json!({}), 404, 40402).await;
    check("POST", format!("{key_path}/rotate"), json!({}), 404, 40402).await;
    assert_eq!(their("GET", "/api-auth/apps").send().await.expect(200)["total"], 1);
    assert_eq!(
        their("GET", "/api-auth/apps/mine/keys").send().await.expect(200),
        json!({"keys": []})
    );
    assert_eq!(
        their("GET", "/api-auth/rate-limit-schemes").send().await.expect(200)["total"],
        0
    );
    let verdict = their("POST", "/api-auth/verify")
        .json(&json!({"key": key["secret"]}))
        .send()
        .await
        .expect(200);
    assert_eq!(verdict["reason"], "key_unknown");
    assert_eq!(
        (&verdict["key_id"], &verdict["app_slug"], &verdict["key_name"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );

    // Nothing of it touched ours.
    assert_eq!(server.get("/api-auth/apps/mine").await.expect(200), before);
    assert_eq!(server.reason(&key).await, Value::Null);
    assert_eq!(
        server.get("/api-auth/rate-limit-schemes").await.expect(200)["schemes"][0]["name"],
        "Mine"
    );
}

#[tokio::test]
async fn idempotency_keys_belong_to_one_deployment() {
    let server = Server::start().await;
    let (_, their_token) = server.tenant("theirs").await;
    let body = json!({"app_slug": "a", "name": "A", "key_prefix": "a"});
    let create = async |token: &str| {
        let call = server
            .bare("POST", "/api-auth/apps")
            .token(token)
            .header("idempotency-key", "one");
        call.json(&body).send().await.expect(201)
    };
    let mine = create(crate::server::TOKEN).await;
    let theirs = create(&their_token).await;
    assert_ne!(mine["id"], theirs["id"]);
    assert_ne!(mine["deployment_id"], theirs["deployment_id"]);
}
