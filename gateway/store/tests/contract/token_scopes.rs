use crate::{fresh, refused, strings};
use portcullis_store::entity::TokenKind::{Gateway, Management};

#[tokio::test]
async fn a_gateway_token_opens_the_apps_it_was_made_for() {
    let it = fresh().await;
    // Apps may be named before they exist, in any order and twice.
    for (number, apps, kept) in [
        (1, strings(&[]), strings(&[])),
        (2, strings(&["b", "a", "b"]), strings(&["a", "b"])),
    ] {
        let made = it
            .store
            .create_token(it.deployment, Gateway, "edge", &apps, [number; 32])
            .await
            .unwrap()
            .value;
        assert_eq!(made.apps, kept);
        let (found, _) = it.store.find_token(Gateway, [number; 32]).await.unwrap().unwrap();
        assert_eq!(found, made);
        let revoked = it.store.revoke_token(it.deployment, made.id).await.unwrap().value;
        assert_eq!(revoked.apps, kept);
        assert_eq!(
            it.store.list_tokens(it.deployment).await.unwrap().last(),
            Some(&revoked)
        );
    }
}

#[tokio::test]
async fn no_other_scope_is_stored() {
    let it = fresh().await;
    for (kind, apps, message) in [
        (
            Management,
            &["a"][..],
            "apps: only a gateway token can be kept to some apps",
        ),
        (Gateway, &["a", ""], "apps: a slug is not empty"),
    ] {
        let refusal = it
            .store
            .create_token(it.deployment, kind, "t", &strings(apps), [1; 32])
            .await;
        refused(refusal, message);
    }
    assert!(it.store.list_tokens(it.deployment).await.unwrap().is_empty());
}
