//! What is particular to the PostgreSQL store: who may be a store, several processes on one database, and what becomes of
//! calls when the server does not answer.
//!
//! The contract suite runs on it as on SQLite; here is what SQLite cannot show.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that fails says so by panicking"
)]

mod indexes;
mod kills;
mod least_rights;
mod listening;
mod outages;
mod servers;
mod sessions;
mod several_writers;
mod stalling_proxy;
mod tls;

use portcullis_postgres_server::{PASSWORD, PostgresServer};
use portcullis_store::entity::{NewApp, NewKey};
use portcullis_store::{Changes, Store, StoreError};
use portcullis_verify::{Change, Clock, DeploymentId, KeyHash};
use std::sync::OnceLock;
use std::time::Duration;

/// Longer than any call may take: waiting for a connection, for the lock and for an answer.
const BOUND: Duration = Duration::from_secs(22);

/// For tests that leave the server alone; the others start their own.
fn shared_server() -> &'static PostgresServer {
    static SERVER: OnceLock<PostgresServer> = OnceLock::new();
    SERVER.get_or_init(PostgresServer::start)
}

/// Opens a store, with its first deployment.
async fn open(url: &str) -> (Store, DeploymentId) {
    let store = Store::open(url, Clock::system()).await.unwrap();
    let deployment = store.ensure_first_deployment().await.unwrap().id;
    (store, deployment)
}

/// The name of the database in a URL.
fn database_of(url: &str) -> &str {
    url.rsplit('/').next().unwrap()
}

/// Waits for a call as long as it may take at most.
async fn in_time<T>(call: impl Future<Output = T>) -> T {
    tokio::time::timeout(BOUND, call).await.expect("a call has no end")
}

/// Fails unless the call failed because the server did, without its password in any text.
#[track_caller]
fn unavailable<T: std::fmt::Debug>(outcome: Result<T, StoreError>) -> String {
    let error = outcome.unwrap_err();
    assert_eq!(error.to_string(), "the store is unavailable");
    let mut text = format!("{error:?}");
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text = format!("{text} {cause}");
        source = cause.source();
    }
    assert!(!text.contains(PASSWORD), "{text}");
    text
}

async fn replay(store: &Store, after: u64) -> Vec<Change> {
    match store.changes_after(after, u32::MAX).await.unwrap() {
        Changes::Replay { changes, .. } => changes,
        Changes::Reset { head } => panic!("reset to {head:?}"),
    }
}

fn new_app(slug: &str) -> NewApp {
    NewApp {
        slug: slug.into(),
        name: "An app".into(),
        key_prefix: "pre".into(),
        description: None,
        user_id: None,
        organization_id: None,
        workspace_id: None,
        scheme_slug: None,
        permissions: vec![],
        resources: vec![],
    }
}

fn new_key(number: u32) -> NewKey {
    NewKey {
        hash: hash(number),
        key_prefix: "pre".into(),
        key_suffix: "abcd1234".into(),
        name: "A key".into(),
        permissions: vec![],
        metadata: serde_json::Map::new(),
        owner: None,
        owner_user_id: None,
        environment: None,
        scheme_slug: None,
        expires_at: None,
    }
}

fn hash(number: u32) -> KeyHash {
    let mut hash = [0; 32];
    hash[..4].copy_from_slice(&number.to_le_bytes());
    KeyHash(hash)
}
