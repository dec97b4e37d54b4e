//! What every store promises, written against `Store` alone. Each database has a test crate that brings a `Place` and
//! runs all of this.
//!
//! One file per promise. Time is a manual clock that starts at `START_US`; nothing here waits for time to pass.

mod apps;
mod change_log;
mod compaction;
mod deployments;
mod gateways;
mod idempotency;
mod key_pages;
mod key_source;
mod keys;
mod look_ups;
mod restart;
mod rotation;
mod schemes;
mod tenants;
mod token_scopes;
mod tokens;
mod usage;

use crate::Place;
use jiff::Timestamp;
use portcullis_store::entity::{App, Key, NewApp, NewKey, NewScheme, NewSecret};
use portcullis_store::{Changes, Store, StoreError};
use portcullis_verify::{Change, ChangeKind, Clock, DeploymentId, KeyHash, ManualClock, Mode, Moment, Rule, Unit};
use std::time::Duration;

/// 2026-11-21T10:00:00Z.
pub(crate) const START_US: i64 = 1_795_255_200_000_000;
pub(crate) const SECOND_US: u64 = 1_000_000;
pub(crate) const HOUR: Duration = Duration::from_secs(3_600);

/// A new store of its own, with a deployment.
pub(crate) struct Fresh {
    pub(crate) store: Store,
    pub(crate) deployment: DeploymentId,
    pub(crate) time: ManualClock,
    pub(crate) clock: Clock,
    pub(crate) place: Place,
}

pub(crate) async fn fresh() -> Fresh {
    let place = Place::new();
    let (clock, time) = Clock::manual(Moment {
        monotonic_us: 1,
        wall_us: START_US,
    });
    let store = Store::open(place.url(), clock.clone()).await.unwrap();
    let deployment = store.ensure_first_deployment().await.unwrap().id;
    Fresh {
        store,
        deployment,
        time,
        clock,
        place,
    }
}

impl Fresh {
    /// A second way into the same database, as another process would have.
    pub(crate) async fn open_again(&self) -> Store {
        Store::open(self.place.url(), self.clock.clone()).await.unwrap()
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_microsecond(self.clock.now().wall_us).unwrap()
    }

    pub(crate) async fn app(&self, slug: &str) -> App {
        self.store
            .create_app(self.deployment, new_app(slug))
            .await
            .unwrap()
            .value
    }

    pub(crate) async fn key(&self, app_slug: &str, number: u8) -> Key {
        self.store
            .create_key(self.deployment, app_slug, new_key(number))
            .await
            .unwrap()
            .value
    }

    pub(crate) async fn scheme(&self, slug: &str) {
        self.store
            .create_scheme(self.deployment, new_scheme(slug))
            .await
            .unwrap();
    }

    pub(crate) async fn changes(&self) -> Vec<Change> {
        replay(&self.store, 0).await
    }

    pub(crate) async fn kinds_after(&self, revision: u64) -> Vec<ChangeKind> {
        replay(&self.store, revision)
            .await
            .into_iter()
            .map(|change| change.kind)
            .collect()
    }
}

pub(crate) async fn replay(store: &Store, revision: u64) -> Vec<Change> {
    match store.changes_after(revision, u32::MAX).await.unwrap() {
        Changes::Replay { changes, .. } => changes,
        Changes::Reset { head } => panic!("reset to {head:?}"),
    }
}

pub(crate) fn hash(number: u8) -> KeyHash {
    KeyHash([number; 32])
}

pub(crate) fn new_app(slug: &str) -> NewApp {
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

pub(crate) fn new_key(number: u8) -> NewKey {
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

pub(crate) fn new_secret(number: u8) -> NewSecret {
    NewSecret {
        hash: hash(number),
        key_prefix: "pre".into(),
        key_suffix: "wxyz9876".into(),
    }
}

pub(crate) fn new_scheme(slug: &str) -> NewScheme {
    NewScheme {
        slug: slug.into(),
        name: "A scheme".into(),
        description: None,
        rules: vec![rule(10)],
    }
}

pub(crate) fn rule(max_requests: i32) -> Rule {
    Rule {
        unit: Unit::Minute,
        duration: 1,
        max_requests,
        mode: None,
        endpoints: None,
        priority: None,
    }
}

pub(crate) fn full_rule() -> Rule {
    Rule {
        unit: Unit::CalendarMonth,
        duration: 1,
        max_requests: i32::MAX,
        mode: Some(Mode::PerKeyAndIp),
        endpoints: Some(vec!["/v1/*".into(), "/é".into()]),
        priority: Some(-3),
    }
}

pub(crate) fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// Fails unless the call failed with this public message.
#[track_caller]
pub(crate) fn refused<T: std::fmt::Debug>(outcome: Result<T, StoreError>, message: &str) {
    assert_eq!(outcome.unwrap_err().to_string(), message);
}
