//! Our decision read by the crate's public answer types.
//!
//! The crate sends to a fixed host name, so only its types can be tried: the answer is fetched here, and laid out as the
//! crate does it, with the identity lifted to the top level and its ids made numbers.

use crate::apps::bare;
use crate::connection::{authz_url, client, fresh};
use crate::keys::{new_key, number};
use crate::schemes::{new_scheme, rule};
use serde_json::{Map, Value, json};
use wacht::api::api_keys::{CreateApiAuthAppRequest, CreateApiKeyRequest, RateLimitUnit};
use wacht::gateway::{GatewayCheckResponse, GatewayDenyReason, GatewayPrincipalType, GatewayTokenType};

/// Asks for a decision, with the nulls that the crate sends for what is left out.
async fn check(secret: &str, required_permissions: Option<&[&str]>) -> reqwest::Response {
    let request = json!({
        "principal": {"type": GatewayPrincipalType::ApiKey, "value": secret},
        "resource": "/v1/invoices",
        "method": "GET",
        "client_ip": null,
        "user_agent": null,
        "required_permissions": required_permissions,
    });
    let url = format!("{}/v1/authz/check", authz_url());
    reqwest::Client::new()
        .post(url)
        .json(&request)
        .send()
        .await
        .expect("the decision API answers")
}

/// The status of a decision about `secret`.
pub(crate) async fn status_of_check(secret: &str) -> u16 {
    check(secret, None).await.status().as_u16()
}

/// The decision in the crate's public type.
async fn decision(secret: &str, required_permissions: Option<&[&str]>) -> GatewayCheckResponse {
    let response = check(secret, required_permissions).await;
    assert_eq!(response.status().as_u16(), 200);
    let mut answer: Map<String, Value> = response.json().await.expect("a JSON object");
    let Some(Value::Object(identity)) = answer.remove("identity") else {
        panic!("no identity in {answer:?}")
    };
    for (name, value) in identity {
        let is_id = name.ends_with("_id");
        let value = match value.as_str() {
            Some(text) if is_id => json!(text.parse::<i64>().expect("an id is a number in a string")),
            _ => value,
        };
        answer.insert(name, value);
    }
    serde_json::from_value(Value::Object(answer)).expect("the crate reads the decision")
}

#[tokio::test]
async fn a_decision_carries_all_that_the_crate_reads() {
    let client = client();
    let rules = vec![rule(RateLimitUnit::Minute, 1, 2)];
    let scheme = new_scheme(&client, "decision", rules).await;
    let app = CreateApiAuthAppRequest {
        organization_id: Some("41".to_owned()),
        workspace_id: Some("42".to_owned()),
        rate_limit_scheme_slug: Some(scheme.slug),
        ..bare(&fresh("decision"))
    };
    let app = client
        .api_keys()
        .create_api_auth_app(app)
        .send()
        .await
        .expect("the app is created");
    let request = CreateApiKeyRequest {
        name: "Decided".to_owned(),
        permissions: Some(vec!["invoices:read".to_owned()]),
        expires_at: None,
        metadata: Some(json!({"team": "billing", "principal_type": "oauth_access_token"})),
    };
    let key = client
        .api_keys()
        .create_api_key(&app.app_slug, request)
        .send()
        .await
        .expect("the key is created");

    let allowed = decision(&key.secret, Some(&["invoices:read"])).await;
    assert!(allowed.allowed && allowed.reason.is_none() && allowed.blocked_rule.is_none());
    assert!(!allowed.request_id.is_empty());
    assert_eq!(
        allowed.principal_type,
        GatewayPrincipalType::ApiKey,
        "whatever the key's own metadata says"
    );
    assert_eq!(
        (allowed.key_id, allowed.deployment_id.to_string()),
        (number(&key.key), app.deployment_id)
    );
    assert_eq!((allowed.app_slug, allowed.key_name.as_str()), (app.app_slug, "Decided"));
    assert_eq!(
        (allowed.owner_user_id, allowed.organization_id, allowed.workspace_id),
        (None, Some(41), Some(42))
    );
    assert_eq!(
        (allowed.organization_membership_id, allowed.workspace_membership_id),
        (None, None)
    );
    assert_eq!(allowed.permissions, ["invoices:read"]);
    assert_eq!(allowed.metadata["team"], "billing");
    let [limit] = allowed.rate_limits.as_slice() else {
        panic!("one rule, not {:?}", allowed.rate_limits)
    };
    assert_eq!(
        (limit.rule.as_str(), limit.remaining, limit.limit),
        ("per_key-60s", 1, 2)
    );
    assert_eq!(allowed.retry_after, None);
    let header = |name: &str| allowed.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
    assert_eq!(header("X-Wacht-Key-ID").map(|(_, value)| value), Some(&key.key.id));
    assert!(header("RateLimit").is_some() && header("RateLimit-Policy").is_some());

    let denied = decision(&key.secret, Some(&["invoices:write"])).await;
    assert!(!denied.allowed);
    assert_eq!(denied.reason, Some(GatewayDenyReason::PermissionDenied));

    assert!(decision(&key.secret, None).await.allowed, "the denial charged nothing");
    let limited = decision(&key.secret, None).await;
    assert!(!limited.allowed);
    assert_eq!(limited.reason, Some(GatewayDenyReason::RateLimited));
    assert_eq!(limited.blocked_rule.as_deref(), Some("per_key-60s"));
    assert!((1..=60).contains(&limited.retry_after.expect("when to come back")));
}

#[tokio::test]
async fn the_principal_context_is_one_of_an_api_key() {
    let client = client();
    let app = client
        .api_keys()
        .create_api_auth_app(bare(&fresh("context")))
        .send()
        .await
        .expect("created");
    let key = new_key(&client, &app.app_slug).await;
    let context = decision(&key.secret, None).await.resolve_principal_context();
    assert_eq!(context.token_type, GatewayTokenType::ApiKey);
    assert_eq!(context.identity.key_id, number(&key.key));
    assert!(context.permissions.is_empty() && context.metadata.scopes.is_empty());
}

#[tokio::test]
async fn an_unknown_or_malformed_key_is_unauthenticated() {
    for secret in ["", "not-a-key", "sk_live_0000000000000000000000000000000000000000000"] {
        assert_eq!(status_of_check(secret).await, 401, "{secret:?}");
    }
}
