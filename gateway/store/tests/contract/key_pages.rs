use crate::{Fresh, HOUR, SECOND_US, fresh, hash, new_key, new_secret, strings};
use portcullis_store::KeyPage;
use portcullis_store::entity::AppPatch;
use portcullis_verify::{AppId, DeploymentId, KeyHash, KeyId, KeySource};

/// All pages of so many keys each, which are few calls, rise, and are what a look-up says.
async fn pages(it: &Fresh, deployment: DeploymentId, apps: &[&str], app: Option<AppId>, limit: u32) -> Vec<KeyHash> {
    let apps = strings(apps);
    let (mut hashes, mut after) = (vec![], None);
    for _ in 0..100 {
        let page: KeyPage = it.store.key_page(deployment, &apps, app, after, limit).await.unwrap();
        assert_eq!(page.as_of, it.store.current_version().await.unwrap());
        assert!(page.keys.len() <= usize::try_from(limit).unwrap());
        for (hash, record) in page.keys {
            assert!(after < Some(record.key_id), "ids rise");
            after = Some(record.key_id);
            assert_eq!(it.store.fetch(&hash).await.unwrap().record, Some(record));
            hashes.push(hash);
        }
        let Some(next) = page.next else { return hashes };
        assert!(after <= Some(next), "pages rise");
        after = Some(next);
    }
    panic!("there is no end to the pages");
}

#[tokio::test]
async fn pages_hold_each_key_that_may_open_something_once() {
    let it = fresh().await;
    let (one, off, gone) = (it.app("one").await, it.app("off").await, it.app("gone").await);
    let mut ids = vec![];
    for (number, app) in (1..=12).zip(["one", "off", "gone"].iter().cycle()) {
        let mut new = new_key(number);
        new.expires_at = (number == 4).then(|| it.now() + HOUR);
        ids.push(it.store.create_key(it.deployment, app, new).await.unwrap().value.id);
    }
    let tenant = it.store.create_deployment("other").await.unwrap().value.id;
    it.store.create_app(tenant, crate::new_app("one")).await.unwrap();
    it.store.create_key(tenant, "one", new_key(99)).await.unwrap();

    let check = async |deployment, apps: &[&str], app: Option<AppId>, numbers: &[u8]| {
        let expected: Vec<KeyHash> = numbers.iter().copied().map(hash).collect();
        for limit in [1, 2, 3, 7, 100] {
            assert_eq!(
                pages(&it, deployment, apps, app, limit).await,
                expected,
                "{apps:?} {app:?} {limit}"
            );
        }
    };
    let mine = it.deployment;
    check(mine, &[], None, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]).await;
    check(tenant, &[], None, &[99]).await;
    check(mine, &["gone", "one", "none"], None, &[1, 3, 4, 6, 7, 9, 10, 12]).await;
    check(mine, &["none"], None, &[]).await;
    check(mine, &[], Some(off.id), &[2, 5, 8, 11]).await;
    check(mine, &["off"], Some(off.id), &[2, 5, 8, 11]).await;
    check(mine, &["one"], Some(off.id), &[]).await;
    check(tenant, &[], Some(one.id), &[]).await;

    // Expired, revoked, rotated away at once: gone. In a grace period or switched off: there.
    let store = &it.store;
    store.revoke_key(mine, None, ids[0], None, it.now()).await.unwrap();
    store
        .rotate_key(mine, None, ids[1], new_secret(20), std::time::Duration::ZERO, it.now())
        .await
        .unwrap();
    store
        .rotate_key(mine, None, ids[6], new_secret(21), 2 * HOUR, it.now())
        .await
        .unwrap();
    store.delete_app(mine, "gone").await.unwrap();
    let patch = AppPatch {
        is_active: Some(false),
        ..AppPatch::default()
    };
    store.update_app(mine, "off", patch).await.unwrap();
    check(mine, &[], None, &[4, 5, 7, 8, 10, 11, 20, 21]).await;
    check(mine, &["gone"], None, &[]).await;
    check(mine, &[], Some(gone.id), &[]).await;
    it.time.advance_us(3_600 * SECOND_US);
    check(mine, &[], None, &[5, 7, 8, 10, 11, 20, 21]).await;
    it.time.advance_us(3_600 * SECOND_US);
    check(mine, &["one"], None, &[10, 21]).await;
}

/// Ids rise with commits: a walk sees exactly what was created up to the version of its last page, so that whoever has followed
/// the change log since before the walk misses nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_walk_among_creations_sees_all_up_to_the_version_of_its_last_page() {
    let it = fresh().await;
    it.app("it").await;
    let writers: Vec<_> = (0..3)
        .map(|writer| {
            let (store, deployment) = (it.store.clone(), it.deployment);
            tokio::spawn(async move {
                let mut created = vec![];
                for number in 0..50 {
                    let new = new_key(writer * 50 + number);
                    created.push(store.create_key(deployment, "it", new).await.unwrap());
                }
                created
            })
        })
        .collect();
    let mut walks = vec![];
    while !writers.iter().all(tokio::task::JoinHandle::is_finished) {
        let (mut after, mut seen) = (None, vec![]);
        let as_of = loop {
            let page = it.store.key_page(it.deployment, &[], None, after, 7).await.unwrap();
            seen.extend(page.keys.iter().map(|(_, record)| record.key_id));
            match page.next {
                Some(next) => after = Some(next),
                None => break page.as_of,
            }
        };
        walks.push((as_of, seen));
    }
    let mut created = vec![];
    for writer in writers {
        created.extend(writer.await.unwrap());
    }
    created.sort_by_key(|key| key.version.revision);
    assert!(!walks.is_empty());
    for (as_of, seen) in walks {
        let expected: Vec<KeyId> = created
            .iter()
            .filter(|key| as_of.covers(key.version))
            .map(|key| key.value.id)
            .collect();
        assert_eq!(seen, expected);
    }
}

/// However many dead keys lie in between, a call looks at few, and the walk comes through.
#[tokio::test]
async fn dead_keys_make_empty_pages_not_long_ones() {
    let it = fresh().await;
    it.app("it").await;
    it.app("other").await;
    for number in 1..=30 {
        let key = it.key("it", number).await;
        it.store
            .revoke_key(it.deployment, None, key.id, None, it.now())
            .await
            .unwrap();
    }
    it.key("other", 31).await;
    let page = it.store.key_page(it.deployment, &[], None, None, 10).await.unwrap();
    assert_eq!(page.keys, []);
    assert!(page.next > Some(KeyId(0)));
    assert_eq!(pages(&it, it.deployment, &[], None, 10).await, [hash(31)]);
    assert_eq!(pages(&it, it.deployment, &["other"], None, 1).await, [hash(31)]);
}
