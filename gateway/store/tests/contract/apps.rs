use crate::{SECOND_US, fresh, full_rule, hash, new_app, new_scheme, refused, rule, strings};
use portcullis_store::entity::{AppPatch, NewApp};
use portcullis_verify::KeySource;

fn full_app(slug: &str) -> NewApp {
    NewApp {
        slug: slug.into(),
        name: "Ünïcode 'quoted\"".into(),
        key_prefix: "pre".into(),
        description: Some("text".into()),
        user_id: Some(1),
        organization_id: Some(i64::MAX),
        workspace_id: Some(3),
        scheme_slug: Some("tight".into()),
        permissions: strings(&["read", "write"]),
        resources: strings(&["invoices/*"]),
    }
}

#[tokio::test]
async fn an_app_is_read_back_as_it_was_written() {
    let it = fresh().await;
    let mut scheme = new_scheme("tight");
    scheme.rules = vec![rule(1), full_rule()];
    let scheme = it.store.create_scheme(it.deployment, scheme).await.unwrap().value;

    let app = it
        .store
        .create_app(it.deployment, full_app("full"))
        .await
        .unwrap()
        .value;
    let new = full_app("full");
    assert_eq!(
        (&app.slug, &app.name, &app.key_prefix),
        (&new.slug, &new.name, &new.key_prefix)
    );
    assert_eq!(
        (app.user_id, app.organization_id, app.workspace_id),
        (Some(1), Some(i64::MAX), Some(3))
    );
    assert_eq!(
        (&app.description, &app.permissions, &app.resources),
        (&new.description, &new.permissions, &new.resources)
    );
    let attached = app.scheme.clone().unwrap();
    assert_eq!(
        (attached.id, attached.slug, attached.rules),
        (scheme.id, scheme.slug, scheme.rules)
    );
    assert_eq!(
        (app.created_at, app.updated_at, app.deleted_at),
        (it.now(), it.now(), None)
    );
    assert!(app.is_active);

    let plain = it.app("plain").await;
    assert_eq!((plain.user_id, &plain.description, &plain.scheme), (None, &None, &None));
    assert_eq!(it.store.get_app(it.deployment, "full").await.unwrap(), app);
    assert_eq!(it.store.list_apps(it.deployment, false).await.unwrap(), [app, plain]);
}

#[tokio::test]
async fn a_patch_changes_what_it_names_and_nothing_else() {
    let it = fresh().await;
    it.scheme("tight").await;
    it.scheme("loose").await;
    let was = it.store.create_app(it.deployment, full_app("it")).await.unwrap().value;
    it.time.advance_us(SECOND_US);

    let untouched = it
        .store
        .update_app(it.deployment, "it", AppPatch::default())
        .await
        .unwrap()
        .value;
    assert_eq!(untouched.updated_at, it.now());
    assert_eq!(
        portcullis_store::entity::App {
            updated_at: was.updated_at,
            ..untouched
        },
        was
    );

    let everything = AppPatch {
        name: Some("new".into()),
        key_prefix: Some("new".into()),
        description: Some(Some("new".into())),
        is_active: Some(false),
        organization_id: Some(Some(8)),
        workspace_id: Some(Some(9)),
        scheme_slug: Some(Some("loose".into())),
        permissions: Some(strings(&["read"])),
        resources: Some(strings(&["a", "b"])),
    };
    let app = it
        .store
        .update_app(it.deployment, "it", everything)
        .await
        .unwrap()
        .value;
    assert_eq!(
        (app.name.as_str(), app.key_prefix.as_str(), app.description.as_deref()),
        ("new", "new", Some("new"))
    );
    assert_eq!(
        (app.is_active, app.organization_id, app.workspace_id),
        (false, Some(8), Some(9))
    );
    assert_eq!(app.scheme.as_ref().unwrap().slug, "loose");
    assert_eq!(
        (&app.permissions, &app.resources),
        (&strings(&["read"]), &strings(&["a", "b"]))
    );
    assert_eq!((app.id, app.user_id, &app.slug), (was.id, was.user_id, &was.slug));

    let cleared = AppPatch {
        description: Some(None),
        organization_id: Some(None),
        workspace_id: Some(None),
        scheme_slug: Some(None),
        permissions: Some(vec![]),
        resources: Some(vec![]),
        ..AppPatch::default()
    };
    let app = it.store.update_app(it.deployment, "it", cleared).await.unwrap().value;
    assert_eq!(
        (app.description, app.organization_id, app.workspace_id, app.scheme),
        (None, None, None, None)
    );
    assert!(app.permissions.is_empty() && app.resources.is_empty());
}

#[tokio::test]
async fn refusals_name_what_is_wrong_and_change_nothing() {
    let it = fresh().await;
    it.app("taken").await;
    let before = it.store.current_version().await.unwrap();
    refused(
        it.store.create_app(it.deployment, new_app("taken")).await,
        "the app `taken` already exists",
    );
    refused(
        it.store.create_app(it.deployment, full_app("it")).await,
        "`rate_limit_scheme_slug`: there is no rate-limit scheme `tight`",
    );
    let patch = AppPatch {
        scheme_slug: Some(Some("tight".into())),
        ..AppPatch::default()
    };
    refused(
        it.store.update_app(it.deployment, "taken", patch).await,
        "`rate_limit_scheme_slug`: there is no rate-limit scheme `tight`",
    );
    refused(it.store.get_app(it.deployment, "it").await, "app not found");
    refused(
        it.store.update_app(it.deployment, "it", AppPatch::default()).await,
        "app not found",
    );
    refused(it.store.delete_app(it.deployment, "it").await, "app not found");
    assert_eq!(it.store.current_version().await.unwrap(), before);
    assert_eq!(it.store.list_apps(it.deployment, true).await.unwrap().len(), 1);
}

#[tokio::test]
async fn apps_that_are_switched_off_are_listed_on_request() {
    let it = fresh().await;
    let off = it.app("off").await;
    let deleted = it.app("deleted").await;
    let on = it.app("on").await;
    let patch = AppPatch {
        is_active: Some(false),
        ..AppPatch::default()
    };
    it.store.update_app(it.deployment, "off", patch).await.unwrap();
    it.store.delete_app(it.deployment, "deleted").await.unwrap();

    let listed = |apps: Vec<portcullis_store::entity::App>| apps.into_iter().map(|app| app.id).collect::<Vec<_>>();
    assert_eq!(listed(it.store.list_apps(it.deployment, false).await.unwrap()), [on.id]);
    let all = it.store.list_apps(it.deployment, true).await.unwrap();
    assert_eq!(all[1].deleted_at, Some(it.now()));
    assert_eq!(listed(all), [off.id, deleted.id, on.id]);
    assert!(!it.store.get_app(it.deployment, "off").await.unwrap().is_active);
    refused(it.store.get_app(it.deployment, "deleted").await, "app not found");
}

#[tokio::test]
async fn a_deleted_apps_slug_is_free_and_its_keys_stay_dead() {
    let it = fresh().await;
    let old = it.app("it").await;
    let old_key = it.key("it", 1).await;
    it.store.delete_app(it.deployment, "it").await.unwrap();
    refused(it.store.delete_app(it.deployment, "it").await, "app not found");
    let new = it.app("it").await;
    let new_key = it.key("it", 2).await;
    assert_ne!(old.id, new.id);
    assert_eq!(
        it.store.list_keys(it.deployment, "it", true, it.now()).await.unwrap(),
        [new_key]
    );

    let record = it.store.fetch(&hash(1)).await.unwrap().record.unwrap();
    assert_eq!(
        (record.key_id, record.app.id, record.app.is_active),
        (old_key.id, old.id, false)
    );
    assert!(it.store.fetch(&hash(2)).await.unwrap().record.unwrap().app.is_active);
    // Its history can still be read and the key still be revoked, but not through the slug's new owner.
    assert_eq!(it.store.get_key(it.deployment, old_key.id).await.unwrap(), old_key);
    let now = it.now();
    refused(
        it.store
            .revoke_key(it.deployment, Some("it"), old_key.id, None, now)
            .await,
        "key not found",
    );
    it.store
        .revoke_key(it.deployment, None, old_key.id, None, now)
        .await
        .unwrap();
}
