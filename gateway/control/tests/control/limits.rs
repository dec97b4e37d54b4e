//! `limits` shows where the counters of this process stand: what blocks, for whom, until when, and nothing of other tenants.

use crate::server::{Options, Server};
use serde_json::{Value, json};

/// A control API in whose process requests are admitted.
async fn gateway(options: Options) -> Server {
    let options = Options {
        local_gateway: true,
        ..options
    };
    Server::with(options).await
}

#[tokio::test]
async fn a_process_that_admits_nothing_says_so_instead_of_showing_limits_unused() {
    let server = Server::start().await;
    server.app("a").await;
    server
        .get("/api-auth/limits?app_slug=a")
        .await
        .expect_error(404, &[40405], &["each gateway counts for itself"]);
}

/// A scheme with a rule of every mode, an app under it, and a key of that app.
async fn world(options: Options) -> (Server, Value) {
    let server = gateway(options).await;
    let rules = json!([
        {"unit": "minute", "duration": 1, "max_requests": 3, "mode": "per_key", "endpoints": ["/v1/*", "/x"]},
        {"unit": "hour", "duration": 1, "max_requests": 10},
        {"unit": "calendar_day", "duration": 1, "max_requests": 10, "mode": "per_ip"},
        {"unit": "millisecond", "duration": 1500, "max_requests": 9, "mode": "per_app_and_ip"},
        {"unit": "hour", "duration": 1, "max_requests": 4, "mode": "per_key_and_ip", "priority": -1},
    ]);
    let scheme = json!({"slug": "gold", "name": "Gold", "rules": rules});
    server.post("/api-auth/rate-limit-schemes", scheme).await.expect(201);
    server.app("a").await;
    let scheme = json!({"rate_limit_scheme_slug": "gold"});
    server.patch("/api-auth/apps/a", scheme).await.expect(200);
    let key = server.key("a").await;
    (server, key)
}

async fn asked(server: &Server, query: &str) -> Value {
    server.get(&format!("/api-auth/limits?{query}")).await.expect(200)
}

fn id(key: &Value) -> &str {
    key["id"].as_str().unwrap()
}

/// Each rule's name with whom it counts and how much is used.
fn brief(answer: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    for rule in answer["limits"].as_array().unwrap() {
        let scheme = rule["scheme"].as_str().unwrap_or("default");
        for counter in rule["counters"].as_array().unwrap() {
            let whom: Vec<&str> = ["key_name", "app_slug", "address"]
                .iter()
                .filter_map(|field| counter[field].as_str())
                .collect();
            let (name, used) = (rule["rule"].as_str().unwrap(), &counter["used"]);
            lines.push(format!("{scheme} {name}: {used} by {}", whom.join(" ")));
        }
    }
    lines
}

#[tokio::test]
async fn a_key_is_told_of_every_rule_that_holds_for_it() {
    let (server, key) = world(Options::default()).await;
    for _ in 0..3 {
        assert_eq!(server.charge(&key, "192.0.2.1", "/v1/y").await, None);
        server.clock.advance_us(500_000);
    }
    let refused = server.charge(&key, "192.0.2.1", "/x").await.unwrap();
    assert_eq!(refused, ("per_key-60s".to_owned(), 58_500_000));
    let answer = asked(&server, &format!("key_id={}", id(&key))).await;
    assert_eq!(
        (
            &answer["key_id"],
            &answer["key_name"],
            &answer["app_slug"],
            &answer["address"]
        ),
        (&key["id"], &json!("a key"), &json!("a"), &Value::Null)
    );
    assert_eq!(answer["at"], "2026-01-01T00:00:01.5Z");
    assert_eq!(answer["is_cut_short"], false);
    assert_eq!(
        brief(&answer),
        [
            "gold per_key_and_ip-3600s: 3 by a key a 192.0.2.1",
            "gold per_key-60s: 3 by a key a",
            "gold per_app-3600s: 3 by a",
            "gold per_ip-calendar_day: 3 by 192.0.2.1",
            "gold per_app_and_ip-1500ms: 2 by a 192.0.2.1",
        ]
    );
    let counter = json!({
        "key_id": key["id"], "key_name": "a key", "app_slug": "a", "address": null, "used": 3, "remaining": 0,
        "next_in_seconds": 59, "next_at": "2026-01-01T00:01:00Z",
        "frees_in_seconds": 59, "frees_at": "2026-01-01T00:01:00Z", "is_shared": false,
    });
    let rule = json!({
        "rule": "per_key-60s", "scheme": "gold", "mode": "per_key", "limit": 3, "window": "60s",
        "endpoints": ["/v1/*", "/x"], "counters": [counter], "counters_total": 1, "is_overflowing": false,
    });
    assert_eq!(answer["limits"][1], rule);
    let day = &answer["limits"][3]["counters"][0];
    assert_eq!((&day["next_in_seconds"], &day["next_at"]), (&json!(0), &Value::Null));
    assert_eq!(
        (&day["frees_in_seconds"], &day["frees_at"]),
        (&json!(86_399), &json!("2026-01-02T00:00:00Z"))
    );
    // Asking charged nothing, and what is told to be full is full until then.
    assert_eq!(server.charge(&key, "192.0.2.1", "/x").await, Some(refused));
    server.clock.advance_us(58_500_000);
    assert_eq!(server.charge(&key, "192.0.2.1", "/x").await, None);
}

#[tokio::test]
async fn a_key_is_told_of_what_all_of_its_rotations_used_in_whatever_state_it_is() {
    let (server, key) = world(Options::default()).await;
    server.charge(&key, "192.0.2.1", "/x").await;
    let path = format!("/api-auth/apps/a/keys/{}/rotate", id(&key));
    let fresh = server.post(&path, json!({})).await.expect(200);
    server.charge(&fresh, "192.0.2.2", "/x").await;
    let (before, after) = (
        asked(&server, &format!("key_id={}", id(&key))).await,
        asked(&server, &format!("key_id={}", id(&fresh))).await,
    );
    assert_eq!(before["limits"], after["limits"]);
    assert_eq!(after["limits"][1]["counters"][0]["used"], 2);
    assert_eq!(after["limits"][1]["counters"][0]["key_id"], key["id"]);
    assert_eq!(after["key_id"], fresh["id"]);
    server.delete("/api-auth/apps/a").await.expect(204);
    let dead = asked(&server, &format!("key_id={}", id(&fresh))).await;
    assert_eq!(dead["limits"], after["limits"]);
}

#[tokio::test]
async fn a_key_is_under_its_own_scheme_else_its_apps_else_the_default() {
    let (server, in_app) = world(Options::default()).await;
    let silver = json!({"slug": "silver", "name": "Silver", "rules": [{"unit": "day", "duration": 1, "max_requests": 7, "mode": "per_key"}]});
    server.post("/api-auth/rate-limit-schemes", silver).await.expect(201);
    let body = json!({"name": "own", "rate_limit_scheme_slug": "silver"});
    let own = server.post("/api-auth/apps/a/keys", body).await.expect(201);
    server.app("plain").await;
    let plain = server.key("plain").await;
    let check = async |key: &Value, scheme: Value, rules: &[&str]| {
        let answer = asked(&server, &format!("key_id={}", id(key))).await;
        let found = answer["limits"].as_array().unwrap();
        let names: Vec<&str> = found.iter().map(|rule| rule["rule"].as_str().unwrap()).collect();
        assert_eq!(names, rules);
        assert!(found.iter().all(|rule| rule["scheme"] == scheme), "{answer}");
    };
    check(&own, json!("silver"), &["per_key-86400s"]).await;
    check(&plain, Value::Null, &["per_app-3600s", "per_key_and_ip-3600s"]).await;
    let of_gold = [
        "per_key_and_ip-3600s",
        "per_key-60s",
        "per_app-3600s",
        "per_ip-calendar_day",
        "per_app_and_ip-1500ms",
    ];
    check(&in_app, json!("gold"), &of_gold).await;
}

#[tokio::test]
async fn an_app_is_told_of_its_rules_and_of_its_keys_other_schemes() {
    let (server, key) = world(Options::default()).await;
    for slug in ["silver", "unused"] {
        let rules = json!([{"unit": "day", "duration": 1, "max_requests": 7}, {"unit": "day", "duration": 1, "max_requests": 7, "mode": "per_key"}]);
        let scheme = json!({"slug": slug, "name": slug, "rules": rules});
        server.post("/api-auth/rate-limit-schemes", scheme).await.expect(201);
    }
    let body = json!({"name": "own", "rate_limit_scheme_slug": "silver"});
    let own = server.post("/api-auth/apps/a/keys", body).await.expect(201);
    server.app("other").await;
    let foreign = server.key("other").await;
    for key in [&key, &own, &own, &foreign] {
        assert_eq!(server.charge(key, "2001:db8::7", "/").await, None);
    }
    let answer = asked(&server, "app_slug=a").await;
    assert_eq!((&answer["key_id"], &answer["app_slug"]), (&Value::Null, &json!("a")));
    assert_eq!(
        brief(&answer),
        [
            "gold per_app-3600s: 1 by a",
            "gold per_app_and_ip-1500ms: 1 by a 2001:db8::/64",
            "silver per_app-86400s: 2 by a",
        ]
    );
    assert_eq!(
        brief(&asked(&server, "app_slug=other").await),
        ["default per_app-3600s: 1 by other"]
    );
    server.app("idle").await;
    assert_eq!(
        brief(&asked(&server, "app_slug=idle").await),
        ["default per_app-3600s: 0 by idle"]
    );
}

#[tokio::test]
async fn an_address_is_told_of_all_that_counts_it() {
    let (server, key) = world(Options::default()).await;
    server.app("plain").await;
    let plain = server.key("plain").await;
    for (key, address) in [
        (&key, "2001:db8::7"),
        (&key, "2001:db8::8"),
        (&plain, "2001:db8::9"),
        (&key, "192.0.2.1"),
    ] {
        assert_eq!(server.charge(key, address, "/").await, None);
    }
    let expected = [
        "gold per_key_and_ip-3600s: 2 by a key a 2001:db8::/64",
        "gold per_ip-calendar_day: 2 by 2001:db8::/64",
        "gold per_app_and_ip-1500ms: 2 by a 2001:db8::/64",
        "default per_key_and_ip-3600s: 1 by a key plain 2001:db8::/64",
    ];
    for address in ["2001:db8::1", "2001:db8::/64", "2001:db8:0:0:ffff::"] {
        let answer = asked(&server, &format!("address={address}")).await;
        assert_eq!(brief(&answer), expected, "{address}");
        assert_eq!(answer["address"], "2001:db8::/64");
    }
    for address in ["192.0.2.1", "::ffff:192.0.2.1"] {
        let answer = asked(&server, &format!("address={address}")).await;
        assert_eq!(
            (brief(&answer).len(), &answer["address"]),
            (3, &json!("192.0.2.1")),
            "{address}"
        );
    }
    let answer = asked(&server, "address=192.0.2.9").await;
    assert_eq!(answer["limits"], json!([]));
}

#[tokio::test]
async fn a_full_table_is_told() {
    let options = Options {
        counters_max: 0,
        ..Options::default()
    };
    let (server, key) = world(options).await;
    server.charge(&key, "192.0.2.1", "/").await;
    let answer = asked(&server, &format!("key_id={}", id(&key))).await;
    let of = |rule: usize| &answer["limits"][rule];
    assert_eq!(
        (&of(2)["counters"][0]["is_shared"], &of(2)["counters"][0]["used"]),
        (&json!(true), &json!(1))
    );
    assert_eq!(
        (&of(0)["is_overflowing"], &of(0)["counters"]),
        (&json!(true), &json!([]))
    );
    let answer = asked(&server, "address=192.0.2.1").await;
    assert_eq!(answer["limits"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn of_many_counters_the_most_used_are_shown() {
    let server = gateway(Options::default()).await;
    let scheme = json!({"slug": "wide", "name": "Wide", "rules": [
        {"unit": "hour", "duration": 1, "max_requests": 100, "mode": "per_ip"},
    ]});
    server.post("/api-auth/rate-limit-schemes", scheme).await.expect(201);
    server.app("a").await;
    let body = json!({"name": "k", "rate_limit_scheme_slug": "wide"});
    let key = server.post("/api-auth/apps/a/keys", body).await.expect(201);
    for host in 1..=30 {
        for _ in 0..host {
            assert_eq!(server.charge(&key, &format!("192.0.2.{host}"), "/").await, None);
        }
    }
    let answer = asked(&server, &format!("key_id={}", id(&key))).await;
    assert_eq!(answer["limits"][0]["counters_total"], 30);
    let found = brief(&answer);
    assert_eq!((found.len(), &*found[0]), (20, "wide per_ip-3600s: 30 by 192.0.2.30"));
    assert_eq!(found[19], "wide per_ip-3600s: 11 by 192.0.2.11");
}

#[tokio::test]
async fn exactly_one_thing_is_asked_about() {
    let server = gateway(Options::default()).await;
    let secret = portcullis_verify::Secret::generate("sk_test").unwrap();
    let secret = secret.expose();
    let check = async |query: &str, status: u16, code: u32, part: &str| {
        let answer = server.get(&format!("/api-auth/limits{query}")).await;
        assert!(!answer.text.contains(secret));
        answer.expect_error(status, &[code], &[part]);
    };
    let one_of = "Exactly one of `key_id`, `app_slug` and `address`";
    check("", 400, 40004, one_of).await;
    check("?other=1", 400, 40004, one_of).await;
    check("?key_id=1&app_slug=a", 400, 40004, one_of).await;
    check("?address=::1&address=::2", 400, 40004, one_of).await;
    for not_an_id in ["", "0", "-1", "01", "1.0", "9223372036854775808", secret] {
        check(&format!("?key_id={not_an_id}"), 400, 40004, "`key_id`").await;
    }
    for not_an_address in [
        "",
        "localhost",
        "192.0.2.1:80",
        "192.0.2.1/64",
        "2001:db8::/32",
        "a/64",
        secret,
    ] {
        check(&format!("?address={not_an_address}"), 400, 40004, "`address`").await;
    }
    check("?key_id=1", 404, 40402, "no key with this id").await;
    check("?app_slug=a", 404, 40401, "no app").await;
    check("?app_slug=", 404, 40401, "no app").await;
    check(&format!("?app_slug={secret}"), 404, 40401, "no app").await;
}

#[tokio::test]
async fn a_deployment_sees_none_of_anothers_counters() {
    let (server, key) = world(Options::default()).await;
    let (_, token) = server.tenant("theirs").await;
    server.app("plain").await;
    let plain = server.key("plain").await;
    // Both tenants' keys come from one address, and both have keys under the default rules.
    for key in [&key, &plain, &plain] {
        assert_eq!(server.charge(key, "192.0.2.1", "/x").await, None);
    }
    let their = async |query: &str| {
        let call = server.bare("GET", &format!("/api-auth/limits?{query}"));
        call.token(&token).send().await
    };
    their(&format!("key_id={}", id(&key)))
        .await
        .expect_error(404, &[40402], &[]);
    their("app_slug=a").await.expect_error(404, &[40401], &[]);
    assert_eq!(their("address=192.0.2.1").await.expect(200)["limits"], json!([]));

    let body = json!({"app_slug": "plain", "name": "Theirs", "key_prefix": "th"});
    server
        .bare("POST", "/api-auth/apps")
        .token(&token)
        .json(&body)
        .send()
        .await
        .expect(201);
    let body = json!({"name": "theirs"});
    let call = server
        .bare("POST", "/api-auth/apps/plain/keys")
        .token(&token)
        .json(&body);
    let theirs = call.send().await.expect(201);
    assert_eq!(server.charge(&theirs, "192.0.2.1", "/").await, None);
    let answer = their("address=192.0.2.1").await.expect(200);
    assert_eq!(
        brief(&answer),
        ["default per_key_and_ip-3600s: 1 by theirs plain 192.0.2.1"]
    );
    assert_eq!(answer["limits"][0]["counters_total"], 1);
    assert_eq!(
        brief(&their("app_slug=plain").await.expect(200)),
        ["default per_app-3600s: 1 by plain"]
    );
    let ours = asked(&server, "address=192.0.2.1").await;
    assert!(brief(&ours).iter().all(|line| !line.contains("theirs")), "{ours}");
    assert_eq!(ours["limits"][3]["counters_total"], 1);
}
