//! Every call of one tenant on what belongs to another answers as if it did not exist.

use crate::{fresh, hash, new_app, new_key, new_scheme, new_secret, refused, rule};
use portcullis_store::entity::{AppPatch, SchemePatch, TokenKind};
use portcullis_verify::KeySource;
use std::time::Duration;

#[tokio::test]
async fn tenants_never_see_each_others_things() {
    let it = fresh().await;
    let (store, mine, now) = (&it.store, it.deployment, it.now());
    it.scheme("shared").await;
    it.app("shared").await;
    let key = it.key("shared", 1).await;
    let token = store
        .create_token(mine, TokenKind::Management, "t", &[], [1; 32])
        .await
        .unwrap()
        .value;
    let other = store.create_deployment("other").await.unwrap().value.id;
    let before = store.current_version().await.unwrap();

    assert!(store.list_apps(other, true).await.unwrap().is_empty());
    assert!(store.list_schemes(other).await.unwrap().is_empty());
    assert!(store.list_tokens(other).await.unwrap().is_empty());
    refused(store.list_keys(other, "shared", true, now).await, "app not found");
    refused(store.get_app(other, "shared").await, "app not found");
    refused(
        store.update_app(other, "shared", AppPatch::default()).await,
        "app not found",
    );
    refused(store.delete_app(other, "shared").await, "app not found");
    refused(store.create_key(other, "shared", new_key(2)).await, "app not found");
    refused(store.get_key(other, key.id).await, "key not found");
    for app in [None, Some("shared")] {
        refused(store.revoke_key(other, app, key.id, None, now).await, "key not found");
        let rotated = store
            .rotate_key(other, app, key.id, new_secret(2), Duration::ZERO, now)
            .await;
        refused(rotated, "key not found");
    }
    refused(store.get_scheme(other, "shared").await, "rate-limit scheme not found");
    let updated = store.update_scheme(other, "shared", SchemePatch::default()).await;
    refused(updated, "rate-limit scheme not found");
    refused(
        store.delete_scheme(other, "shared").await,
        "rate-limit scheme not found",
    );
    refused(store.revoke_token(other, token.id).await, "token not found");
    let mut new = new_app("theirs");
    new.scheme_slug = Some("shared".into());
    let unknown = "`rate_limit_scheme_slug`: there is no rate-limit scheme `shared`";
    refused(store.create_app(other, new).await, unknown);
    assert_eq!(store.current_version().await.unwrap(), before);

    // The same names mean other things over there.
    let mut scheme = new_scheme("shared");
    scheme.rules = vec![rule(77)];
    store.create_scheme(other, scheme).await.unwrap();
    let mut new = new_app("shared");
    new.scheme_slug = Some("shared".into());
    let theirs = store.create_app(other, new).await.unwrap().value;
    store.create_key(other, "shared", new_key(2)).await.unwrap();
    refused(
        store.revoke_key(other, Some("shared"), key.id, None, now).await,
        "key not found",
    );
    store.delete_scheme(mine, "shared").await.unwrap();
    store.delete_app(mine, "shared").await.unwrap();
    let record = store.fetch(&hash(2)).await.unwrap().record.unwrap();
    assert_eq!(
        (record.deployment_id, record.app.id, record.app.is_active),
        (other, theirs.id, true)
    );
    assert_eq!(record.scheme.unwrap().rules, [rule(77)]);
}
