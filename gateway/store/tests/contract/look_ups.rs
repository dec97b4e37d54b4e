use crate::{fresh, hash, new_app, new_key, refused, strings};
use portcullis_verify::{KeyHash, KeyId, KeySource};

#[tokio::test]
async fn many_are_answered_in_the_order_of_the_question() {
    let it = fresh().await;
    it.scheme("s").await;
    let mut new = new_app("limited");
    new.scheme_slug = Some("s".into());
    it.store.create_app(it.deployment, new).await.unwrap();
    it.app("plain").await;
    for (number, app) in [(1, "limited"), (2, "plain"), (3, "plain")] {
        it.key(app, number).await;
    }
    it.store.delete_app(it.deployment, "plain").await.unwrap();
    let tenant = it.store.create_deployment("other").await.unwrap().value.id;
    it.store.create_app(tenant, new_app("plain")).await.unwrap();
    it.store.create_key(tenant, "plain", new_key(4)).await.unwrap();

    let check = async |apps: &[&str], asked: &[u8], known: &[bool]| {
        let hashes: Vec<KeyHash> = asked.iter().copied().map(hash).collect();
        let (as_of, records) = it
            .store
            .fetch_many(it.deployment, &strings(apps), &hashes)
            .await
            .unwrap();
        assert_eq!(as_of, it.store.current_version().await.unwrap());
        let found: Vec<bool> = records.iter().map(Option::is_some).collect();
        assert_eq!(found, known, "{apps:?} {asked:?}");
        for (hash, record) in hashes.iter().zip(records) {
            if record.is_some() {
                // Dead or alive, it is what a look-up of one says.
                assert_eq!(record, it.store.fetch(hash).await.unwrap().record);
            }
        }
    };
    check(&[], &[], &[]).await;
    check(&[], &[1], &[true]).await;
    check(&[], &[3, 9, 1, 2, 1], &[true, false, true, true, true]).await;
    check(&[], &[4, 1], &[false, true]).await;
    check(&["limited"], &[1, 2, 3], &[true, false, false]).await;
    check(&["none", "plain"], &[1, 2, 3, 4], &[false, true, true, false]).await;
    let all: Vec<u8> = (0..=255).collect();
    let known: Vec<bool> = all.iter().map(|number| (1..=3).contains(number)).collect();
    check(&[], &all, &known).await;

    let too_many = vec![hash(1); 257];
    refused(
        it.store.fetch_many(it.deployment, &[], &too_many).await,
        "hashes: at most 256 at once",
    );
}

/// As for a single one: what is read is what was committed up to `as_of`, no more and no less, for all of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_and_their_version_are_of_one_snapshot() {
    let it = fresh().await;
    it.app("it").await;
    let keys: Vec<(KeyHash, KeyId)> = {
        let mut keys = vec![];
        for number in 1..=20 {
            keys.push((hash(number), it.key("it", number).await.id));
        }
        keys
    };
    let start = it.store.current_version().await.unwrap().revision;
    let writer = {
        let (store, deployment, now, keys) = (it.store.clone(), it.deployment, it.now(), keys.clone());
        tokio::spawn(async move {
            for (_, id) in keys {
                store.revoke_key(deployment, None, id, None, now).await.unwrap();
            }
        })
    };
    let hashes: Vec<KeyHash> = keys.iter().map(|(hash, _)| *hash).collect();
    let mut dead = 0;
    while dead < keys.len() {
        let (as_of, records) = it.store.fetch_many(it.deployment, &[], &hashes).await.unwrap();
        dead = records
            .iter()
            .filter(|record| record.as_ref().unwrap().revoked_at_us.is_some())
            .count();
        assert_eq!(as_of.revision, start + u64::try_from(dead).unwrap());
        let page = it.store.key_page(it.deployment, &[], None, None, 100).await.unwrap();
        let gone = keys.len() - page.keys.len();
        assert_eq!(page.as_of.revision, start + u64::try_from(gone).unwrap());
    }
    writer.await.unwrap();
}
