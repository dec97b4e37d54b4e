//! Keys: create, list, revoke, rotate; and that a secret opens what it should, and no longer than it should.

use crate::apps::{bare, new_app};
use crate::connection::{client, fresh};
use crate::decision::status_of_check;
use crate::schemes::{new_scheme, rule};
use chrono::{Duration, SubsecRound, Utc};
use serde_json::json;
use wacht::WachtClient;
use wacht::api::api_keys::{
    ApiKey, ApiKeyWithSecret, CreateApiAuthAppRequest, CreateApiKeyRequest, RateLimitUnit, RevokeApiKeyRequest,
};

/// Creates a key with the required field only.
pub(crate) async fn new_key(client: &WachtClient, app_slug: &str) -> ApiKeyWithSecret {
    let request = CreateApiKeyRequest {
        name: "A key".to_owned(),
        permissions: None,
        expires_at: None,
        metadata: None,
    };
    client
        .api_keys()
        .create_api_key(app_slug, request)
        .send()
        .await
        .expect("the key is created")
}

/// The number that the crate wants for a key's id.
pub(crate) fn number(key: &ApiKey) -> i64 {
    key.id.parse().expect("an id is a number")
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

    assert!(number(key) > 0);
    assert_eq!((&key.deployment_id, &key.app_slug), (&app.deployment_id, &app.app_slug));
    assert_eq!((key.name.as_str(), key.key_prefix.as_str()), ("A key", "sk_live"));
    assert!(created.secret.starts_with("sk_live_") && created.secret.ends_with(&key.key_suffix));
    assert_eq!((created.secret.len(), key.key_suffix.len()), ("sk_live_".len() + 43, 8));
    assert!(
        key.permissions.is_empty() && key.org_role_permissions.is_empty() && key.workspace_role_permissions.is_empty()
    );
    assert_eq!(key.metadata, json!({}));
    assert_eq!((key.rate_limits.len(), &key.rate_limit_scheme_slug), (0, &None));
    assert_eq!(
        (&key.owner_user_id, &key.organization_id, &key.workspace_id),
        (&None, &None, &None)
    );
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
    let scheme = new_scheme(&client, "key-scheme", vec![rule(RateLimitUnit::Minute, 1, 60)]).await;
    let app = CreateApiAuthAppRequest {
        organization_id: Some("31".to_owned()),
        workspace_id: Some("32".to_owned()),
        rate_limit_scheme_slug: Some(scheme.slug),
        permissions: Some(vec!["read".to_owned(), "write".to_owned()]),
        ..bare(&fresh("full-key"))
    };
    let app = client
        .api_keys()
        .create_api_auth_app(app)
        .send()
        .await
        .expect("the app is created");
    let expires_at = Utc::now().trunc_subsecs(0) + Duration::days(1);
    let metadata = json!({"team": "billing", "nested": {"list": [1, "two", null, true]}, "text": "é\u{1F511}"});
    let request = CreateApiKeyRequest {
        name: "Nightly export".to_owned(),
        permissions: Some(vec!["read".to_owned()]),
        expires_at: Some(expires_at),
        metadata: Some(metadata.clone()),
    };
    let created = client
        .api_keys()
        .create_api_key(&app.app_slug, request)
        .send()
        .await
        .expect("created");
    let [read] = listed(&client, &app.app_slug, None).await.try_into().expect("one key");

    for key in [created.key, read] {
        assert_eq!(key.name, "Nightly export");
        assert_eq!(key.permissions, ["read"]);
        assert_eq!(key.expires_at, Some(expires_at));
        assert_eq!(key.metadata, metadata);
        assert_eq!(
            (key.organization_id.as_deref(), key.workspace_id.as_deref()),
            (Some("31"), Some("32"))
        );
        assert_eq!(key.rate_limits.len(), 1, "the app's rules hold for the key");
    }
}

#[tokio::test]
async fn a_revoked_key_opens_nothing_from_then_on() {
    let client = client();
    let app = new_app(&client, "revoke").await.app_slug;
    let (kept, explained, unexplained) = (
        new_key(&client, &app).await,
        new_key(&client, &app).await,
        new_key(&client, &app).await,
    );

    for (key, reason) in [(&explained, Some("Leaked in a log")), (&unexplained, None)] {
        assert_eq!(status_of_check(&key.secret).await, 200);
        let request = RevokeApiKeyRequest {
            reason: reason.map(str::to_owned),
        };
        client
            .api_keys()
            .revoke_api_key(&app, number(&key.key), request)
            .send()
            .await
            .expect("revoked");
        assert_eq!(status_of_check(&key.secret).await, 403);
    }

    for include_inactive in [None, Some(false)] {
        let ids: Vec<_> = listed(&client, &app, include_inactive)
            .await
            .into_iter()
            .map(|key| key.id)
            .collect();
        assert_eq!(ids, [kept.key.id.as_str()], "{include_inactive:?}");
    }
    let all = listed(&client, &app, Some(true)).await;
    assert_eq!(all.len(), 3);
    let found = |id: &str| all.iter().find(|key| key.id == id).expect("it is listed");
    let revoked = found(&explained.key.id);
    assert!(!revoked.is_active && revoked.revoked_at.is_some());
    assert_eq!(revoked.revoked_reason.as_deref(), Some("Leaked in a log"));
    assert!(found(&unexplained.key.id).revoked_at.is_some());
    assert!(found(&kept.key.id).is_active);
    assert_eq!(status_of_check(&kept.secret).await, 200);
}

#[tokio::test]
async fn a_rotated_key_gives_way_to_its_successor_at_once() {
    let client = client();
    let app = new_app(&client, "rotate").await.app_slug;
    let request = CreateApiKeyRequest {
        name: "Rotated".to_owned(),
        permissions: Some(vec!["read".to_owned()]),
        expires_at: Some(Utc::now() + Duration::hours(1)),
        metadata: Some(json!({"kept": true})),
    };
    let old = client
        .api_keys()
        .create_api_key(&app, request)
        .send()
        .await
        .expect("created");
    assert_eq!(status_of_check(&old.secret).await, 200);

    let new = client
        .api_keys()
        .rotate_api_key(&app, number(&old.key))
        .send()
        .await
        .expect("rotated");
    assert_ne!((&new.key.id, &new.secret), (&old.key.id, &old.secret));
    assert_eq!(
        (&new.key.name, &new.key.permissions),
        (&old.key.name, &old.key.permissions)
    );
    assert_eq!(
        (&new.key.metadata, new.key.expires_at),
        (&old.key.metadata, old.key.expires_at)
    );
    assert!(new.key.is_active && new.secret.ends_with(&new.key.key_suffix));
    assert_eq!(status_of_check(&old.secret).await, 403);
    assert_eq!(status_of_check(&new.secret).await, 200);

    let all = listed(&client, &app, Some(true)).await;
    let retired = all.iter().find(|key| key.id == old.key.id).expect("it is listed");
    assert_eq!(
        (retired.is_active, retired.revoked_reason.as_deref()),
        (false, Some("Rotated"))
    );
}
