//! Rate-limit schemes keep their rules as they were written, and refuse what is out of bounds by rule and bound.

use crate::server::Server;
use serde_json::{Value, json};

const PATH: &str = "/api-auth/rate-limit-schemes";

#[tokio::test]
async fn rules_are_answered_as_they_were_written() {
    let server = Server::start().await;
    let rules = json!([
        {"unit": "second", "duration": 10, "max_requests": 5},
        {"unit": "calendar_month", "duration": 1, "max_requests": i32::MAX, "mode": "per_app_and_ip", "endpoints": [], "priority": 0},
        {"unit": "millisecond", "duration": 500, "max_requests": 1, "mode": "per_key", "endpoints": ["/v1/x", "/v1/*", "*"], "priority": -7},
    ]);
    let body = json!({"slug": "tier-1", "name": "Tier 1", "description": null, "rules": rules});
    let created = server.post(PATH, body).await.expect(201);
    let expected = json!({
        "id": created["id"], "deployment_id": server.deployment.id.to_string(), "slug": "tier-1", "name": "Tier 1",
        "description": null, "rules": rules,
        "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z",
    });
    assert_eq!(created, expected);
    assert_eq!(server.get(&format!("{PATH}/tier-1")).await.expect(200), created);
    assert_eq!(
        server.get(PATH).await.expect(200),
        json!({"total": 1, "schemes": [created]})
    );

    // The published crates send nulls for what they leave out; those must not be written into a rule.
    let nulls =
        json!([{"unit": "day", "duration": 1, "max_requests": 1, "mode": null, "endpoints": null, "priority": null}]);
    let body = json!({"slug": "nulls", "name": "N", "rules": nulls});
    let created = server.post(PATH, body).await.expect(201);
    assert_eq!(
        created["rules"],
        json!([{"unit": "day", "duration": 1, "max_requests": 1}])
    );
}

#[tokio::test]
async fn every_fault_of_a_rule_is_named() {
    let server = Server::start().await;
    let good = json!({"unit": "minute", "duration": 1, "max_requests": 100});
    let check = async |change: Value, codes: &[u32], parts: &[&str]| {
        let mut bad = good.clone();
        bad.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let body = json!({"slug": "s", "name": "S", "rules": [good, bad]});
        server.post(PATH, body).await.expect_error(400, codes, parts);
    };
    for (unit, max) in [
        ("millisecond", 60_000),
        ("second", 1_800),
        ("minute", 1_440),
        ("hour", 720),
        ("day", 30),
        ("calendar_day", 1),
        ("month", 1),
        ("calendar_month", 1),
    ] {
        let (least, most) = (
            json!({"unit": unit, "duration": 1}),
            json!({"unit": unit, "duration": max}),
        );
        for fine in [least, most] {
            let mut rule = good.clone();
            rule.as_object_mut().unwrap().extend(fine.as_object().unwrap().clone());
            let slug = format!("{unit}-{}", rule["duration"]);
            let status = server
                .post(PATH, json!({"slug": slug, "name": "S", "rules": [rule]}))
                .await
                .status;
            assert!(status == 201 || (max == 1 && status == 409), "{unit}");
        }
        for duration in [0, -1, max + 1] {
            let bound = max.to_string();
            let parts = ["`rules[1]`", "`duration`", &duration.to_string(), unit, &bound];
            check(json!({"unit": unit, "duration": duration}), &[40003], &parts).await;
        }
    }
    check(json!({"max_requests": 0}), &[40003], &["`rules[1]`", "`max_requests`"]).await;
    check(
        json!({"endpoints": ["v1"]}),
        &[40003],
        &["`rules[1]`", "`endpoints[0]`"],
    )
    .await;
    check(
        json!({"unit": "week"}),
        &[40001],
        &["`rules[1].unit` must be one of", "calendar_month"],
    )
    .await;
    check(json!({"unit": null}), &[40002], &["`rules[1].unit` is required"]).await;
    check(
        json!({"mode": "per_galaxy"}),
        &[40001],
        &["`rules[1].mode` must be one of", "per_key_and_ip"],
    )
    .await;
    check(
        json!({"duration": 1.5}),
        &[40001],
        &["`rules[1].duration` must be a whole number"],
    )
    .await;
    check(
        json!({"max_requests": 2_147_483_648_u32}),
        &[40001],
        &["`rules[1].max_requests`", "32 bits"],
    )
    .await;
    check(json!({"priority": "1"}), &[40001], &["`rules[1].priority`"]).await;
    check(
        json!({"endpoints": "/v1"}),
        &[40001],
        &["`rules[1].endpoints` must be a list"],
    )
    .await;
    check(
        json!({"endpoints": ["/v1", 2]}),
        &[40001],
        &["`rules[1].endpoints[1]` must be a string"],
    )
    .await;
    check(
        json!({"unit": 1, "duration": null, "max_requests": "9"}),
        &[40001, 40002, 40001],
        &["`rules[1].unit`", "`rules[1].duration`", "`rules[1].max_requests`"],
    )
    .await;
}

#[tokio::test]
async fn every_fault_of_a_scheme_is_named() {
    let server = Server::start().await;
    let rule = json!({"unit": "minute", "duration": 1, "max_requests": 1});
    let bad_rule = json!({"unit": "minute", "duration": 0, "max_requests": 1});
    for (body, codes, parts) in [
        (
            json!({}),
            vec![40002, 40002, 40002],
            vec!["`slug` is required", "`name` is required", "`rules` is required"],
        ),
        (
            json!({"slug": "s", "name": "S", "rules": []}),
            vec![40003],
            vec!["`rules` must have 1 to 32"],
        ),
        (
            json!({"slug": "s", "name": "S", "rules": vec![rule.clone(); 33]}),
            vec![40003],
            vec!["1 to 32"],
        ),
        (
            json!({"slug": "s", "name": "S", "rules": rule}),
            vec![40001],
            vec!["`rules` must be a list"],
        ),
        (
            json!({"slug": "s", "name": "S", "rules": [rule, 5]}),
            vec![40001],
            vec!["`rules[1]` must be an object"],
        ),
        (
            json!({"slug": "S", "name": "", "rules": [bad_rule, bad_rule]}),
            vec![40003; 4],
            vec!["`slug`", "`name`", "`rules[0]`", "`rules[1]`"],
        ),
    ] {
        server.post(PATH, body).await.expect_error(400, &codes, &parts);
    }
    assert_eq!(server.get(PATH).await.expect(200)["total"], 0);
}

#[tokio::test]
async fn a_patch_keeps_what_it_leaves_out() {
    let server = Server::start().await;
    let rules = json!([{"unit": "minute", "duration": 1, "max_requests": 1}]);
    server
        .post(
            PATH,
            json!({"slug": "s", "name": "S", "description": "d", "rules": rules}),
        )
        .await
        .expect(201);
    let path = format!("{PATH}/s");
    let check = async |patch: Value, name: &str, description: Value, rules: &Value| {
        let patched = server.patch(&path, patch).await.expect(200);
        assert_eq!(
            (&patched["name"], &patched["description"], &patched["rules"]),
            (&json!(name), &description, rules)
        );
    };
    check(
        json!({"name": null, "description": null, "rules": null}),
        "S",
        json!("d"),
        &rules,
    )
    .await;
    check(json!({"name": "T", "slug": "ignored"}), "T", json!("d"), &rules).await;
    check(json!({"description": ""}), "T", json!(null), &rules).await;
    let others = json!([{"unit": "day", "duration": 2, "max_requests": 3, "priority": 1}]);
    check(json!({"rules": others}), "T", json!(null), &others).await;
    server
        .patch(&path, json!({"rules": [], "name": ""}))
        .await
        .expect_error(400, &[40003, 40003], &["`name`", "`rules`"]);
    server
        .patch(&format!("{PATH}/t"), json!({}))
        .await
        .expect_error(404, &[40403], &["no rate-limit scheme"]);
}

#[tokio::test]
async fn slugs_are_unique_and_schemes_in_use_stay() {
    let server = Server::start().await;
    let body = json!({"slug": "s", "name": "S", "rules": [{"unit": "minute", "duration": 1, "max_requests": 9}]});
    server.post(PATH, body.clone()).await.expect(201);
    server
        .post(PATH, body.clone())
        .await
        .expect_error(409, &[40900], &["already exists"]);
    server.app("a").await;
    server
        .patch("/api-auth/apps/a", json!({"rate_limit_scheme_slug": "s"}))
        .await
        .expect(200);
    server
        .delete(&format!("{PATH}/s"))
        .await
        .expect_error(409, &[40901], &["in use"]);
    server
        .patch("/api-auth/apps/a", json!({"rate_limit_scheme_slug": ""}))
        .await
        .expect(200);
    assert_eq!(server.delete(&format!("{PATH}/s")).await.expect(204), Value::Null);
    server
        .delete(&format!("{PATH}/s"))
        .await
        .expect_error(404, &[40403], &[]);
    server.get(&format!("{PATH}/s")).await.expect_error(404, &[40403], &[]);
    server.post(PATH, body).await.expect(201);
}
