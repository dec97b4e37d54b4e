//! What the crate's callers see when a call is refused: the status, and a message that a person can act on.

use crate::apps::{bare, new_app, unchanged};
use crate::connection::{client, client_on_free_plan, client_with, fresh};
use crate::keys::{self, new_key};
use chrono::{Duration, Utc};
use wacht::Error;
use wacht::api::api_keys::{
    CreateApiAuthAppRequest, CreateApiKeyRequest, RevokeApiKeyRequest, RotateApiKeyRequest, UpdateApiAuthAppRequest,
};

/// Asserts that `result` is a refusal with `status`, in the shape of the contract, whose message names `name`.
#[track_caller]
fn check<T>(result: wacht::Result<T>, status: u16, name: &str) {
    let Err(error) = result else {
        panic!("expected {status}, got an answer")
    };
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
    assert!(message.contains(name), "{message:?} does not name {name:?}");
}

fn revoke(key_id: &str) -> RevokeApiKeyRequest {
    RevokeApiKeyRequest {
        key_id: key_id.to_owned(),
        reason: None,
    }
}

fn rotate(key_id: &str) -> RotateApiKeyRequest {
    RotateApiKeyRequest {
        key_id: key_id.to_owned(),
    }
}

#[tokio::test]
async fn an_invalid_request_is_400() {
    let client = client();
    let api = client.api_keys();
    let bad_prefix = CreateApiAuthAppRequest {
        key_prefix: "a-b".to_owned(),
        ..bare(&fresh("bad"))
    };
    check(api.create_api_auth_app(bad_prefix).send().await, 400, "key_prefix");
    check(
        api.create_api_auth_app(bare("Not A Slug")).send().await,
        400,
        "app_slug",
    );
    let app = new_app(&client, "bad").await.app_slug;
    let bad_scheme = UpdateApiAuthAppRequest {
        rate_limit_scheme_slug: Some("no-such-scheme".to_owned()),
        ..unchanged()
    };
    check(
        api.update_api_auth_app(&app, bad_scheme).send().await,
        400,
        "no-such-scheme",
    );

    let requests = [
        ("name", keys::bare("")),
        (
            "expires_at",
            CreateApiKeyRequest {
                expires_at: Some(Utc::now() - Duration::days(1)),
                ..keys::bare("Late")
            },
        ),
        (
            "organization_membership_id",
            CreateApiKeyRequest {
                organization_membership_id: Some("1".to_owned()),
                ..keys::bare("Member")
            },
        ),
        (
            "workspace_membership_id",
            CreateApiKeyRequest {
                workspace_membership_id: Some("1".to_owned()),
                ..keys::bare("Member")
            },
        ),
    ];
    for (name, request) in requests {
        check(api.create_api_key(&app, request).send().await, 400, name);
    }
}

#[tokio::test]
async fn a_key_id_that_is_no_number_in_a_body_is_400() {
    let client = client();
    check(
        client.api_keys().revoke_api_key(revoke("key_abc123")).send().await,
        400,
        "key_id",
    );
    check(
        client.api_keys().rotate_api_key(rotate("key_abc123")).send().await,
        400,
        "key_id",
    );
}

#[tokio::test]
async fn a_wrong_token_is_401_everywhere() {
    let nobody = client_with("not-a-token");
    let api = nobody.api_keys();
    check(api.list_api_auth_apps().send().await, 401, "");
    check(api.get_api_auth_app("any").send().await, 401, "");
    check(api.create_api_auth_app(bare(&fresh("nobody"))).send().await, 401, "");
    check(api.update_api_auth_app("any", unchanged()).send().await, 401, "");
    check(api.delete_api_auth_app("any").send().await, 401, "");
    check(api.list_api_keys("any").send().await, 401, "");
    check(api.create_api_key("any", keys::bare("Nobody's")).send().await, 401, "");
    check(api.revoke_api_key(revoke("1")).send().await, 401, "");
    check(api.rotate_api_key(rotate("1")).send().await, 401, "");
}

#[tokio::test]
async fn an_app_on_the_free_plan_is_403() {
    check(
        client_on_free_plan()
            .api_keys()
            .create_api_auth_app(bare(&fresh("free")))
            .send()
            .await,
        403,
        "plan",
    );
}

#[tokio::test]
async fn what_does_not_exist_is_404() {
    let client = client();
    let api = client.api_keys();
    let slug = fresh("missing");
    check(api.get_api_auth_app(&slug).send().await, 404, "");
    check(api.update_api_auth_app(&slug, unchanged()).send().await, 404, "");
    check(api.delete_api_auth_app(&slug).send().await, 404, "");
    check(api.list_api_keys(&slug).send().await, 404, "");
    check(api.create_api_key(&slug, keys::bare("Homeless")).send().await, 404, "");
    let nobody = i64::MAX.to_string();
    check(api.revoke_api_key(revoke(&nobody)).send().await, 404, "");
    check(api.rotate_api_key(rotate(&nobody)).send().await, 404, "");

    let app = new_app(&client, "twice").await.app_slug;
    let key = new_key(&client, &app).await.key.id;
    api.revoke_api_key(revoke(&key)).send().await.expect("revoked");
    check(api.revoke_api_key(revoke(&key)).send().await, 404, "");
    check(api.rotate_api_key(rotate(&key)).send().await, 404, "");
}

#[tokio::test]
async fn a_taken_slug_is_409() {
    let client = client();
    let app = new_app(&client, "taken").await;
    check(
        client.api_keys().create_api_auth_app(bare(&app.app_slug)).send().await,
        409,
        &app.app_slug,
    );
}
