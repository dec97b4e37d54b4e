//! Apps: create, get, list, update, delete, with every optional field left out and given.

use crate::connection::{client, config, fresh, token};
use serde_json::{Value, json};
use wacht::WachtClient;
use wacht::api::api_keys::{
    ApiAuthApp, CreateApiAuthAppRequest, RateLimit, RateLimitMode, RateLimitUnit, UpdateApiAuthAppRequest,
};

/// A creation request with nothing but what is required.
pub(crate) fn bare(slug: &str) -> CreateApiAuthAppRequest {
    CreateApiAuthAppRequest {
        app_slug: slug.to_owned(),
        name: "An app".to_owned(),
        key_prefix: "sk_live".to_owned(),
        description: None,
        rate_limit_scheme_slug: None,
    }
}

/// An update that changes nothing.
pub(crate) fn unchanged() -> UpdateApiAuthAppRequest {
    UpdateApiAuthAppRequest {
        name: None,
        key_prefix: None,
        description: None,
        is_active: None,
        rate_limit_scheme_slug: None,
    }
}

/// Creates an app with the required fields only.
pub(crate) async fn new_app(client: &WachtClient, stem: &str) -> ApiAuthApp {
    client
        .api_keys()
        .create_api_auth_app(bare(&fresh(stem)))
        .send()
        .await
        .expect("the app is created")
}

/// Every mode and unit that this version knows, and a rule that leaves the mode out.
fn rules() -> Vec<RateLimit> {
    let rule = |unit, mode| RateLimit {
        unit,
        duration: 1,
        max_requests: 100,
        mode,
    };
    vec![
        rule(RateLimitUnit::Second, Some(RateLimitMode::PerKey)),
        rule(RateLimitUnit::Minute, Some(RateLimitMode::PerIp)),
        rule(RateLimitUnit::Hour, Some(RateLimitMode::PerKeyAndIp)),
        rule(RateLimitUnit::Day, None),
    ]
}

/// Creates a scheme, for which this version has no call, through the crate's HTTP client.
async fn new_scheme(client: &WachtClient) -> String {
    let slug = fresh("scheme");
    let url = format!("{}/api-auth/rate-limit-schemes", client.config().base_url);
    let body = json!({"slug": slug, "name": "A scheme", "rules": rules()});
    let answer = client
        .http_client()
        .post(url)
        .json(&body)
        .send()
        .await
        .expect("an answer");
    assert_eq!(answer.status().as_u16(), 201);
    slug
}

fn text(rules: &[RateLimit]) -> Value {
    serde_json::to_value(rules).expect("rules are JSON")
}

async fn slugs(client: &WachtClient, include_inactive: Option<bool>) -> Vec<String> {
    let mut list = client.api_keys().list_api_auth_apps();
    if let Some(include_inactive) = include_inactive {
        list = list.include_inactive(include_inactive);
    }
    list.send()
        .await
        .expect("the apps are listed")
        .into_iter()
        .map(|app| app.app_slug)
        .collect()
}

#[tokio::test]
async fn an_app_of_required_fields_answers_with_the_defaults() {
    let slug = fresh("bare");
    let app = client()
        .api_keys()
        .create_api_auth_app(bare(&slug))
        .send()
        .await
        .expect("created");
    assert!(app.id.parse::<i64>().expect("an id is a number") > 0);
    assert!(app.deployment_id.parse::<i64>().expect("an id is a number") > 0);
    assert_eq!(
        (app.app_slug, app.name.as_str(), app.key_prefix.as_str()),
        (slug, "An app", "sk_live")
    );
    assert_eq!(app.description, None);
    assert!(app.is_active && app.rate_limits.is_empty() && app.created_at <= app.updated_at);
}

#[tokio::test]
async fn an_app_of_all_fields_is_read_back_as_it_was_written() {
    let client = client();
    let slug = fresh("full");
    let request = CreateApiAuthAppRequest {
        description: Some("Invoices".to_owned()),
        rate_limit_scheme_slug: Some(new_scheme(&client).await),
        ..bare(&slug)
    };
    let created = client
        .api_keys()
        .create_api_auth_app(request)
        .send()
        .await
        .expect("created");
    let read = client
        .api_keys()
        .get_api_auth_app(&slug)
        .send()
        .await
        .expect("read back");
    let listed = client.api_keys().list_api_auth_apps().send().await.expect("listed");
    let listed = listed
        .into_iter()
        .find(|app| app.app_slug == slug)
        .expect("it is listed");
    for app in [created, read, listed] {
        assert_eq!(app.description.as_deref(), Some("Invoices"));
        assert_eq!(
            text(&app.rate_limits),
            text(&rules()),
            "a default is never written into a stored rule"
        );
    }
}

#[tokio::test]
async fn an_update_changes_what_it_names_and_nothing_else() {
    let client = client();
    let app = new_app(&client, "update").await;
    let update = |request| client.api_keys().update_api_auth_app(&app.app_slug, request).send();
    let updated = update(UpdateApiAuthAppRequest {
        name: Some("Renamed".to_owned()),
        key_prefix: Some("pk_live".to_owned()),
        description: Some("Described".to_owned()),
        is_active: Some(true),
        rate_limit_scheme_slug: Some(new_scheme(&client).await),
    })
    .await
    .expect("updated");
    assert_eq!(
        (updated.name.as_str(), updated.key_prefix.as_str()),
        ("Renamed", "pk_live")
    );
    assert_eq!(
        (updated.description.as_deref(), updated.rate_limits.len()),
        (Some("Described"), rules().len())
    );

    let same = update(unchanged()).await.expect("an update of nothing is one");
    assert_eq!(
        (same.id, same.name.as_str(), same.rate_limits.len()),
        (app.id.clone(), "Renamed", rules().len())
    );
}

#[tokio::test]
async fn the_list_leaves_out_inactive_apps_unless_asked() {
    let client = client();
    let active = new_app(&client, "listed").await.app_slug;
    let inactive = new_app(&client, "hidden").await.app_slug;
    let switched_off = UpdateApiAuthAppRequest {
        is_active: Some(false),
        ..unchanged()
    };
    client
        .api_keys()
        .update_api_auth_app(&inactive, switched_off)
        .send()
        .await
        .expect("switched off");
    for (include_inactive, expected) in [(None, false), (Some(false), false), (Some(true), true)] {
        let slugs = slugs(&client, include_inactive).await;
        assert!(slugs.contains(&active), "{include_inactive:?} lists the active app");
        assert_eq!(
            slugs.contains(&inactive),
            expected,
            "{include_inactive:?} and the inactive app"
        );
    }
}

#[tokio::test]
async fn a_deleted_app_is_gone() {
    let client = client();
    let app = new_app(&client, "deleted").await;
    client
        .api_keys()
        .delete_api_auth_app(&app.app_slug)
        .send()
        .await
        .expect("deleted");
    assert!(!slugs(&client, None).await.contains(&app.app_slug));
    client
        .api_keys()
        .get_api_auth_app(&app.app_slug)
        .send()
        .await
        .expect_err("it is gone");
}

#[tokio::test]
async fn the_global_client_reaches_the_server() {
    wacht::init(config(&token())).expect("initialised");
    let base = wacht::client::get_config().base_url;
    let answer = wacht::client::get_client()
        .get(format!("{base}/api-auth/apps"))
        .send()
        .await;
    assert_eq!(answer.expect("an answer").status().as_u16(), 200);
}
