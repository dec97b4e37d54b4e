//! Keys: create, list, and the older form of revoke and rotate; and that a secret opens what it should, no longer.

use crate::apps::new_app;
use crate::connection::{authz_url, client};
use chrono::{Duration, SubsecRound, Utc};
use serde_json::json;
use wacht::WachtClient;
use wacht::api::api_keys::{ApiKey, ApiKeyWithSecret, CreateApiKeyRequest, RevokeApiKeyRequest, RotateApiKeyRequest};

/// A creation request with nothing but what is required.
pub(crate) fn bare(name: &str) -> CreateApiKeyRequest {
    CreateApiKeyRequest {
        name: name.to_owned(),
        permissions: None,
        organization_membership_id: None,
        workspace_membership_id: None,
        expires_at: None,
        metadata: None,
    }
}

/// Creates a key with the required field only.
pub(crate) async fn new_key(client: &WachtClient, app_slug: &str) -> ApiKeyWithSecret {
    client
        .api_keys()
        .create_api_key(app_slug, bare("A key"))
        .send()
        .await
        .expect("the key is created")
}

/// The status of a decision about `secret`.
async fn status_of_check(secret: &str) -> u16 {
    let url = format!("{}/v1/authz/check", authz_url());
    let request =
        json!({"principal": {"type": "api_key", "value": secret}, "resource": "/v1/invoices", "method": "GET"});
    let answer = reqwest::Client::new().post(url).json(&request).send().await;
    answer.expect("the decision API answers").status().as_u16()
}

async fn listed(client: &WachtClient, app_slug: &str, include_inactive: Option<bool>) -> Vec<ApiKey> {
    let mut list = client.api_keys().list_api_keys(app_slug);
    if let Some(include_inactive) = include_inactive {
        list = list.include_inactive(include_inactive);
    }
    list.send().await.expect("the keys are listed")
}

#[tokio::test]
async fn a_key_of_required_fields_answers_with_the_defaults() {
    let client = client();
    let app = new_app(&client, "bare-key").await;
    let created = new_key(&client, &app.app_slug).await;
    let key = &created.key;
    assert!(key.id.parse::<i64>().expect("an id is a number") > 0);
    assert_eq!(
        (&key.app_id, &key.deployment_id, &key.app_slug),
        (&app.id, &app.deployment_id, &app.app_slug)
    );
    assert_eq!(
        (key.name.as_str(), key.key_prefix.as_str(), key.key_suffix.len()),
        ("A key", "sk_live", 8)
    );
    assert!(created.secret.starts_with("sk_live_") && created.secret.ends_with(&key.key_suffix));
    assert!(
        key.permissions.is_empty() && key.org_role_permissions.is_empty() && key.workspace_role_permissions.is_empty()
    );
    assert_eq!(key.metadata, json!({}));
    assert_eq!((&key.organization_id, &key.workspace_id), (&None, &None));
    assert_eq!(
        (&key.organization_membership_id, &key.workspace_membership_id),
        (&None, &None)
    );
    assert_eq!(
        (key.expires_at, key.last_used_at, key.revoked_at, &key.revoked_reason),
        (None, None, None, &None)
    );
    assert!(key.is_active && key.created_at <= key.updated_at);
    assert_eq!(status_of_check(&created.secret).await, 200);
}

#[tokio::test]
async fn a_key_of_all_fields_is_read_back_as_it_was_written() {
    let client = client();
    let app = new_app(&client, "full-key").await.app_slug;
    let expires_at = Utc::now().trunc_subsecs(0) + Duration::days(1);
    let request = CreateApiKeyRequest {
        permissions: Some(vec!["read".to_owned()]),
        expires_at: Some(expires_at),
        metadata: Some(json!({"team": "billing"})),
        ..bare("Nightly export")
    };
    let created = client
        .api_keys()
        .create_api_key(&app, request)
        .send()
        .await
        .expect("created");
    let [read] = listed(&client, &app, None).await.try_into().expect("one key");
    for key in [created.key, read] {
        assert_eq!(
            (key.name.as_str(), key.permissions.as_slice()),
            ("Nightly export", &["read".to_owned()][..])
        );
        assert_eq!(
            (key.expires_at, key.metadata),
            (Some(expires_at), json!({"team": "billing"}))
        );
    }
}

#[tokio::test]
async fn a_revoked_key_opens_nothing_from_then_on() {
    let client = client();
    let app = new_app(&client, "revoke").await.app_slug;
    let kept = new_key(&client, &app).await;
    for reason in [Some("Leaked in a log"), None] {
        let key = new_key(&client, &app).await;
        assert_eq!(status_of_check(&key.secret).await, 200);
        let request = RevokeApiKeyRequest {
            key_id: key.key.id.clone(),
            reason: reason.map(str::to_owned),
        };
        client.api_keys().revoke_api_key(request).send().await.expect("revoked");
        assert_eq!(status_of_check(&key.secret).await, 403);

        let all = listed(&client, &app, Some(true)).await;
        let revoked = all.iter().find(|listed| listed.id == key.key.id).expect("it is listed");
        assert!(!revoked.is_active && revoked.revoked_at.is_some());
        if reason.is_some() {
            assert_eq!(revoked.revoked_reason.as_deref(), reason);
        }
    }
    for include_inactive in [None, Some(false)] {
        let ids: Vec<_> = listed(&client, &app, include_inactive)
            .await
            .into_iter()
            .map(|key| key.id)
            .collect();
        assert_eq!(ids, [kept.key.id.as_str()], "{include_inactive:?}");
    }
}

#[tokio::test]
async fn a_rotated_key_gives_way_to_its_successor_at_once() {
    let client = client();
    let app = new_app(&client, "rotate").await.app_slug;
    let old = new_key(&client, &app).await;
    let request = RotateApiKeyRequest {
        key_id: old.key.id.clone(),
    };
    let new = client.api_keys().rotate_api_key(request).send().await.expect("rotated");
    assert_ne!((&new.key.id, &new.secret), (&old.key.id, &old.secret));
    assert_eq!((&new.key.name, &new.key.app_id), (&old.key.name, &old.key.app_id));
    assert_eq!(
        (status_of_check(&old.secret).await, status_of_check(&new.secret).await),
        (403, 200)
    );
}
