use crate::{HOUR, fresh, full_rule, hash, new_app, new_key, new_scheme, new_secret, refused, rule};
use portcullis_store::entity::{AppPatch, SchemePatch};
use portcullis_verify::{DeploymentId, KeySource};
use std::time::Duration;

#[tokio::test]
async fn a_scheme_is_read_back_as_it_was_written() {
    let it = fresh().await;
    let mut new = new_scheme("full");
    new.description = Some("text".into());
    new.rules = vec![full_rule(), rule(3)];
    let scheme = it.store.create_scheme(it.deployment, new.clone()).await.unwrap().value;
    assert_eq!(
        (&scheme.slug, &scheme.name, &scheme.description),
        (&new.slug, &new.name, &new.description)
    );
    assert_eq!(
        (&scheme.rules, scheme.created_at, scheme.updated_at),
        (&new.rules, it.now(), it.now())
    );
    assert_eq!(it.store.get_scheme(it.deployment, "full").await.unwrap(), scheme);
    refused(
        it.store.create_scheme(it.deployment, new).await,
        "the rate-limit scheme `full` already exists",
    );
    refused(
        it.store.create_scheme(DeploymentId(7), new_scheme("lost")).await,
        "deployment not found",
    );

    it.time.advance_us(1_000_000);
    let same = it
        .store
        .update_scheme(it.deployment, "full", SchemePatch::default())
        .await
        .unwrap()
        .value;
    assert_eq!(
        (&same.rules, &same.description, same.updated_at),
        (&scheme.rules, &scheme.description, it.now())
    );
    let patch = SchemePatch {
        name: Some("new".into()),
        description: Some(None),
        rules: Some(vec![rule(5)]),
    };
    let changed = it
        .store
        .update_scheme(it.deployment, "full", patch)
        .await
        .unwrap()
        .value;
    assert_eq!(
        (changed.name.as_str(), &changed.description, &changed.rules),
        ("new", &None, &vec![rule(5)])
    );
    assert_eq!(it.store.list_schemes(it.deployment).await.unwrap(), [changed]);

    refused(
        it.store.get_scheme(it.deployment, "none").await,
        "rate-limit scheme not found",
    );
    refused(
        it.store
            .update_scheme(it.deployment, "none", SchemePatch::default())
            .await,
        "rate-limit scheme not found",
    );
    refused(
        it.store.delete_scheme(it.deployment, "none").await,
        "rate-limit scheme not found",
    );
}

#[tokio::test]
async fn a_scheme_in_use_names_its_users() {
    let it = fresh().await;
    it.scheme("used").await;
    let mut apps = vec![];
    for slug in ["a", "b", "c", "d"] {
        let mut new = new_app(slug);
        new.scheme_slug = Some("used".into());
        apps.push(it.store.create_app(it.deployment, new).await.unwrap().value);
    }
    let mut new = new_key(1);
    new.scheme_slug = Some("used".into());
    let key = it.store.create_key(it.deployment, "a", new).await.unwrap().value;
    refused(
        it.store.delete_scheme(it.deployment, "used").await,
        &format!(
            "the rate-limit scheme `used` is in use by the app `a`, the app `b`, the app `c`, the key {} of the \
             app `a` and 1 more",
            key.id
        ),
    );
    assert_eq!(it.store.get_scheme(it.deployment, "used").await.unwrap().slug, "used");

    for slug in ["b", "c", "d"] {
        it.store.delete_app(it.deployment, slug).await.unwrap();
    }
    let patch = AppPatch {
        scheme_slug: Some(None),
        ..AppPatch::default()
    };
    it.store.update_app(it.deployment, "a", patch).await.unwrap();
    // In its grace period the old key still opens, and the new one has the scheme too.
    it.store
        .rotate_key(it.deployment, None, key.id, new_secret(2), HOUR, it.now())
        .await
        .unwrap();
    let in_use = it
        .store
        .delete_scheme(it.deployment, "used")
        .await
        .unwrap_err()
        .to_string();
    assert!(
        in_use.contains(&format!("the key {} of", key.id)) && !in_use.contains("more"),
        "{in_use}"
    );
}

#[tokio::test]
async fn a_scheme_that_only_the_dead_used_can_be_deleted() {
    let it = fresh().await;
    it.scheme("used").await;
    it.app("it").await;
    let mut new = new_app("deleted");
    new.scheme_slug = Some("used".into());
    it.store.create_app(it.deployment, new).await.unwrap();
    let mut new = new_key(1);
    new.scheme_slug = Some("used".into());
    let key = it
        .store
        .create_key(it.deployment, "it", new.clone())
        .await
        .unwrap()
        .value;
    new.hash = hash(2);
    it.store.create_key(it.deployment, "deleted", new).await.unwrap();
    it.store
        .revoke_key(it.deployment, None, key.id, None, it.now())
        .await
        .unwrap();
    it.store.delete_app(it.deployment, "deleted").await.unwrap();

    it.store.delete_scheme(it.deployment, "used").await.unwrap();
    let key = it.store.get_key(it.deployment, key.id).await.unwrap();
    assert_eq!((key.scheme, key.scheme_is_own), (None, false));
    assert_eq!(it.store.fetch(&hash(2)).await.unwrap().record.unwrap().scheme, None);
    it.scheme("used").await;
}

#[tokio::test]
async fn a_grace_period_that_is_over_frees_the_scheme() {
    let it = fresh().await;
    it.scheme("used").await;
    it.app("it").await;
    let mut new = new_key(1);
    new.scheme_slug = Some("used".into());
    let key = it.store.create_key(it.deployment, "it", new).await.unwrap().value;
    let rotated = it
        .store
        .rotate_key(it.deployment, None, key.id, new_secret(2), HOUR, it.now())
        .await
        .unwrap()
        .value;
    it.store
        .revoke_key(it.deployment, None, rotated.id, None, it.now())
        .await
        .unwrap();
    assert!(it.store.delete_scheme(it.deployment, "used").await.is_err());
    it.time
        .advance_us(u64::try_from(Duration::from_secs(3_600).as_micros()).unwrap());
    it.store.delete_scheme(it.deployment, "used").await.unwrap();
}
