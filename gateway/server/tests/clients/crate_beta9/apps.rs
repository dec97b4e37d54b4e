//! Apps: create, get, list, update, delete, with every optional field left out and given.

use crate::connection::{client, config, fresh, token};
use crate::schemes::{new_scheme, rule};
use wacht::WachtClient;
use wacht::api::api_keys::{
    ApiAuthApp, CreateApiAuthAppRequest, RateLimitMode, RateLimitUnit, UpdateApiAuthAppRequest,
};

/// A creation request with nothing but what is required.
pub(crate) fn bare(slug: &str) -> CreateApiAuthAppRequest {
    CreateApiAuthAppRequest {
        user_id: None,
        organization_id: None,
        workspace_id: None,
        app_slug: slug.to_owned(),
        name: "An app".to_owned(),
        key_prefix: "sk_live".to_owned(),
        description: None,
        rate_limit_scheme_slug: None,
        permissions: None,
        resources: None,
    }
}

/// An update that changes nothing.
pub(crate) fn unchanged() -> UpdateApiAuthAppRequest {
    UpdateApiAuthAppRequest {
        organization_id: None,
        workspace_id: None,
        name: None,
        key_prefix: None,
        description: None,
        is_active: None,
        rate_limit_scheme_slug: None,
        permissions: None,
        resources: None,
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
    let client = client();
    let slug = fresh("bare");
    let app = client
        .api_keys()
        .create_api_auth_app(bare(&slug))
        .send()
        .await
        .expect("created");

    assert!(app.deployment_id.parse::<i64>().expect("an id is a number") > 0);
    assert_eq!((app.user_id, app.organization_id, app.workspace_id), (None, None, None));
    assert_eq!(app.app_slug, slug);
    assert_eq!(app.name, "An app");
    assert_eq!(app.description, None);
    assert!(app.is_active);
    assert_eq!(app.key_prefix, "sk_live");
    assert!(app.permissions.is_empty() && app.resources.is_empty() && app.rate_limits.is_empty());
    assert_eq!(app.rate_limit_scheme_slug, None);
    assert_eq!(app.deleted_at, None);
    assert!(app.created_at <= app.updated_at);
}

#[tokio::test]
async fn an_app_of_all_fields_is_read_back_as_it_was_written() {
    let client = client();
    let scheme = new_scheme(&client, "app-scheme", vec![rule(RateLimitUnit::Minute, 1, 60)]).await;
    let slug = fresh("full");
    let created = client
        .api_keys()
        .create_api_auth_app(CreateApiAuthAppRequest {
            user_id: None,
            organization_id: Some("101".to_owned()),
            workspace_id: Some("202".to_owned()),
            description: Some("Invoices, read and write".to_owned()),
            rate_limit_scheme_slug: Some(scheme.slug.clone()),
            permissions: Some(vec!["invoices:read".to_owned(), "invoices:write".to_owned()]),
            resources: Some(vec!["invoices/*".to_owned()]),
            ..bare(&slug)
        })
        .send()
        .await
        .expect("created");
    let read = client
        .api_keys()
        .get_api_auth_app(&slug)
        .send()
        .await
        .expect("read back");

    for app in [created, read] {
        assert_eq!(app.user_id, None);
        assert_eq!(app.organization_id.as_deref(), Some("101"));
        assert_eq!(app.workspace_id.as_deref(), Some("202"));
        assert_eq!(app.description.as_deref(), Some("Invoices, read and write"));
        assert_eq!(app.permissions, ["invoices:read", "invoices:write"]);
        assert_eq!(app.resources, ["invoices/*"]);
        assert_eq!(app.rate_limit_scheme_slug.as_ref(), Some(&scheme.slug));
        let [limit] = app.rate_limits.as_slice() else {
            panic!("one rule, not {:?}", app.rate_limits)
        };
        assert_eq!(
            (&limit.unit, limit.duration, limit.max_requests),
            (&RateLimitUnit::Minute, 1, 60)
        );
        assert_eq!(limit.mode, Some(RateLimitMode::PerKey));
    }
}

#[tokio::test]
async fn an_app_of_a_user_answers_with_the_user() {
    let client = client();
    let request = CreateApiAuthAppRequest {
        user_id: Some("7".to_owned()),
        ..bare(&fresh("user"))
    };
    let app = client
        .api_keys()
        .create_api_auth_app(request)
        .send()
        .await
        .expect("created");
    assert_eq!(app.user_id.as_deref(), Some("7"));
}

#[tokio::test]
async fn an_update_changes_what_it_names_and_nothing_else() {
    let client = client();
    let scheme = new_scheme(&client, "update-scheme", vec![rule(RateLimitUnit::Hour, 1, 500)]).await;
    let app = new_app(&client, "update").await;
    let update = |request| client.api_keys().update_api_auth_app(&app.app_slug, request).send();

    let updated = update(UpdateApiAuthAppRequest {
        organization_id: Some("11".to_owned()),
        workspace_id: Some("12".to_owned()),
        name: Some("Renamed".to_owned()),
        key_prefix: Some("pk_live".to_owned()),
        description: Some("Described".to_owned()),
        is_active: Some(true),
        rate_limit_scheme_slug: Some(scheme.slug.clone()),
        permissions: Some(vec!["a".to_owned()]),
        resources: Some(vec!["b/*".to_owned()]),
    })
    .await
    .expect("updated");
    assert_eq!(updated.organization_id.as_deref(), Some("11"));
    assert_eq!(updated.workspace_id.as_deref(), Some("12"));
    assert_eq!(
        (updated.name.as_str(), updated.key_prefix.as_str()),
        ("Renamed", "pk_live")
    );
    assert_eq!(updated.description.as_deref(), Some("Described"));
    assert_eq!(
        (updated.permissions.as_slice(), updated.resources.as_slice()),
        (&["a".to_owned()][..], &["b/*".to_owned()][..])
    );
    assert_eq!(updated.rate_limits.len(), 1);
    assert!(updated.updated_at >= app.updated_at);

    let untouched = update(unchanged()).await.expect("an update of nothing is one");
    assert_eq!(untouched.name, "Renamed");
    assert_eq!(untouched.permissions, ["a"]);
    assert_eq!(untouched.rate_limit_scheme_slug.as_ref(), Some(&scheme.slug));

    let cleared = update(UpdateApiAuthAppRequest {
        description: Some(String::new()),
        rate_limit_scheme_slug: Some(String::new()),
        permissions: Some(Vec::new()),
        resources: Some(Vec::new()),
        ..unchanged()
    })
    .await
    .expect("cleared");
    assert_eq!(cleared.rate_limit_scheme_slug, None);
    assert!(cleared.rate_limits.is_empty() && cleared.permissions.is_empty() && cleared.resources.is_empty());
    assert_eq!(cleared.description.unwrap_or_default(), "");
    assert_eq!(cleared.name, "Renamed");
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
    let app = client
        .api_keys()
        .update_api_auth_app(&inactive, switched_off)
        .send()
        .await
        .expect("switched off");
    assert!(!app.is_active);

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
async fn a_deleted_app_is_gone_and_its_slug_is_free() {
    let client = client();
    let app = new_app(&client, "deleted").await;
    client
        .api_keys()
        .delete_api_auth_app(&app.app_slug)
        .send()
        .await
        .expect("deleted");

    assert!(!slugs(&client, None).await.contains(&app.app_slug));
    let error = client
        .api_keys()
        .get_api_auth_app(&app.app_slug)
        .send()
        .await
        .expect_err("it is gone");
    assert_eq!(error.status_code().map(|status| status.as_u16()), Some(404));

    let again = client
        .api_keys()
        .create_api_auth_app(bare(&app.app_slug))
        .send()
        .await
        .expect("the slug is free");
    assert!(again.is_active && again.deleted_at.is_none());
}

#[tokio::test]
async fn the_global_client_reaches_the_server() {
    wacht::init(config(&token())).expect("initialised");
    let base = wacht::try_get_config().expect("configured").base_url;
    let answer = wacht::try_get_client()
        .expect("a client")
        .get(format!("{base}/api-auth/apps"))
        .send()
        .await;
    assert_eq!(answer.expect("an answer").status().as_u16(), 200);
}
