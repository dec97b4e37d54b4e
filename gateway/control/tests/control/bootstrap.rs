//! The first start makes the first deployment and tokens; later starts make none.

use portcullis_control::{BootstrapError, bootstrap, token};
use portcullis_store::Store;
use portcullis_store::entity::TokenKind;
use portcullis_verify::Clock;

async fn store(folder: &tempfile::TempDir) -> Store {
    let url = format!("sqlite://{}/portcullis.db", folder.path().display());
    Store::open(&url, Clock::system()).await.unwrap()
}

async fn opens(store: &Store, kind: TokenKind, text: &str) -> bool {
    store.find_token(kind, token::hash(text)).await.unwrap().is_some()
}

fn owned(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[tokio::test]
async fn the_first_start_makes_a_token_and_tells_it_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder).await;
    let first = bootstrap(&store, None, None).await.unwrap();
    assert_eq!(first.deployment.name, "default");
    assert!(
        !format!("{first:?}").contains("pcm_"),
        "it is told only to who asks for it"
    );
    let told = first.printed_token.expect("the first start tells a token");
    assert!(told.expose().starts_with("pcm_"));
    assert!(opens(&store, TokenKind::Management, told.expose()).await);
    assert!(!opens(&store, TokenKind::Gateway, told.expose()).await);
    let second = bootstrap(&store, None, None).await.unwrap();
    assert!(second.printed_token.is_none());
    assert_eq!(second.deployment, first.deployment);
    assert_eq!(store.count_tokens(TokenKind::Management).await.unwrap(), 1);
    assert_eq!(store.count_tokens(TokenKind::Gateway).await.unwrap(), 0);
}

#[tokio::test]
async fn given_tokens_become_the_first_and_are_ignored_later() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder).await;
    let started = bootstrap(&store, owned("my-management-token"), owned("my-gateway-token"))
        .await
        .unwrap();
    assert!(started.printed_token.is_none());
    assert!(opens(&store, TokenKind::Management, "my-management-token").await);
    assert!(opens(&store, TokenKind::Gateway, "my-gateway-token").await);
    bootstrap(
        &store,
        owned("another-management-token"),
        owned("another-gateway-token"),
    )
    .await
    .unwrap();
    assert!(!opens(&store, TokenKind::Management, "another-management-token").await);
    assert!(!opens(&store, TokenKind::Gateway, "another-gateway-token").await);
}

#[tokio::test]
async fn a_revoked_bootstrap_token_is_not_revived_by_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder).await;
    let deployment = bootstrap(&store, owned("my-management-token"), None)
        .await
        .unwrap()
        .deployment;
    let tokens = store.list_tokens(deployment.id).await.unwrap();
    store.revoke_token(deployment.id, tokens[0].id).await.unwrap();
    let restarted = bootstrap(&store, owned("my-management-token"), None).await.unwrap();
    assert!(restarted.printed_token.is_none());
    assert!(!opens(&store, TokenKind::Management, "my-management-token").await);
}

#[tokio::test]
async fn unfit_tokens_stop_the_start_and_are_not_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder).await;
    for bad in ["too-short", "with spaces in the middle of it"] {
        for (management, gateway) in [(owned(bad), None), (None, owned(bad))] {
            let error = bootstrap(&store, management, gateway).await.unwrap_err();
            assert!(matches!(error, BootstrapError::UnfitToken { .. }));
            assert!(error.to_string().starts_with("PORTCULLIS_BOOTSTRAP_") && !error.to_string().contains(bad));
        }
    }
    assert_eq!(store.count_tokens(TokenKind::Management).await.unwrap(), 0);
    // An empty variable is none.
    assert!(
        bootstrap(&store, owned(""), owned(""))
            .await
            .unwrap()
            .printed_token
            .is_some()
    );
}
