use crate::{HOUR, SECOND_US, fresh, new_key, refused, strings};
use jiff::Timestamp;
use portcullis_store::StoreError;
use portcullis_store::entity::{AppPatch, Key};
use portcullis_verify::KeyId;

#[tokio::test]
async fn a_key_is_read_back_as_it_was_written() {
    let it = fresh().await;
    it.scheme("own").await;
    it.scheme("of_app").await;
    it.app("it").await;
    let patch = AppPatch {
        scheme_slug: Some(Some("of_app".into())),
        organization_id: Some(Some(5)),
        workspace_id: Some(Some(6)),
        ..AppPatch::default()
    };
    let app = it.store.update_app(it.deployment, "it", patch).await.unwrap().value;

    let mut new = new_key(1);
    new.permissions = strings(&["b", "a", "b"]);
    new.metadata = serde_json::from_str(r#"{"z":[1.5,null,{"deep":"ß"}],"a":18446744073709551615}"#).unwrap();
    new.owner = Some("billing".into());
    new.owner_user_id = Some(9);
    new.environment = Some("live".into());
    new.scheme_slug = Some("own".into());
    // Finer than what is stored: the answer must already say what will be read later.
    new.expires_at = Some("2026-12-24T18:00:00.123456789Z".parse().unwrap());
    let key = it
        .store
        .create_key(it.deployment, "it", new.clone())
        .await
        .unwrap()
        .value;

    assert_eq!((key.lineage_id, key.rotated_from, key.rotated_to), (key.id, None, None));
    assert_eq!(
        (key.deployment_id, key.app_id, key.app_slug.as_str()),
        (it.deployment, app.id, "it")
    );
    assert_eq!((key.organization_id, key.workspace_id), (Some(5), Some(6)));
    assert_eq!(
        (&key.name, &key.key_prefix, &key.key_suffix),
        (&new.name, &new.key_prefix, &new.key_suffix)
    );
    assert_eq!(
        (&key.permissions, &key.metadata, &key.owner),
        (&new.permissions, &new.metadata, &new.owner)
    );
    assert_eq!((key.owner_user_id, key.environment.as_deref()), (Some(9), Some("live")));
    assert_eq!(
        (key.scheme.as_ref().unwrap().slug.as_str(), key.scheme_is_own),
        ("own", true)
    );
    assert_eq!(key.expires_at, Some("2026-12-24T18:00:00.123456Z".parse().unwrap()));
    assert_eq!(
        (key.created_at, key.updated_at, key.last_used_at),
        (it.now(), it.now(), None)
    );
    assert_eq!((key.revoked_at, &key.revoked_reason), (None, &None));
    assert_eq!(it.store.get_key(it.deployment, key.id).await.unwrap(), key);

    let plain = it.key("it", 2).await;
    assert_eq!(
        (plain.scheme.as_ref().unwrap().slug.as_str(), plain.scheme_is_own),
        ("of_app", false)
    );
    assert_eq!((&plain.owner, plain.expires_at, plain.metadata.len()), (&None, None, 0));
    assert_eq!(
        it.store.list_keys(it.deployment, "it", false, it.now()).await.unwrap(),
        [key, plain]
    );
}

#[tokio::test]
async fn a_key_must_fit_its_app_when_it_is_written() {
    let it = fresh().await;
    it.app("it").await;
    let patch = AppPatch {
        permissions: Some(strings(&["read", "write"])),
        ..AppPatch::default()
    };
    it.store.update_app(it.deployment, "it", patch).await.unwrap();
    let before = it.store.current_version().await.unwrap();
    let create = |change: fn(&mut portcullis_store::entity::NewKey)| {
        let mut new = new_key(1);
        change(&mut new);
        it.store.create_key(it.deployment, "it", new)
    };
    refused(
        create(|new| new.permissions = strings(&["read", "rea"])).await,
        "permissions: `rea` is not among the permissions of the app `it`",
    );
    refused(
        create(|new| new.scheme_slug = Some("none".into())).await,
        "`rate_limit_scheme_slug`: there is no rate-limit scheme `none`",
    );
    let outdated = create(|new| new.key_prefix = "old".into()).await;
    assert!(matches!(outdated, Err(StoreError::PrefixChanged { current }) if current == "pre"));
    refused(
        it.store.create_key(it.deployment, "other", new_key(1)).await,
        "app not found",
    );
    assert_eq!(it.store.current_version().await.unwrap(), before);

    create(|new| new.permissions = strings(&["write"])).await.unwrap();
    // An inactive app takes keys; they open nothing until it is switched on.
    let patch = AppPatch {
        is_active: Some(false),
        ..AppPatch::default()
    };
    it.store.update_app(it.deployment, "it", patch).await.unwrap();
    it.key("it", 2).await;
    // The same hash again is no caller's mistake and must not replace the key that has it.
    let again = it.store.create_key(it.deployment, "it", new_key(2)).await;
    assert!(matches!(again, Err(StoreError::Unavailable(_))));
}

#[tokio::test]
async fn a_revocation_happens_once() {
    let it = fresh().await;
    it.app("it").await;
    it.app("other").await;
    let key = it.key("it", 1).await;
    it.time.advance_us(SECOND_US);
    let now = it.now();
    refused(
        it.store
            .revoke_key(it.deployment, Some("other"), key.id, None, now)
            .await,
        "key not found",
    );
    refused(
        it.store.revoke_key(it.deployment, None, KeyId(7), None, now).await,
        "key not found",
    );
    let revoked = it
        .store
        .revoke_key(it.deployment, Some("it"), key.id, Some("leaked"), now)
        .await
        .unwrap()
        .value;
    assert_eq!((revoked.revoked_at, revoked.updated_at), (Some(now), now));
    assert_eq!(revoked.revoked_reason.as_deref(), Some("leaked"));
    refused(
        it.store.revoke_key(it.deployment, Some("it"), key.id, None, now).await,
        "key not found",
    );
    assert_eq!(it.store.get_key(it.deployment, key.id).await.unwrap(), revoked);

    let silent = it.key("it", 2).await;
    assert_eq!(
        it.store
            .revoke_key(it.deployment, None, silent.id, None, now)
            .await
            .unwrap()
            .value
            .revoked_reason,
        None
    );
}

#[tokio::test]
async fn a_list_leaves_out_what_is_dead_now() {
    let it = fresh().await;
    it.app("it").await;
    let now = it.now();
    let alive = it.key("it", 1).await.id;
    let revoked = it.key("it", 2).await.id;
    it.store
        .revoke_key(it.deployment, None, revoked, None, now)
        .await
        .unwrap();
    let mut new = new_key(3);
    new.expires_at = Some(now + HOUR);
    let expiring = it.store.create_key(it.deployment, "it", new).await.unwrap().value.id;

    let ids = |keys: Vec<Key>| keys.into_iter().map(|key| key.id).collect::<Vec<_>>();
    let list = |include_inactive: bool, now: Timestamp| it.store.list_keys(it.deployment, "it", include_inactive, now);
    let instant = Timestamp::from_microsecond(1).unwrap() - Timestamp::UNIX_EPOCH;
    assert_eq!(ids(list(false, now).await.unwrap()), [alive, expiring]);
    assert_eq!(ids(list(false, now + HOUR - instant).await.unwrap()), [alive, expiring]);
    assert_eq!(ids(list(false, now + HOUR).await.unwrap()), [alive]);
    assert_eq!(ids(list(true, now + HOUR).await.unwrap()), [alive, revoked, expiring]);
    refused(
        it.store.list_keys(it.deployment, "none", true, now).await,
        "app not found",
    );
}
