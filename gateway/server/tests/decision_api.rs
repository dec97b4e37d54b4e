//! The promise that the decision API decides as the proxy does, in the shape that the published clients read.

mod support;

use serde_json::{Value, json};
use support::{Server, client};

async fn check(server: &Server, body: Value) -> (u16, Value) {
    let request = client()
        .post(format!("http://{}/v1/authz/check", server.authz))
        .json(&body);
    let answer = request.send().await.expect("an answer");
    (answer.status().as_u16(), answer.json().await.expect("JSON"))
}

fn asked(secret: &str) -> Value {
    json!({"principal": {"type": "api_key", "value": secret}, "resource": "/v1/x", "method": "GET"})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_good_key_is_allowed_with_all_that_its_caller_passes_on() {
    let server = Server::start("").await;
    let api = server.api();
    api.scheme(
        "s",
        json!([{"unit": "minute", "duration": 1, "max_requests": 2, "mode": "per_key"}]),
    )
    .await;
    api.app_with(
        "api",
        json!({"permissions": ["read", "write"], "rate_limit_scheme_slug": "s"}),
    )
    .await;
    let key = json!({"permissions": ["read"], "owner_user_id": 42, "metadata": {"principal_type": "root", "a": 1}});
    let key = api.key_with("api", key).await;

    let (status, answer) = check(&server, asked(&key.secret)).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(
        (&answer["allowed"], &answer["reason"], &answer["blocked_rule"]),
        (&json!(true), &Value::Null, &Value::Null)
    );
    assert_eq!(answer["identity"]["key_id"], key.id);
    assert_eq!(answer["identity"]["app_slug"], "api");
    assert_eq!(answer["identity"]["owner_user_id"], "42");
    assert_eq!(answer["identity"]["principal_type"], "api_key");
    assert_eq!(
        answer["metadata"],
        json!({"principal_type": "api_key", "a": 1}),
        "whatever the key's own metadata says"
    );
    assert_eq!(answer["permissions"], json!(["read"]));
    assert_eq!(
        answer["rate_limits"],
        json!([{"rule": "per_key-60s", "remaining": 1, "limit": 2}])
    );
    assert_eq!(answer["retry_after"], Value::Null);
    let headers = answer["headers"].as_object().expect("headers");
    let named = |name: &str| {
        headers
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.clone())
    };
    assert_eq!(named("x-wacht-key-id"), Some(json!(key.id)));
    assert_eq!(named("ratelimit-policy"), Some(json!("\"per_key-60s\";q=2;w=60")));

    // A missing permission costs nothing; then the second of two, then the limit.
    let mut wants_more = asked(&key.secret);
    wants_more["required_permissions"] = json!(["read", "write"]);
    let (status, answer) = check(&server, wants_more).await;
    assert_eq!(
        (status, &answer["allowed"], &answer["reason"]),
        (200, &json!(false), &json!("permission_denied"))
    );
    assert_eq!(check(&server, asked(&key.secret)).await.1["allowed"], true);
    let (status, answer) = check(&server, asked(&key.secret)).await;
    assert_eq!(
        (status, &answer["allowed"], &answer["reason"]),
        (200, &json!(false), &json!("rate_limited"))
    );
    assert_eq!(answer["blocked_rule"], "per_key-60s");
    assert!(
        (1..=60).contains(&answer["retry_after"].as_u64().expect("seconds")),
        "{answer}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_else_has_its_status() {
    let server = Server::start("[authz]\napps = [\"api\", \"off\"]\n").await;
    let api = server.api();
    for app in ["api", "off", "foreign"] {
        api.app_with(app, json!({"resources": ["v1/*"]})).await;
    }
    let (good, off, foreign, revoked) = (
        api.key("api").await,
        api.key("off").await,
        api.key("foreign").await,
        api.key("api").await,
    );
    api.revoke("api", &revoked.id).await;
    api.must("PATCH", "/api-auth/apps/off", Some(json!({"is_active": false})))
        .await;
    let unknown = portcullis_verify::Secret::generate("sk").expect("randomness");

    let with = |field: &str, value: Value| {
        let mut body = asked(&good.secret);
        body[field] = value;
        body
    };
    for (body, expected) in [
        (asked("junk"), 401),
        (asked(""), 401),
        (asked(unknown.expose()), 401),
        (with("principal", json!({"type": "api_key", "value": null})), 401),
        (asked(&revoked.secret), 403),
        (asked(&off.secret), 403),
        (asked(&foreign.secret), 403),
        (with("method", json!("NO SUCH")), 400),
        (with("method", json!(null)), 400),
        (with("resource", json!("no-slash")), 400),
        (with("resource", json!("/v1/../x")), 400),
        (with("required_permissions", json!(["a AND"])), 400),
        (with("client_ip", json!("not an address")), 400),
        (
            with("principal", json!({"type": "oauth_access_token", "value": "x"})),
            400,
        ),
        (with("client_ip", json!(null)), 200),
        (with("unknown_field", json!({"a": [1]})), 200),
        (with("required_permissions", json!([])), 200),
    ] {
        let (status, answer) = check(&server, body.clone()).await;
        assert_eq!(status, expected, "{answer}");
        if expected >= 400 {
            assert_eq!(answer["message"], answer["errors"][0]["message"], "{answer}");
            assert!(answer["errors"][0]["code"].is_u64(), "{answer}");
        } else {
            assert_eq!(answer["allowed"], true, "{answer}");
        }
    }
    let (status, answer) = check(&server, with("resource", json!("/v2/x"))).await;
    assert_eq!(
        (status, &answer["reason"]),
        (200, &json!("permission_denied")),
        "a denied resource is told as a denied permission"
    );
    let (_, answer) = check(
        &server,
        with("principal", json!({"type": "oauth_access_token", "value": "x"})),
    )
    .await;
    assert!(answer.to_string().contains("unsupported_principal"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forward_auth_answers_for_other_proxies() {
    let server = Server::start("").await;
    let api = server.api();
    api.scheme(
        "s",
        json!([{"unit": "hour", "duration": 1, "max_requests": 2, "mode": "per_key"}]),
    )
    .await;
    api.app_with("api", json!({"rate_limit_scheme_slug": "s"})).await;
    let key = api.key("api").await;
    let client = client();
    let ask = async |query: &str, key: Option<&str>, original: &[(&str, &str)]| {
        let mut request = client.get(format!("http://{}/v1/forward-auth{query}", server.authz));
        for (name, value) in original {
            request = request.header(*name, *value);
        }
        if let Some(key) = key {
            request = request.bearer_auth(key);
        }
        request.send().await.expect("an answer")
    };
    let traefik: &[(&str, &str)] = &[
        ("x-forwarded-method", "GET"),
        ("x-forwarded-uri", "/v1/x?y=1"),
        ("x-forwarded-host", "h"),
    ];
    let nginx: &[(&str, &str)] = &[("x-original-method", "GET"), ("x-original-url", "http://h/v1/x")];
    for original in [traefik, nginx] {
        let answer = ask("", Some(&key.secret), original).await;
        assert_eq!(answer.status().as_u16(), 200);
        assert_eq!(answer.headers()["x-wacht-key-id"], key.id.as_str());
    }
    for (key, status) in [(None, 401), (Some("junk"), 401), (Some(key.secret.as_str()), 429)] {
        let answer = ask("", key, traefik).await;
        assert_eq!(answer.status().as_u16(), status, "{key:?}");
        let answer = ask("?only=403", key, traefik).await;
        assert_eq!(answer.status().as_u16(), 403, "nginx turns other codes into 500");
        assert_eq!(answer.headers()["x-portcullis-status"], status.to_string());
    }
}
