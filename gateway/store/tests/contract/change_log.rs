use crate::{Fresh, fresh, hash, new_app, new_key, new_scheme, new_secret};
use portcullis_store::entity::{AppPatch, Plan, SchemePatch, TokenKind};
use portcullis_store::{Changes, Store};
use portcullis_verify::ChangeKind::{self, AppChanged, KeyChanged, KeyCreated, NoKey, SchemeChanged, TokenRevoked};
use portcullis_verify::{DeploymentId, Version};
use std::time::Duration;

/// Fails unless the log gained exactly these kinds since `before` and `version` is the last of them.
async fn check(it: &Fresh, before: &mut u64, version: Version, kinds: &[ChangeKind]) {
    assert_eq!(it.kinds_after(*before).await, kinds);
    *before += u64::try_from(kinds.len()).unwrap();
    assert_eq!(version.revision, *before);
    assert_eq!(it.store.current_version().await.unwrap(), version);
}

#[tokio::test]
async fn every_mutation_says_what_it_touched() {
    let it = fresh().await;
    let (store, id) = (&it.store, it.deployment);
    // The first deployment is the first change.
    let mut at = 0;
    let version = store.current_version().await.unwrap();
    check(&it, &mut at, version, &[NoKey]).await;

    let done = store.set_plan(id, Plan::Growth).await.unwrap();
    check(&it, &mut at, done.version, &[NoKey]).await;
    let done = store
        .create_token(id, TokenKind::Gateway, "t", &[], [1; 32])
        .await
        .unwrap();
    check(&it, &mut at, done.version, &[NoKey]).await;
    let done = store.revoke_token(id, done.value.id).await.unwrap();
    check(&it, &mut at, done.version, &[TokenRevoked(done.value.id)]).await;
    let done = store.create_scheme(id, new_scheme("s")).await.unwrap();
    check(&it, &mut at, done.version, &[NoKey]).await;
    let scheme = done.value.id;
    let done = store.update_scheme(id, "s", SchemePatch::default()).await.unwrap();
    check(&it, &mut at, done.version, &[SchemeChanged(scheme)]).await;

    let done = store.create_app(id, new_app("a")).await.unwrap();
    check(&it, &mut at, done.version, &[NoKey]).await;
    let app = done.value.id;
    let patch = AppPatch {
        scheme_slug: Some(Some("s".into())),
        ..AppPatch::default()
    };
    let done = store.update_app(id, "a", patch).await.unwrap();
    check(&it, &mut at, done.version, &[AppChanged(app)]).await;
    let done = store.create_key(id, "a", new_key(1)).await.unwrap();
    check(&it, &mut at, done.version, &[KeyCreated(hash(1))]).await;
    let done = store
        .rotate_key(id, None, done.value.id, new_secret(2), Duration::ZERO, it.now())
        .await
        .unwrap();
    check(&it, &mut at, done.version, &[KeyChanged(hash(1)), KeyCreated(hash(2))]).await;
    let done = store.revoke_key(id, None, done.value.id, None, it.now()).await.unwrap();
    check(&it, &mut at, done.version, &[KeyChanged(hash(2))]).await;
    let done = store.delete_app(id, "a").await.unwrap();
    check(&it, &mut at, done.version, &[AppChanged(app)]).await;
    let done = store.delete_scheme(id, "s").await.unwrap();
    check(&it, &mut at, done.version, &[SchemeChanged(scheme)]).await;
    let done = store.create_deployment("other").await.unwrap();
    check(&it, &mut at, done.version, &[NoKey]).await;

    let deployments: Vec<DeploymentId> = it.changes().await.iter().map(|change| change.deployment_id).collect();
    let (last, others) = deployments.split_last().unwrap();
    assert_eq!(*last, done.value.id);
    assert!(others.iter().all(|other| *other == id));
}

#[tokio::test]
async fn the_log_is_read_in_pieces() {
    let it = fresh().await;
    for number in 1..=9 {
        it.app(&format!("app{number}")).await;
    }
    let head = it.store.current_version().await.unwrap();
    let mut seen = 0;
    for expected in [4, 4, 2, 0] {
        let Changes::Replay { changes, head: same } = it.store.changes_after(seen, 4).await.unwrap() else {
            panic!("reset");
        };
        assert_eq!((changes.len(), same), (expected, head));
        for change in changes {
            seen += 1;
            assert_eq!(
                change.version,
                Version {
                    epoch: head.epoch,
                    revision: seen
                }
            );
        }
    }
    for ahead in [head.revision + 1, u64::MAX] {
        assert_eq!(it.store.changes_after(ahead, 4).await.unwrap(), Changes::Reset { head });
    }
}

#[tokio::test]
async fn every_store_has_an_epoch_of_its_own() {
    let (one, other) = (fresh().await, fresh().await);
    let (one, other) = (
        one.store.current_version().await.unwrap(),
        other.store.current_version().await.unwrap(),
    );
    assert!(one.epoch > 0 && i64::try_from(one.epoch).is_ok());
    assert_ne!(one.epoch, other.epoch);
}

/// Reads the log as a tailer does until `last`, and fails on any gap or step back.
async fn tail(store: Store, last: u64) {
    let mut seen = 0;
    while seen < last {
        match store.changes_after(seen, 7).await.unwrap() {
            Changes::Replay { changes, .. } => {
                for change in changes {
                    seen += 1;
                    assert_eq!(change.version.revision, seen);
                }
            }
            Changes::Reset { head } => panic!("reset to {head:?} at {seen}"),
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn revisions_have_no_gaps_whoever_writes() {
    const WRITERS: u8 = 6;
    const WRITES: u8 = 12;
    let it = fresh().await;
    it.app("it").await;
    let start = it.store.current_version().await.unwrap().revision;
    // Every writer creates, rotates and fails in turn: 3 revisions per round.
    let last = start + 3 * u64::from(WRITERS) * u64::from(WRITES);
    let tailers = [
        tokio::spawn(tail(it.store.clone(), last)),
        tokio::spawn(tail(it.open_again().await, last)),
    ];

    let mut writers = vec![];
    for writer in 0..WRITERS {
        // Half of them through a database handle of their own, as another process would.
        let store = if writer % 2 == 0 {
            it.store.clone()
        } else {
            it.open_again().await
        };
        let (deployment, now) = (it.deployment, it.now());
        writers.push(tokio::spawn(async move {
            let mut versions = vec![];
            for round in 0..WRITES {
                let number = 1 + writer * WRITES + round;
                let created = store.create_key(deployment, "it", new_key(number)).await.unwrap();
                store.create_app(deployment, new_app("it")).await.unwrap_err();
                let secret = new_secret(128 + number);
                let rotated = store
                    .rotate_key(deployment, None, created.value.id, secret, Duration::ZERO, now)
                    .await
                    .unwrap();
                versions.extend([
                    created.version.revision,
                    rotated.version.revision - 1,
                    rotated.version.revision,
                ]);
            }
            versions
        }));
    }
    let mut versions = vec![];
    for writer in writers {
        let own = writer.await.unwrap();
        assert!(own.is_sorted());
        versions.extend(own);
    }
    versions.sort_unstable();
    assert_eq!(versions, (start + 1..=last).collect::<Vec<_>>());
    for tailer in tailers {
        tailer.await.unwrap();
    }
    assert_eq!(it.changes().await.len(), usize::try_from(last).unwrap());
}

#[tokio::test]
async fn a_commit_wakes_who_waits_for_it() {
    let it = fresh().await;
    let mut committed = it.store.committed();
    let done = it.store.create_app(it.deployment, new_app("it")).await.unwrap();
    committed.changed().await.unwrap();
    assert_eq!(*committed.borrow_and_update(), done.version.revision);
    it.store.create_app(it.deployment, new_app("it")).await.unwrap_err();
    it.store.list_apps(it.deployment, true).await.unwrap();
    assert!(!committed.has_changed().unwrap());
}

/// However far a call came before its caller hung up: if it committed, whoever waits is woken; if not, nothing is left
/// of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_caller_who_hangs_up_loses_no_commit() {
    let it = fresh().await;
    it.app("taken").await;
    let mut committed = it.store.committed();
    // Later and later, until calls come through whole.
    let mut whole = 0;
    for number in 0_u64.. {
        if whole == 3 {
            break;
        }
        let (store, deployment) = (it.store.clone(), it.deployment);
        let call = tokio::spawn(async move { store.create_app(deployment, new_app(&format!("app{number}"))).await });
        for _ in 0..number * number / 4 {
            tokio::task::yield_now().await;
        }
        call.abort();
        whole += u32::from(call.await.is_ok());
        // It waits for the writer's turn and commits nothing: after it, the call above has or has not happened.
        it.store.create_app(it.deployment, new_app("taken")).await.unwrap_err();
        let head = it.store.current_version().await.unwrap().revision;
        let woken = committed.wait_for(|revision| *revision >= head);
        tokio::time::timeout(Duration::from_secs(10), woken)
            .await
            .expect("nobody said that it committed")
            .unwrap();
    }
    // The first deployment is a change, too.
    let apps = it.store.list_apps(it.deployment, true).await.unwrap();
    assert_eq!(it.changes().await.len(), apps.len() + 1);
}
