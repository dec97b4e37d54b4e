use crate::fixture::{DEPLOYMENT, Setup, per_ip, per_key};
use portcullis_verify::{DeploymentId, KeyRecord, Mode, Rule, SchemeId, SchemeRecord, Secret, Unit};
use serde_json::{Value, json};

fn asked(secret: &Secret) -> Value {
    json!({"principal": {"type": "api_key", "value": secret.expose()}, "resource": "/v1/x", "method": "GET"})
}

fn with(mut body: Value, field: &str, value: Value) -> Value {
    body[field] = value;
    body
}

fn limited(rules: Vec<Rule>) -> impl FnOnce(&mut KeyRecord) {
    move |key| {
        key.scheme = Some(SchemeRecord {
            id: SchemeId(9),
            is_keys_own: false,
            rules,
        })
    }
}

#[tokio::test]
async fn a_bare_key_has_every_field_and_nulls_where_nothing_is_set() {
    let api = Setup::default().start().await;
    let secret = api.keys.issue(|_| {});
    let reply = api.check(&asked(&secret)).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    let expect = json!({
        "request_id": reply.header("x-request-id"),
        "allowed": true,
        "reason": null,
        "blocked_rule": null,
        "identity": {
            "principal_type": "api_key",
            "key_id": "100",
            "deployment_id": DEPLOYMENT.to_string(),
            "app_slug": "api",
            "key_name": "CI",
            "owner_user_id": null,
            "organization_id": null,
            "workspace_id": null,
            "organization_membership_id": null,
            "workspace_membership_id": null,
        },
        "permissions": [],
        "metadata": {"principal_type": "api_key"},
        "rate_limits": [{"rule": "per_key-60s", "remaining": 999, "limit": 1000}],
        "retry_after": null,
        "headers": {
            "X-Wacht-Key-ID": "100",
            "X-Wacht-Deployment-ID": "1",
            "X-Wacht-App-Slug": "api",
            "X-Wacht-Key-Name": "CI",
            "X-Wacht-Permissions": "",
            "X-Wacht-Metadata": "{}",
            "RateLimit-Policy": "\"per_key-60s\";q=1000;w=60",
            "RateLimit": "\"per_key-60s\";r=999;t=60",
        },
    });
    assert_eq!(reply.json(), expect);
}

#[tokio::test]
async fn a_full_key_is_told_in_full() {
    let api = Setup::default().start().await;
    let secret = api.keys.issue(|key| {
        key.name = "clé".into();
        key.permissions = vec!["write".into(), "read".into()];
        key.owner_user_id = Some(i64::MAX);
        key.organization_id = Some(12);
        key.workspace_id = Some(13);
        key.metadata = json!({"principal_type": "root", "team": "é", "n": [1, null]})
            .as_object()
            .unwrap()
            .clone();
    });
    let answer = api.check(&asked(&secret)).await.json();
    let identity = &answer["identity"];
    assert_eq!(identity["owner_user_id"], "9223372036854775807");
    assert_eq!(
        (&identity["organization_id"], &identity["workspace_id"]),
        (&json!("12"), &json!("13"))
    );
    assert_eq!(identity["key_name"], "clé");
    assert_eq!(answer["permissions"], json!(["read", "write"]));
    assert_eq!(
        answer["metadata"],
        json!({"principal_type": "api_key", "team": "é", "n": [1, null]})
    );
    let headers = &answer["headers"];
    assert_eq!(headers["X-Wacht-Key-Name"], "cl%C3%A9");
    assert_eq!(headers["X-Wacht-Owner-User-ID"], "9223372036854775807");
    assert_eq!(headers["X-Wacht-Organization-ID"], "12");
    assert_eq!(headers["X-Wacht-Workspace-ID"], "13");
    assert_eq!(headers["X-Wacht-Permissions"], "read,write");
    // Every header has its spelling: none is left in lower case.
    for name in headers.as_object().unwrap().keys() {
        assert!(name.starts_with(|first: char| first.is_ascii_uppercase()), "{name}");
    }
    assert!(!answer.to_string().contains(secret.expose()));
}

#[tokio::test]
async fn each_key_has_the_status_of_its_state() {
    let setup = Setup {
        apps: portcullis_verify::AppScope::Slugs(Box::new(["api".into()])),
        ..Setup::default()
    };
    let api = setup.start().await;
    let now_us = crate::fixture::NOW.wall_us;
    let revoked = api.keys.issue(|key| key.revoked_at_us = Some(now_us));
    let rotated = api.keys.issue(|key| key.revoked_at_us = Some(now_us + 60_000_000));
    let expired = api.keys.issue(|key| key.expires_at_us = Some(now_us));
    let inactive = api.keys.issue(|key| key.app.is_active = false);
    let other_app = api.keys.issue(|key| key.app.slug = "other".into());
    let other_tenant = api.keys.issue(|key| key.deployment_id = DeploymentId(2));
    let other_tenant_dead = api.keys.issue(|key| {
        key.deployment_id = DeploymentId(2);
        key.revoked_at_us = Some(1);
    });
    let unknown = Secret::generate("sk").unwrap();

    assert_eq!(
        api.check(&asked(&rotated)).await.json()["allowed"],
        true,
        "a grace period is not over"
    );
    for dead in [&revoked, &expired, &inactive, &other_app] {
        api.check(&asked(dead)).await.assert_refused(403, "key_invalid");
    }
    for stranger in [&unknown, &other_tenant, &other_tenant_dead] {
        api.check(&asked(stranger)).await.assert_refused(401, "key_invalid");
    }
    for malformed in [
        "junk",
        "sk_junk",
        &format!("{}x", rotated.expose()),
        &rotated.expose()[1..],
    ] {
        let body = with(
            asked(&rotated),
            "principal",
            json!({"type": "api_key", "value": malformed}),
        );
        let reply = api.check(&body).await;
        reply.assert_refused(401, "key_invalid");
        assert!(!String::from_utf8_lossy(&reply.body).contains(malformed));
    }
    for missing in [json!({"type": "api_key"}), json!({"type": "api_key", "value": ""})] {
        api.check(&with(asked(&rotated), "principal", missing))
            .await
            .assert_refused(401, "key_missing");
    }
}

#[tokio::test]
async fn rights_that_are_missing_cost_nothing() {
    let api = Setup::default().start().await;
    let secret = api.keys.issue(|key| {
        key.permissions = vec!["read".into()];
        key.app.resources = vec!["v1/*".into()];
        key.scheme = Some(SchemeRecord {
            is_keys_own: false,
            id: SchemeId(9),
            rules: vec![per_key(1)],
        });
    });
    let denied = [
        with(asked(&secret), "required_permissions", json!(["write"])),
        with(asked(&secret), "required_permissions", json!(["read", "write"])),
        with(asked(&secret), "required_permissions", json!(["read AND write"])),
        with(asked(&secret), "resource", json!("/v2/x")),
        with(asked(&secret), "resource", json!("/v1")),
    ];
    for body in denied {
        let reply = api.check(&body).await;
        let answer = reply.json();
        assert_eq!((reply.status, &answer["allowed"]), (200, &json!(false)), "{body}");
        assert_eq!(
            (&answer["reason"], &answer["blocked_rule"]),
            (&json!("permission_denied"), &Value::Null)
        );
        assert_eq!(
            (&answer["rate_limits"], &answer["retry_after"]),
            (&json!([]), &Value::Null)
        );
        assert_eq!(answer["identity"]["key_id"], "100");
        assert_eq!(answer["headers"]["RateLimit"], Value::Null);
    }
    // The one request of this minute is still there.
    let good = with(asked(&secret), "required_permissions", json!(["write OR read", "read"]));
    assert_eq!(api.check(&good).await.json()["allowed"], true);
    assert_eq!(api.check(&good).await.json()["reason"], "rate_limited");
}

#[tokio::test]
async fn a_used_up_limit_says_which_and_until_when() {
    let api = Setup::default().start().await;
    let short = Rule {
        unit: Unit::Millisecond,
        duration: 500,
        ..per_key(100)
    };
    let hour = Rule {
        unit: Unit::Hour,
        mode: Some(Mode::PerApp),
        ..per_key(2)
    };
    let secret = api.keys.issue(limited(vec![short, per_key(50), hour]));
    for left in [1, 0] {
        let answer = api.check(&asked(&secret)).await.json();
        assert_eq!(
            answer["rate_limits"][2],
            json!({"rule": "per_app-3600s", "remaining": left, "limit": 2})
        );
    }
    api.clock.advance_us(1_500_000);
    let reply = api.check(&asked(&secret)).await;
    let answer = reply.json();
    assert_eq!((reply.status, &answer["allowed"]), (200, &json!(false)));
    assert_eq!(
        (&answer["reason"], &answer["blocked_rule"]),
        (&json!("rate_limited"), &json!("per_app-3600s"))
    );
    // 3 598.5 s, rounded up; the answer to this question is no HTTP refusal and has no such header itself.
    assert_eq!(
        (&answer["retry_after"], &answer["headers"]["Retry-After"]),
        (&json!(3599), &json!("3599"))
    );
    assert_eq!(reply.header("retry-after"), None);
    let rules: Vec<_> = answer["rate_limits"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| &rule["rule"])
        .collect();
    assert_eq!(
        rules,
        ["per_key-500ms", "per_key-60s", "per_app-3600s"],
        "short windows are told here, not in headers"
    );
    let policy = answer["headers"]["RateLimit-Policy"].as_str().unwrap();
    assert_eq!(policy, "\"per_key-60s\";q=50;w=60, \"per_app-3600s\";q=2;w=3600");
    api.clock.advance_us(3_598_500_000);
    assert_eq!(api.check(&asked(&secret)).await.json()["allowed"], true);
}

#[tokio::test]
async fn the_older_headers_are_told_where_they_are_asked_for() {
    const OLD: [&str; 3] = ["X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"];
    for legacy_headers in [false, true] {
        let setup = Setup {
            legacy_headers,
            ..Setup::default()
        };
        let api = setup.start().await;
        let short = Rule {
            unit: Unit::Millisecond,
            duration: 500,
            ..per_key(2)
        };
        let secret = api.keys.issue(limited(vec![per_key(50), short]));
        let check = async |remaining: u32, retry_after: Value| {
            let answer = api.check(&asked(&secret)).await.json();
            assert_eq!(answer["retry_after"], retry_after, "{answer}");
            let told = OLD.map(|name| answer["headers"][name].clone());
            let expect = match legacy_headers {
                true => [json!("2"), json!(remaining.to_string()), json!("1")],
                false => [Value::Null, Value::Null, Value::Null],
            };
            assert_eq!(told, expect, "{answer}");
        };
        // The window of half a second is the tightest.
        check(1, Value::Null).await;
        check(0, Value::Null).await;
        check(0, json!(1)).await;
    }
}

#[tokio::test]
async fn addresses_count_when_they_are_told() {
    let api = Setup::default().start().await;
    let secret = api.keys.issue(limited(vec![per_ip(1)]));
    let from = |address: &str| with(asked(&secret), "client_ip", json!(address));
    assert_eq!(api.check(&from("192.0.2.1")).await.json()["allowed"], true);
    assert_eq!(api.check(&from("192.0.2.1")).await.json()["blocked_rule"], "per_ip-60s");
    assert_eq!(
        api.check(&from("::ffff:192.0.2.1")).await.json()["allowed"],
        false,
        "the same address"
    );
    assert_eq!(api.check(&from("2001:db8::1")).await.json()["allowed"], true);
    assert_eq!(
        api.check(&from("2001:db8::2")).await.json()["allowed"],
        false,
        "the same /64"
    );
    // Not told: the rule is skipped, and nobody's counter moves.
    for _ in 0..3 {
        let answer = api.check(&asked(&secret)).await.json();
        assert_eq!((&answer["allowed"], &answer["rate_limits"]), (&json!(true), &json!([])));
    }
}

#[tokio::test]
async fn guessing_from_one_address_is_throttled() {
    let api = Setup {
        failure_burst: 2,
        ..Setup::default()
    }
    .start()
    .await;
    let good = api.keys.issue(|_| {});
    let guess = |address: &str| with(asked(&Secret::generate("sk").unwrap()), "client_ip", json!(address));
    for _ in 0..2 {
        api.check(&guess("192.0.2.1")).await.assert_refused(401, "key_invalid");
    }
    let reply = api.check(&guess("192.0.2.1")).await;
    reply.assert_refused(429, "too_many_failures");
    assert!(reply.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    api.check(&guess("192.0.2.2")).await.assert_refused(401, "key_invalid");
    let known = with(asked(&good), "client_ip", json!("192.0.2.2"));
    assert_eq!(api.check(&known).await.json()["allowed"], true);
}

#[tokio::test]
async fn without_its_source_the_engine_says_so() {
    let api = Setup::default().start().await;
    let secret = api.keys.issue(|_| {});
    let cached = api.keys.issue(|_| {});
    assert_eq!(api.check(&asked(&cached)).await.json()["allowed"], true);
    api.keys.go_away();
    let reply = api.check(&asked(&secret)).await;
    reply.assert_refused(503, "control_unavailable");
    assert!(!String::from_utf8_lossy(&reply.body).contains("private-cause"));
    assert_eq!(
        api.check(&asked(&cached)).await.json()["allowed"],
        true,
        "a key in memory needs no source"
    );
}
