use crate::{HOUR, fresh, hash, new_key, new_secret, refused, strings};
use portcullis_store::StoreError;
use portcullis_store::entity::{AppPatch, Key};
use portcullis_verify::{ChangeKind, KeySource};
use std::time::Duration;

const AT_ONCE: Duration = Duration::ZERO;

#[tokio::test]
async fn a_rotation_keeps_everything_but_the_secret() {
    let it = fresh().await;
    it.scheme("own").await;
    it.app("it").await;
    let mut new = new_key(1);
    new.permissions = strings(&["read", "write"]);
    new.metadata.insert("k".into(), 1.into());
    new.owner = Some("billing".into());
    new.owner_user_id = Some(9);
    new.environment = Some("live".into());
    new.scheme_slug = Some("own".into());
    new.expires_at = Some(it.now() + HOUR);
    let old = it.store.create_key(it.deployment, "it", new).await.unwrap().value;
    // What the app drops now stays with the key and is cut off when a request is decided.
    let patch = AppPatch {
        permissions: Some(strings(&["read"])),
        ..AppPatch::default()
    };
    it.store.update_app(it.deployment, "it", patch).await.unwrap();
    it.time.advance_us(1_000_000);
    let now = it.now();

    let rotated = it
        .store
        .rotate_key(it.deployment, Some("it"), old.id, new_secret(2), AT_ONCE, now)
        .await
        .unwrap()
        .value;
    let expected = Key {
        id: rotated.id,
        rotated_from: Some(old.id),
        key_suffix: "wxyz9876".into(),
        created_at: now,
        updated_at: now,
        ..old.clone()
    };
    assert_eq!(rotated, expected);
    assert_ne!(rotated.id, old.id);
    let dead = it.store.get_key(it.deployment, old.id).await.unwrap();
    assert_eq!(
        (dead.rotated_to, dead.revoked_at, dead.updated_at),
        (Some(rotated.id), Some(now), now)
    );
    assert_eq!(dead.revoked_reason.as_deref(), Some("Rotated"));

    let third = it
        .store
        .rotate_key(it.deployment, None, rotated.id, new_secret(3), AT_ONCE, now)
        .await
        .unwrap()
        .value;
    assert_eq!((third.lineage_id, third.rotated_from), (old.id, Some(rotated.id)));
    assert_eq!(
        it.store.fetch(&hash(3)).await.unwrap().record.unwrap().lineage_id,
        old.id
    );
}

#[tokio::test]
async fn both_hashes_reach_the_change_log_in_one_commit() {
    let it = fresh().await;
    it.app("it").await;
    let old = it.key("it", 1).await;
    let before = it.store.current_version().await.unwrap().revision;
    let rotated = it
        .store
        .rotate_key(it.deployment, None, old.id, new_secret(2), AT_ONCE, it.now())
        .await
        .unwrap();
    assert_eq!(rotated.version.revision, before + 2);
    assert_eq!(
        it.kinds_after(before).await,
        [ChangeKind::KeyChanged(hash(1)), ChangeKind::KeyCreated(hash(2))]
    );
}

#[tokio::test]
async fn a_grace_period_can_be_cut_short() {
    let it = fresh().await;
    it.app("it").await;
    let old = it.key("it", 1).await;
    let start = it.now();
    let rotated = it
        .store
        .rotate_key(it.deployment, None, old.id, new_secret(2), HOUR, start)
        .await
        .unwrap()
        .value;
    let dying = it.store.get_key(it.deployment, old.id).await.unwrap();
    assert_eq!(dying.revoked_at, Some(start + HOUR));
    assert_eq!(
        it.store
            .list_keys(it.deployment, "it", false, start)
            .await
            .unwrap()
            .len(),
        2
    );
    assert_eq!(
        it.store
            .list_keys(it.deployment, "it", false, start + HOUR)
            .await
            .unwrap()
            .len(),
        1
    );
    let record = it.store.fetch(&hash(1)).await.unwrap().record.unwrap();
    assert_eq!(record.revoked_at_us, Some((start + HOUR).as_microsecond()));

    // A second successor would split the lineage.
    refused(
        it.store
            .rotate_key(it.deployment, None, old.id, new_secret(3), AT_ONCE, start)
            .await,
        &format!("the key is rotated already; its successor is {}", rotated.id),
    );
    let cut = it
        .store
        .revoke_key(it.deployment, None, old.id, None, start)
        .await
        .unwrap()
        .value;
    assert_eq!(
        (cut.revoked_at, cut.revoked_reason.as_deref()),
        (Some(start), Some("Rotated"))
    );
    refused(
        it.store.revoke_key(it.deployment, None, old.id, None, start).await,
        "key not found",
    );
}

#[tokio::test]
async fn what_is_dead_cannot_be_rotated() {
    let it = fresh().await;
    it.app("it").await;
    it.app("other").await;
    let key = it.key("it", 1).await.id;
    let revoked = it.key("it", 2).await.id;
    it.store
        .revoke_key(it.deployment, None, revoked, None, it.now())
        .await
        .unwrap();
    let mut new = new_key(3);
    new.expires_at = Some(it.now() + HOUR);
    let expired = it.store.create_key(it.deployment, "it", new).await.unwrap().value.id;
    let later = it.now() + HOUR;
    let before = it.store.current_version().await.unwrap();
    let rotate = |app, id, grace| it.store.rotate_key(it.deployment, app, id, new_secret(9), grace, later);

    refused(rotate(None, revoked, AT_ONCE).await, "key not found");
    refused(rotate(None, expired, AT_ONCE).await, "the key is expired");
    refused(rotate(Some("other"), key, AT_ONCE).await, "key not found");
    refused(rotate(None, key, Duration::MAX).await, "grace_period_seconds: too long");
    let mut outdated = new_secret(9);
    outdated.key_prefix = "old".into();
    let outdated = it
        .store
        .rotate_key(it.deployment, None, key, outdated, AT_ONCE, later)
        .await;
    assert!(matches!(outdated, Err(StoreError::PrefixChanged { current }) if current == "pre"));
    assert_eq!(it.store.current_version().await.unwrap(), before);
    assert_eq!(it.store.fetch(&hash(9)).await.unwrap().record, None);

    it.store.delete_app(it.deployment, "it").await.unwrap();
    it.app("it").await;
    refused(rotate(None, key, AT_ONCE).await, "key not found");
}
