use crate::{HOUR, fresh, full_rule, hash, new_app, new_key, new_scheme, new_secret, rule, strings};
use portcullis_store::entity::{AppPatch, SchemePatch};
use portcullis_verify::{KeyRecord, KeySource, Rule};

#[tokio::test]
async fn a_record_has_all_that_a_decision_needs() {
    let it = fresh().await;
    let mut scheme = new_scheme("of_app");
    scheme.rules = vec![full_rule(), rule(3)];
    it.store.create_scheme(it.deployment, scheme).await.unwrap();
    let mut new = new_app("it");
    new.user_id = Some(4);
    new.organization_id = Some(5);
    new.workspace_id = Some(6);
    new.scheme_slug = Some("of_app".into());
    new.permissions = strings(&["read", "write"]);
    new.resources = strings(&["invoices/*"]);
    let app = it.store.create_app(it.deployment, new).await.unwrap().value;
    let mut new = new_key(1);
    new.permissions = strings(&["write"]);
    new.metadata.insert("k".into(), serde_json::json!([1, null]));
    new.expires_at = Some(it.now() + HOUR);
    let key = it.store.create_key(it.deployment, "it", new.clone()).await.unwrap();

    let fetched = it.store.fetch(&hash(1)).await.unwrap();
    assert_eq!(fetched.as_of, key.version);
    let record = fetched.record.unwrap();
    assert_eq!((record.key_id, record.lineage_id), (key.value.id, key.value.id));
    assert_eq!(
        (record.deployment_id, record.app.id, record.app.slug.as_str()),
        (it.deployment, app.id, "it")
    );
    assert_eq!(
        (record.app.is_active, &record.app.permissions),
        (true, &app.permissions)
    );
    assert_eq!((&record.app.resources, &record.name), (&app.resources, &new.name));
    assert_eq!(
        (&record.permissions, &record.metadata),
        (&new.permissions, &new.metadata)
    );
    assert_eq!(
        (record.owner_user_id, record.organization_id, record.workspace_id),
        (Some(4), Some(5), Some(6))
    );
    assert_eq!(
        (record.expires_at_us, record.revoked_at_us),
        (new.expires_at.map(|at| at.as_microsecond()), None)
    );
    let scheme = record.scheme.unwrap();
    assert!(!scheme.is_keys_own, "it is the app's");
    assert_eq!(scheme.rules, [full_rule(), rule(3)]);

    let unknown = it.store.fetch(&hash(2)).await.unwrap();
    assert_eq!((unknown.record, unknown.as_of), (None, key.version));
}

#[tokio::test]
async fn what_the_key_says_itself_wins_over_its_app() {
    let it = fresh().await;
    it.scheme("of_app").await;
    let mut own = new_scheme("own");
    own.rules = vec![rule(99)];
    it.store.create_scheme(it.deployment, own).await.unwrap();
    let mut new = new_app("it");
    new.user_id = Some(4);
    new.scheme_slug = Some("of_app".into());
    it.store.create_app(it.deployment, new).await.unwrap();
    let mut new = new_key(1);
    new.owner_user_id = Some(9);
    new.scheme_slug = Some("own".into());
    it.store.create_key(it.deployment, "it", new).await.unwrap();
    let record = it.store.fetch(&hash(1)).await.unwrap().record.unwrap();
    let scheme = record.scheme.unwrap();
    assert_eq!(
        (record.owner_user_id, scheme.is_keys_own, scheme.rules),
        (Some(9), true, vec![rule(99)])
    );
    // The app comes under the same scheme: then it is the app's.
    let patch = AppPatch {
        scheme_slug: Some(Some("own".into())),
        ..AppPatch::default()
    };
    it.store.update_app(it.deployment, "it", patch).await.unwrap();
    let record = it.store.fetch(&hash(1)).await.unwrap().record.unwrap();
    assert!(!record.scheme.unwrap().is_keys_own);
    // And under none.
    let patch = AppPatch {
        scheme_slug: Some(None),
        ..AppPatch::default()
    };
    it.store.update_app(it.deployment, "it", patch).await.unwrap();
    let record = it.store.fetch(&hash(1)).await.unwrap().record.unwrap();
    assert!(record.scheme.unwrap().is_keys_own);
}

#[tokio::test]
async fn a_fetch_after_a_mutation_covers_it() {
    let it = fresh().await;
    it.scheme("s").await;
    it.app("it").await;
    let key = it.key("it", 1).await;
    let fetch = async |number| it.store.fetch(&hash(number)).await.unwrap();
    let rules =
        |record: Option<KeyRecord>| -> Vec<Rule> { record.unwrap().scheme.map_or(vec![], |scheme| scheme.rules) };

    let patch = AppPatch {
        scheme_slug: Some(Some("s".into())),
        ..AppPatch::default()
    };
    let done = it.store.update_app(it.deployment, "it", patch).await.unwrap();
    let fetched = fetch(1).await;
    assert!(fetched.as_of.covers(done.version));
    assert_eq!(rules(fetched.record), [rule(10)]);

    let patch = SchemePatch {
        rules: Some(vec![rule(11)]),
        ..SchemePatch::default()
    };
    let done = it.store.update_scheme(it.deployment, "s", patch).await.unwrap();
    let fetched = fetch(1).await;
    assert!(fetched.as_of.covers(done.version));
    assert_eq!(rules(fetched.record), [rule(11)]);

    for is_active in [false, true] {
        let patch = AppPatch {
            is_active: Some(is_active),
            ..AppPatch::default()
        };
        let done = it.store.update_app(it.deployment, "it", patch).await.unwrap();
        let fetched = fetch(1).await;
        assert!(fetched.as_of.covers(done.version));
        assert_eq!(fetched.record.unwrap().app.is_active, is_active);
    }

    let done = it
        .store
        .rotate_key(it.deployment, None, key.id, new_secret(2), HOUR, it.now())
        .await
        .unwrap();
    let (old, new) = (fetch(1).await, fetch(2).await);
    assert!(old.as_of.covers(done.version) && new.as_of.covers(done.version));
    assert_eq!(
        old.record.unwrap().revoked_at_us,
        Some((it.now() + HOUR).as_microsecond())
    );
    assert_eq!(new.record.unwrap().revoked_at_us, None);

    // A revocation that has begun is no question of time: a wall clock that is set back must not undo it.
    for (n, revoked) in [(1, key.id), (2, done.value.id)] {
        it.store
            .revoke_key(it.deployment, None, revoked, None, it.now())
            .await
            .unwrap();
        assert_eq!(fetch(n).await.record.unwrap().revoked_at_us, Some(0));
    }
}

/// The fence in the cache rests on this: what is read is what was committed up to `as_of`, no more and no less.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_record_and_its_version_are_of_one_snapshot() {
    let it = fresh().await;
    it.app("it").await;
    it.key("it", 1).await;
    let first = it.store.current_version().await.unwrap().revision;
    // Each update names the revision that it will get; nobody else writes.
    let writer = {
        let (store, deployment) = (it.store.clone(), it.deployment);
        tokio::spawn(async move {
            for _ in 0..150 {
                let next = store.current_version().await.unwrap().revision + 1;
                let patch = AppPatch {
                    permissions: Some(vec![next.to_string()]),
                    ..AppPatch::default()
                };
                let done = store.update_app(deployment, "it", patch).await.unwrap();
                assert_eq!(done.version.revision, next);
            }
        })
    };
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let store = it.store.clone();
            tokio::spawn(async move {
                let mut seen = 0_u64;
                let mut distinct = 0;
                while seen < first + 150 {
                    let fetched = store.fetch(&hash(1)).await.unwrap();
                    if fetched.as_of.revision > seen {
                        distinct += 1;
                    }
                    assert!(fetched.as_of.revision >= seen, "a later read saw less");
                    seen = fetched.as_of.revision;
                    if let Some(permission) = fetched.record.unwrap().app.permissions.first() {
                        assert_eq!(permission.parse(), Ok(seen));
                    }
                }
                distinct
            })
        })
        .collect();
    writer.await.unwrap();
    for reader in readers {
        assert!(reader.await.unwrap() > 1);
    }
}

#[tokio::test]
async fn a_closed_store_is_no_answer_about_a_key() {
    let it = fresh().await;
    it.store.close().await;
    let error = it.store.fetch(&hash(1)).await.unwrap_err();
    assert!(error.cause.contains("closed"), "{error}");
}
