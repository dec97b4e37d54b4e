//! What every store promises, written against `Store` alone: another database passes when `fresh` opens it.
//!
//! One file per promise. Time is a manual clock that starts at `START_US`; nothing here waits for time to pass.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that fails says so by panicking"
)]

mod apps;
mod change_log;
mod deployments;
mod idempotency;
mod key_source;
mod keys;
mod restart;
mod rotation;
mod schemes;
mod tenants;
mod tokens;

use jiff::Timestamp;
use portcullis_store::entity::{App, Key, NewApp, NewKey, NewScheme, NewSecret};
use portcullis_store::{Changes, Store, StoreError};
use portcullis_verify::{Change, ChangeKind, Clock, DeploymentId, KeyHash, ManualClock, Mode, Moment, Rule, Unit};
use std::time::Duration;

/// 2026-11-21T10:00:00Z.
const START_US: i64 = 1_795_255_200_000_000;
const SECOND_US: u64 = 1_000_000;
const HOUR: Duration = Duration::from_secs(3_600);

/// A new store of its own, with a deployment.
struct Fresh {
    store: Store,
    deployment: DeploymentId,
    time: ManualClock,
    clock: Clock,
    url: String,
    _folder: tempfile::TempDir,
}

async fn fresh() -> Fresh {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/store.db", folder.path().display());
    let (clock, time) = Clock::manual(Moment {
        monotonic_us: 1,
        wall_us: START_US,
    });
    let store = Store::open(&url, clock.clone()).await.unwrap();
    let deployment = store.ensure_first_deployment().await.unwrap().id;
    Fresh {
        store,
        deployment,
        time,
        clock,
        url,
        _folder: folder,
    }
}

impl Fresh {
    /// A second way into the same database, as another process would have.
    async fn open_again(&self) -> Store {
        Store::open(&self.url, self.clock.clone()).await.unwrap()
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_microsecond(self.clock.now().wall_us).unwrap()
    }

    async fn app(&self, slug: &str) -> App {
        self.store
            .create_app(self.deployment, new_app(slug))
            .await
            .unwrap()
            .value
    }

    async fn key(&self, app_slug: &str, number: u8) -> Key {
        self.store
            .create_key(self.deployment, app_slug, new_key(number))
            .await
            .unwrap()
            .value
    }

    async fn scheme(&self, slug: &str) {
        self.store
            .create_scheme(self.deployment, new_scheme(slug))
            .await
            .unwrap();
    }

    async fn changes(&self) -> Vec<Change> {
        replay(&self.store, 0).await
    }

    async fn kinds_after(&self, revision: u64) -> Vec<ChangeKind> {
        replay(&self.store, revision)
            .await
            .into_iter()
            .map(|change| change.kind)
            .collect()
    }
}

async fn replay(store: &Store, revision: u64) -> Vec<Change> {
    match store.changes_after(revision, u32::MAX).await.unwrap() {
        Changes::Replay { changes, .. } => changes,
        Changes::Reset { head } => panic!("reset to {head:?}"),
    }
}

fn hash(number: u8) -> KeyHash {
    KeyHash([number; 32])
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

fn new_key(number: u8) -> NewKey {
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

fn new_secret(number: u8) -> NewSecret {
    NewSecret {
        hash: hash(number),
        key_prefix: "pre".into(),
        key_suffix: "wxyz9876".into(),
    }
}

fn new_scheme(slug: &str) -> NewScheme {
    NewScheme {
        slug: slug.into(),
        name: "A scheme".into(),
        description: None,
        rules: vec![rule(10)],
    }
}

fn rule(max_requests: i32) -> Rule {
    Rule {
        unit: Unit::Minute,
        duration: 1,
        max_requests,
        mode: None,
        endpoints: None,
        priority: None,
    }
}

fn full_rule() -> Rule {
    Rule {
        unit: Unit::CalendarMonth,
        duration: 1,
        max_requests: i32::MAX,
        mode: Some(Mode::PerKeyAndIp),
        endpoints: Some(vec!["/v1/*".into(), "/é".into()]),
        priority: Some(-3),
    }
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// Fails unless the call failed with this public message.
#[track_caller]
fn refused<T: std::fmt::Debug>(outcome: Result<T, StoreError>, message: &str) {
    assert_eq!(outcome.unwrap_err().to_string(), message);
}
