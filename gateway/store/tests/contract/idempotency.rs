use crate::{SECOND_US, fresh, new_app, new_key, refused};
use portcullis_store::entity::App;
use portcullis_store::{FirstAnswer, Once, StoredAnswer};

const DAY_US: u64 = 86_400 * SECOND_US;

fn once(endpoint: &str, key: &str) -> Once {
    Once {
        endpoint: endpoint.into(),
        idempotency_key: key.into(),
        fingerprint: [7; 32],
    }
}

fn told(app: &App) -> StoredAnswer {
    StoredAnswer {
        status: 201,
        body: format!(r#"{{"id":"{}"}}"#, app.id),
    }
}

#[tokio::test]
async fn a_repeated_app_creation_finds_the_first_answer() {
    let it = fresh().await;
    assert_eq!(it.store.first_answer(it.deployment, "apps", "k").await.unwrap(), None);
    let app = it
        .store
        .create_app_once(it.deployment, new_app("it"), once("apps", "k"), told)
        .await
        .unwrap()
        .value;
    let before = it.store.current_version().await.unwrap();
    // Said before the slug is found to be taken: the caller must hear of the repetition, not of a conflict.
    refused(
        it.store
            .create_app_once(it.deployment, new_app("it"), once("apps", "k"), told)
            .await,
        "this idempotency key was used before",
    );
    assert_eq!(it.store.current_version().await.unwrap(), before);
    let first = it.store.first_answer(it.deployment, "apps", "k").await.unwrap();
    assert_eq!(
        first,
        Some(FirstAnswer::Answer {
            fingerprint: [7; 32],
            answer: told(&app)
        })
    );
}

#[tokio::test]
async fn a_repeated_key_creation_finds_the_keys_id() {
    let it = fresh().await;
    it.app("it").await;
    let key = it
        .store
        .create_key_once(it.deployment, "it", new_key(1), once("keys", "k"))
        .await
        .unwrap()
        .value;
    refused(
        it.store
            .create_key_once(it.deployment, "it", new_key(2), once("keys", "k"))
            .await,
        "this idempotency key was used before",
    );
    assert_eq!(
        it.store.list_keys(it.deployment, "it", true, it.now()).await.unwrap(),
        std::slice::from_ref(&key)
    );
    let first = it.store.first_answer(it.deployment, "keys", "k").await.unwrap();
    assert_eq!(
        first,
        Some(FirstAnswer::Key {
            fingerprint: [7; 32],
            key_id: key.id
        })
    );
}

#[tokio::test]
async fn endpoints_and_tenants_share_no_idempotency_keys() {
    let it = fresh().await;
    let other = it.store.create_deployment("other").await.unwrap().value.id;
    it.store
        .create_app_once(it.deployment, new_app("it"), once("apps", "k"), told)
        .await
        .unwrap();
    it.store
        .create_key_once(it.deployment, "it", new_key(1), once("keys", "k"))
        .await
        .unwrap();
    assert_eq!(it.store.first_answer(other, "apps", "k").await.unwrap(), None);
    it.store
        .create_app_once(other, new_app("it"), once("apps", "k"), told)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_creation_that_failed_leaves_its_idempotency_key_free() {
    let it = fresh().await;
    it.app("taken").await;
    refused(
        it.store
            .create_app_once(it.deployment, new_app("taken"), once("apps", "k"), told)
            .await,
        "the app `taken` already exists",
    );
    assert_eq!(it.store.first_answer(it.deployment, "apps", "k").await.unwrap(), None);
    it.store
        .create_app_once(it.deployment, new_app("free"), once("apps", "k"), told)
        .await
        .unwrap();
}

#[tokio::test]
async fn an_answer_is_forgotten_after_a_day() {
    let it = fresh().await;
    it.store
        .create_app_once(it.deployment, new_app("a"), once("apps", "k"), told)
        .await
        .unwrap();
    it.time.advance_us(DAY_US - 1);
    assert!(
        it.store
            .first_answer(it.deployment, "apps", "k")
            .await
            .unwrap()
            .is_some()
    );
    assert!(
        it.store
            .create_app_once(it.deployment, new_app("b"), once("apps", "k"), told)
            .await
            .is_err()
    );
    it.time.advance_us(1);
    assert_eq!(it.store.first_answer(it.deployment, "apps", "k").await.unwrap(), None);
    let app = it
        .store
        .create_app_once(it.deployment, new_app("b"), once("apps", "k"), told)
        .await
        .unwrap()
        .value;
    let first = it.store.first_answer(it.deployment, "apps", "k").await.unwrap();
    assert_eq!(
        first,
        Some(FirstAnswer::Answer {
            fingerprint: [7; 32],
            answer: told(&app)
        })
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_simultaneous_calls_one_creates() {
    let it = fresh().await;
    let calls: Vec<_> = (0..8)
        .map(|number| {
            let (store, deployment) = (it.store.clone(), it.deployment);
            tokio::spawn(async move {
                store
                    .create_app_once(deployment, new_app(&format!("app{number}")), once("apps", "k"), told)
                    .await
            })
        })
        .collect();
    let mut created = 0;
    for call in calls {
        match call.await.unwrap() {
            Ok(_) => created += 1,
            refusal => refused(refusal, "this idempotency key was used before"),
        }
    }
    assert_eq!(created, 1);
    assert_eq!(it.store.list_apps(it.deployment, true).await.unwrap().len(), 1);
}
