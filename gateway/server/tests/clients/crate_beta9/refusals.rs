//! What the crate's callers see when a call is refused: the status, and a message that a person can act on.

use crate::apps::{bare, new_app, unchanged};
use crate::connection::{client, client_on_free_plan, client_with, fresh};
use crate::keys::{new_key, number};
use crate::schemes::{new_scheme, rule};
use chrono::{Duration, Utc};
use wacht::Error;
use wacht::api::api_keys::{
    CreateApiAuthAppRequest, CreateApiKeyRequest, CreateRateLimitSchemeRequest, RateLimitUnit, RevokeApiKeyRequest,
    UpdateApiAuthAppRequest, UpdateRateLimitSchemeRequest,
};

/// Asserts that `result` is a refusal with `status`, in the shape of the contract, whose message names every one of `names`.
#[track_caller]
fn check<T>(result: wacht::Result<T>, status: u16, names: &[&str]) {
    let Err(error) = result else {
        panic!("expected {status}, got an answer")
    };
    assert!(error.to_string().contains(&status.to_string()), "{error}");
    assert_eq!(error.is_authentication_error(), matches!(status, 401 | 403), "{error}");
    assert!(!error.is_retryable(), "{error}");
    let Error::Api {
        status: got,
        details: Some(body),
        ..
    } = error
    else {
        panic!("no JSON in {error}")
    };
    assert_eq!(got.as_u16(), status, "{body}");
    let message = body["message"]
        .as_str()
        .unwrap_or_else(|| panic!("no message in {body}"));
    assert_eq!(body["errors"][0]["message"], message, "{body}");
    assert!(body["errors"][0]["code"].is_i64(), "{body}");
    assert!(message.split_whitespace().count() >= 3, "{message:?} is no sentence");
    for name in names {
        assert!(message.contains(name), "{message:?} does not name {name:?}");
    }
}

fn key(name: &str) -> CreateApiKeyRequest {
    CreateApiKeyRequest {
        name: name.to_owned(),
        permissions: None,
        expires_at: None,
        metadata: None,
    }
}

fn scheme(slug: &str, rules: Vec<wacht::api::api_keys::RateLimit>) -> CreateRateLimitSchemeRequest {
    CreateRateLimitSchemeRequest {
        slug: slug.to_owned(),
        name: "A scheme".to_owned(),
        description: None,
        rules,
    }
}

#[tokio::test]
async fn an_invalid_app_is_400() {
    let client = client();
    let requests: [(&str, CreateApiAuthAppRequest); 7] = [
        ("app_slug", bare("Not A Slug")),
        ("app_slug", bare("")),
        (
            "name",
            CreateApiAuthAppRequest {
                name: String::new(),
                ..bare(&fresh("bad"))
            },
        ),
        (
            "key_prefix",
            CreateApiAuthAppRequest {
                key_prefix: "ends_".to_owned(),
                ..bare(&fresh("bad"))
            },
        ),
        (
            "organization_id",
            CreateApiAuthAppRequest {
                organization_id: Some("org_abc".to_owned()),
                ..bare(&fresh("bad"))
            },
        ),
        (
            "no-such-scheme",
            CreateApiAuthAppRequest {
                rate_limit_scheme_slug: Some("no-such-scheme".to_owned()),
                ..bare(&fresh("bad"))
            },
        ),
        (
            "user_id",
            CreateApiAuthAppRequest {
                user_id: Some("5".to_owned()),
                permissions: Some(vec!["read".to_owned()]),
                ..bare(&fresh("bad"))
            },
        ),
    ];
    for (name, request) in requests {
        check(
            client.api_keys().create_api_auth_app(request).send().await,
            400,
            &[name],
        );
    }
    let app = new_app(&client, "bad-update").await.app_slug;
    let update = UpdateApiAuthAppRequest {
        key_prefix: Some("a b".to_owned()),
        ..unchanged()
    };
    check(
        client.api_keys().update_api_auth_app(&app, update).send().await,
        400,
        &["key_prefix"],
    );
}

#[tokio::test]
async fn an_invalid_key_is_400() {
    let client = client();
    let app = CreateApiAuthAppRequest {
        permissions: Some(vec!["read".to_owned()]),
        ..bare(&fresh("bad-key"))
    };
    let app = client
        .api_keys()
        .create_api_auth_app(app)
        .send()
        .await
        .expect("the app is created")
        .app_slug;
    let requests = [
        ("name", key("")),
        (
            "write",
            CreateApiKeyRequest {
                permissions: Some(vec!["write".to_owned()]),
                ..key("Too much")
            },
        ),
        (
            "expires_at",
            CreateApiKeyRequest {
                expires_at: Some(Utc::now() - Duration::seconds(1)),
                ..key("Late")
            },
        ),
        (
            "metadata",
            CreateApiKeyRequest {
                metadata: Some(serde_json::json!(["a list"])),
                ..key("Listed")
            },
        ),
    ];
    for (name, request) in requests {
        check(
            client.api_keys().create_api_key(&app, request).send().await,
            400,
            &[name],
        );
    }
}

#[tokio::test]
async fn an_invalid_scheme_is_400_and_the_message_names_the_bound() {
    let client = client();
    let rules = [
        (vec![], "rules"),
        (vec![rule(RateLimitUnit::Millisecond, 60_001, 1)], "60000"),
        (vec![rule(RateLimitUnit::Second, 1_801, 1)], "1800"),
        (vec![rule(RateLimitUnit::Minute, 1_441, 1)], "1440"),
        (vec![rule(RateLimitUnit::Hour, 721, 1)], "720"),
        (vec![rule(RateLimitUnit::Day, 31, 1)], "30"),
        (vec![rule(RateLimitUnit::CalendarDay, 2, 1)], "1"),
        (vec![rule(RateLimitUnit::Month, 2, 1)], "1"),
        (vec![rule(RateLimitUnit::CalendarMonth, 2, 1)], "1"),
        (vec![rule(RateLimitUnit::Second, 0, 1)], "duration"),
        (vec![rule(RateLimitUnit::Second, 1, 0)], "max_requests"),
    ];
    for (rules, bound) in rules {
        let request = scheme(&fresh("bad-scheme"), rules);
        check(
            client.api_keys().create_rate_limit_scheme(request).send().await,
            400,
            &[bound],
        );
    }
    let slug = new_scheme(&client, "bad-update", vec![rule(RateLimitUnit::Second, 1, 1)])
        .await
        .slug;
    let update = UpdateRateLimitSchemeRequest {
        rules: Some(vec![]),
        ..Default::default()
    };
    check(
        client.api_keys().update_rate_limit_scheme(&slug, update).send().await,
        400,
        &["rules"],
    );
}

#[tokio::test]
async fn a_wrong_token_is_401_everywhere() {
    let nobody = client_with("not-a-token");
    let api = nobody.api_keys();
    check(api.list_api_auth_apps().send().await, 401, &[]);
    check(api.get_api_auth_app("any").send().await, 401, &[]);
    check(api.create_api_auth_app(bare(&fresh("nobody"))).send().await, 401, &[]);
    check(api.update_api_auth_app("any", unchanged()).send().await, 401, &[]);
    check(api.delete_api_auth_app("any").send().await, 401, &[]);
    check(api.list_api_keys("any").send().await, 401, &[]);
    check(api.create_api_key("any", key("Nobody's")).send().await, 401, &[]);
    check(
        api.revoke_api_key("any", 1, RevokeApiKeyRequest { reason: None })
            .send()
            .await,
        401,
        &[],
    );
    check(api.rotate_api_key("any", 1).send().await, 401, &[]);
    check(api.list_rate_limit_schemes().send().await, 401, &[]);
    check(api.get_rate_limit_scheme("any").send().await, 401, &[]);
    check(
        api.create_rate_limit_scheme(scheme("any", vec![])).send().await,
        401,
        &[],
    );
    check(
        api.update_rate_limit_scheme("any", Default::default()).send().await,
        401,
        &[],
    );
    check(api.delete_rate_limit_scheme("any").send().await, 401, &[]);
}

#[tokio::test]
async fn an_app_on_the_free_plan_is_403() {
    let result = client_on_free_plan()
        .api_keys()
        .create_api_auth_app(bare(&fresh("free")))
        .send()
        .await;
    check(result, 403, &["plan"]);
}

#[tokio::test]
async fn what_does_not_exist_is_404() {
    let client = client();
    let api = client.api_keys();
    let slug = fresh("missing");
    check(api.get_api_auth_app(&slug).send().await, 404, &[]);
    check(api.update_api_auth_app(&slug, unchanged()).send().await, 404, &[]);
    check(api.delete_api_auth_app(&slug).send().await, 404, &[]);
    check(api.list_api_keys(&slug).send().await, 404, &[]);
    check(api.create_api_key(&slug, key("Homeless")).send().await, 404, &[]);
    check(api.get_rate_limit_scheme(&slug).send().await, 404, &[]);
    check(
        api.update_rate_limit_scheme(&slug, Default::default()).send().await,
        404,
        &[],
    );
    check(api.delete_rate_limit_scheme(&slug).send().await, 404, &[]);

    let (app, other) = (
        new_app(&client, "has-key").await.app_slug,
        new_app(&client, "has-none").await.app_slug,
    );
    let id = number(&new_key(&client, &app).await.key);
    let reason = || RevokeApiKeyRequest { reason: None };
    check(api.revoke_api_key(&other, id, reason()).send().await, 404, &[]);
    check(api.rotate_api_key(&other, id).send().await, 404, &[]);
    check(api.revoke_api_key(&app, i64::MAX, reason()).send().await, 404, &[]);
    check(api.rotate_api_key(&app, i64::MAX).send().await, 404, &[]);
    api.revoke_api_key(&app, id, reason()).send().await.expect("revoked");
    check(api.revoke_api_key(&app, id, reason()).send().await, 404, &[]);
    check(api.rotate_api_key(&app, id).send().await, 404, &[]);
}

#[tokio::test]
async fn a_taken_slug_and_a_scheme_in_use_are_409() {
    let client = client();
    let taken = new_scheme(&client, "taken", vec![rule(RateLimitUnit::Second, 1, 1)])
        .await
        .slug;
    let request = scheme(&taken, vec![rule(RateLimitUnit::Second, 1, 1)]);
    check(
        client.api_keys().create_rate_limit_scheme(request).send().await,
        409,
        &[&taken],
    );

    let app = CreateApiAuthAppRequest {
        rate_limit_scheme_slug: Some(taken.clone()),
        ..bare(&fresh("taken"))
    };
    let slug = client
        .api_keys()
        .create_api_auth_app(app)
        .send()
        .await
        .expect("the app is created")
        .app_slug;
    check(
        client.api_keys().create_api_auth_app(bare(&slug)).send().await,
        409,
        &[&slug],
    );
    check(
        client.api_keys().delete_rate_limit_scheme(&taken).send().await,
        409,
        &[&taken],
    );
}
