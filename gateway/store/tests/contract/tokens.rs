use crate::{fresh, refused};
use portcullis_store::entity::TokenKind::{Gateway, Management};
use portcullis_verify::DeploymentId;

#[tokio::test]
async fn a_token_opens_its_deployment_until_it_is_revoked() {
    let it = fresh().await;
    let token = it
        .store
        .create_token(it.deployment, Management, "ci", &[], [1; 32])
        .await
        .unwrap()
        .value;
    assert_eq!(
        (token.name.as_str(), token.kind, token.revoked_at),
        ("ci", Management, None)
    );
    assert_eq!(token.created_at, it.now());

    let (found, deployment) = it.store.find_token(Management, [1; 32]).await.unwrap().unwrap();
    assert_eq!((found, deployment.id), (token.clone(), it.deployment));
    for (kind, hash) in [(Gateway, [1; 32]), (Management, [2; 32])] {
        assert_eq!(it.store.find_token(kind, hash).await.unwrap(), None);
    }

    let revoked = it.store.revoke_token(it.deployment, token.id).await.unwrap().value;
    assert_eq!(revoked.revoked_at, Some(it.now()));
    assert_eq!(it.store.find_token(Management, [1; 32]).await.unwrap(), None);
    assert_eq!(it.store.list_tokens(it.deployment).await.unwrap(), [revoked]);
    refused(it.store.revoke_token(it.deployment, token.id).await, "token not found");
    refused(it.store.revoke_token(it.deployment, 7).await, "token not found");
}

#[tokio::test]
async fn a_revoked_token_counts_and_cannot_come_back() {
    let it = fresh().await;
    assert_eq!(it.store.count_tokens(Management).await.unwrap(), 0);
    let token = it
        .store
        .create_token(it.deployment, Management, "bootstrap", &[], [1; 32])
        .await
        .unwrap()
        .value;
    it.store
        .create_token(it.deployment, Gateway, "bootstrap", &[], [2; 32])
        .await
        .unwrap();
    it.store.revoke_token(it.deployment, token.id).await.unwrap();
    assert_eq!(it.store.count_tokens(Management).await.unwrap(), 1);
    for kind in [Management, Gateway] {
        refused(
            it.store.create_token(it.deployment, kind, "again", &[], [1; 32]).await,
            "this token already exists",
        );
    }
    refused(
        it.store
            .create_token(DeploymentId(7), Gateway, "lost", &[], [3; 32])
            .await,
        "deployment not found",
    );
}
