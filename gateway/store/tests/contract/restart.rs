use crate::{SECOND_US, fresh, hash, new_app, new_scheme};
use portcullis_store::StoreError;
use portcullis_store::entity::TokenKind;
use portcullis_verify::KeySource;

#[tokio::test]
async fn a_restart_finds_everything_and_goes_on_counting() {
    let it = fresh().await;
    it.scheme("s").await;
    let app = it.app("it").await;
    let key = it.key("it", 1).await;
    let token = it
        .store
        .create_token(it.deployment, TokenKind::Gateway, "t", &[], [1; 32])
        .await
        .unwrap()
        .value;
    let gone = it
        .store
        .create_scheme(it.deployment, new_scheme("gone"))
        .await
        .unwrap()
        .value;
    it.store.delete_scheme(it.deployment, "gone").await.unwrap();
    let version = it.store.current_version().await.unwrap();
    let changes = it.changes().await;
    it.store.close().await;
    let closed = it.store.create_app(it.deployment, new_app("late")).await.unwrap_err();
    assert!(matches!(closed, StoreError::Unavailable(_)));
    assert_eq!(closed.to_string(), "the store is unavailable");

    // The clock was set back while it was down: ids go on rising all the same.
    it.time.set_wall_us(0);
    for _ in 0..2 {
        let store = it.open_again().await;
        assert_eq!(store.current_version().await.unwrap(), version);
        assert_eq!(*store.committed().borrow(), version.revision);
        assert_eq!(crate::replay(&store, 0).await, changes);
        assert_eq!(store.get_app(it.deployment, "it").await.unwrap(), app);
        assert_eq!(store.get_key(it.deployment, key.id).await.unwrap(), key);
        assert_eq!(
            store.list_tokens(it.deployment).await.unwrap(),
            std::slice::from_ref(&token)
        );
        assert_eq!(store.list_schemes(it.deployment).await.unwrap().len(), 1);
        store.close().await;
    }
    let store = it.open_again().await;
    let next = store.create_app(it.deployment, new_app("next")).await.unwrap();
    assert_eq!(
        (next.version.epoch, next.version.revision),
        (version.epoch, version.revision + 1)
    );
    assert!(next.value.id.0 > gone.id.0 && gone.id.0 > token.id);
}

#[tokio::test]
async fn two_processes_share_one_database() {
    let it = fresh().await;
    let other = it.open_again().await;
    let token = other
        .create_token(it.deployment, TokenKind::Management, "cli", &[], [1; 32])
        .await
        .unwrap();
    assert!(
        it.store
            .find_token(TokenKind::Management, [1; 32])
            .await
            .unwrap()
            .is_some()
    );
    assert_eq!(it.store.current_version().await.unwrap(), token.version);
    it.time.advance_us(SECOND_US);
    it.app("it").await;
    it.key("it", 1).await;
    assert!(other.fetch(&hash(1)).await.unwrap().record.is_some());
    // Leaving does not disturb the one that stays.
    other.close().await;
    it.key("it", 2).await;
}

/// Nothing is said goodbye to: the store is simply gone, as after a kill.
#[tokio::test]
async fn what_was_answered_needs_no_orderly_end() {
    let it = fresh().await;
    for number in 0..20 {
        let store = it.open_again().await;
        let app = store
            .create_app(it.deployment, new_app(&format!("app{number}")))
            .await
            .unwrap()
            .value;
        drop(store);
        assert_eq!(
            it.open_again().await.get_app(it.deployment, &app.slug).await.unwrap(),
            app
        );
    }
}
