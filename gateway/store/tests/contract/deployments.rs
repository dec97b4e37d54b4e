use crate::{fresh, new_app, refused};
use portcullis_store::StoreError;
use portcullis_store::entity::Plan;
use portcullis_verify::DeploymentId;

#[tokio::test]
async fn a_new_store_gets_one_deployment_and_keeps_it() {
    let it = fresh().await;
    let first = it.store.ensure_first_deployment().await.unwrap();
    assert_eq!(
        (first.name.as_str(), first.plan, first.created_at),
        ("default", Plan::Growth, it.now())
    );
    let second = it.store.create_deployment("acme").await.unwrap().value;
    assert!(second.id > first.id && first.id.0 > 0);
    assert_eq!(it.store.ensure_first_deployment().await.unwrap(), first);
    assert_eq!(it.store.list_deployments().await.unwrap(), [first, second]);
}

#[tokio::test]
async fn processes_that_start_together_agree_on_the_first_deployment() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/store.db", folder.path().display());
    let starts: Vec<_> = (0..6)
        .map(|_| {
            let url = url.clone();
            tokio::spawn(async move {
                let store = portcullis_store::Store::open(&url, portcullis_verify::Clock::system())
                    .await
                    .unwrap();
                store.ensure_first_deployment().await.unwrap().id
            })
        })
        .collect();
    let mut ids = vec![];
    for start in starts {
        ids.push(start.await.unwrap());
    }
    ids.dedup();
    assert_eq!(ids.len(), 1);
}

#[tokio::test]
async fn a_deployment_is_found_by_name_and_by_id() {
    let it = fresh().await;
    let acme = it.store.create_deployment("acme").await.unwrap().value;
    for text in ["acme".to_owned(), acme.id.to_string()] {
        assert_eq!(
            it.store.deployment_by_name_or_id(&text).await.unwrap().as_ref(),
            Some(&acme)
        );
    }
    for text in ["", "Acme", "0", "-1", "99999999999999999999"] {
        assert_eq!(it.store.deployment_by_name_or_id(text).await.unwrap(), None, "{text}");
    }
    refused(
        it.store.create_deployment("acme").await,
        "the deployment `acme` already exists",
    );
}

#[tokio::test]
async fn names_are_slugs_and_no_ids() {
    let it = fresh().await;
    for name in ["a", "0a", "a-b_c", &"a".repeat(64)] {
        it.store.create_deployment(name).await.unwrap();
    }
    for name in ["", "-a", "_a", "A", "a b", "ä", "123", &"a".repeat(65)] {
        let refusal = it.store.create_deployment(name).await;
        assert!(
            matches!(refusal, Err(StoreError::Invalid { .. })),
            "{name}: {refusal:?}"
        );
    }
}

#[tokio::test]
async fn only_growth_may_create_apps() {
    let it = fresh().await;
    it.app("before").await;
    assert_eq!(
        it.store.set_plan(it.deployment, Plan::Free).await.unwrap().value.plan,
        Plan::Free
    );
    refused(
        it.store.create_app(it.deployment, new_app("during")).await,
        "creating apps needs the plan `growth`",
    );
    assert_eq!(it.store.list_apps(it.deployment, true).await.unwrap().len(), 1);
    it.key("before", 1).await;
    it.store.set_plan(it.deployment, Plan::Growth).await.unwrap();
    it.app("after").await;
    refused(
        it.store.set_plan(DeploymentId(7), Plan::Free).await,
        "deployment not found",
    );
}
