use super::*;
use crate::lookup::scripted_source::record;
use crate::{DeploymentId, KeyId, KeyRecord, RuleSet, Version};
use proptest::prelude::*;
use std::sync::Arc;

const NOW_US: i64 = 1_700_000_000_000_000;

fn stored(edit: impl FnOnce(&mut KeyRecord)) -> StoredKey {
    let mut record = record(KeyId(1));
    edit(&mut record);
    StoredKey::compile(
        record,
        Version { epoch: 1, revision: 1 },
        &Arc::new(RuleSet::compile(None, &[])),
    )
}

fn requirement(edit: impl FnOnce(&mut Requirement)) -> Requirement {
    let mut requirement = Requirement {
        deployment_id: Some(DeploymentId(1)),
        apps: AppScope::Every,
        permissions: Vec::new(),
    };
    edit(&mut requirement);
    requirement
}

fn at(wall_us: i64) -> Moment {
    Moment {
        monotonic_us: 0,
        wall_us,
    }
}

fn slugs(slugs: &[&str]) -> AppScope {
    AppScope::Slugs(slugs.iter().map(|&slug| slug.into()).collect())
}

#[track_caller]
fn check(
    key: impl FnOnce(&mut KeyRecord),
    door: impl FnOnce(&mut Requirement),
    path: &str,
    expected: Option<DenialReason>,
) {
    assert_eq!(decide(&stored(key), &requirement(door), path, at(NOW_US)), expected);
}

#[test]
fn each_check_alone() {
    use DenialReason::*;
    check(|_| {}, |_| {}, "/", None);
    check(|key| key.revoked_at_us = Some(NOW_US), |_| {}, "/", Some(KeyRevoked));
    check(|key| key.revoked_at_us = Some(NOW_US + 1), |_| {}, "/", None);
    check(|key| key.revoked_at_us = Some(i64::MIN), |_| {}, "/", Some(KeyRevoked));
    check(|key| key.app.is_active = false, |_| {}, "/", Some(AppInactive));
    check(|key| key.expires_at_us = Some(NOW_US), |_| {}, "/", Some(KeyExpired));
    check(
        |key| key.expires_at_us = Some(NOW_US - 1),
        |_| {},
        "/",
        Some(KeyExpired),
    );
    check(|key| key.expires_at_us = Some(NOW_US + 1), |_| {}, "/", None);
    check(
        |_| {},
        |door| door.deployment_id = Some(DeploymentId(2)),
        "/",
        Some(AppNotAllowed),
    );
    check(|_| {}, |door| door.apps = slugs(&[]), "/", Some(AppNotAllowed));
    check(|_| {}, |door| door.apps = slugs(&["other"]), "/", Some(AppNotAllowed));
    check(|_| {}, |door| door.apps = slugs(&["App"]), "/", Some(AppNotAllowed));
    check(|_| {}, |door| door.apps = slugs(&["other", "app"]), "/", None);
    check(
        |key| key.app.resources = vec!["invoices/*".to_owned()],
        |_| {},
        "/invoices/7",
        None,
    );
    check(
        |key| key.app.resources = vec!["invoices/*".to_owned()],
        |_| {},
        "/orders/7",
        Some(ResourceDenied),
    );
    check(
        |_| {},
        |door| door.permissions = vec!["a".parse().unwrap()],
        "/",
        Some(PermissionDenied),
    );
    check(
        |key| key.permissions = vec!["a".to_owned()],
        |door| door.permissions = vec!["a".parse().unwrap()],
        "/",
        None,
    );
    check(
        |key| key.permissions = vec!["a".to_owned()],
        |door| door.permissions = vec!["a".parse().unwrap(), "b".parse().unwrap()],
        "/",
        Some(PermissionDenied),
    );
}

#[test]
fn a_key_holds_only_what_its_app_holds_too() {
    use DenialReason::*;
    let needs_a = |door: &mut Requirement| door.permissions = vec!["a".parse().unwrap()];
    let with = |own: &'static [&'static str], app: &'static [&'static str]| {
        move |key: &mut KeyRecord| {
            key.permissions = own.iter().map(|&name| name.to_owned()).collect();
            key.app.permissions = app.iter().map(|&name| name.to_owned()).collect();
        }
    };
    check(with(&["b", "a", "a"], &[]), needs_a, "/", None);
    check(with(&["a", "b"], &["a"]), needs_a, "/", None);
    check(with(&["a", "b"], &["b"]), needs_a, "/", Some(PermissionDenied));
    check(with(&[], &["a"]), needs_a, "/", Some(PermissionDenied));
    check(with(&["*"], &["a"]), needs_a, "/", Some(PermissionDenied));
}

/// Everything wrong at once, mended from the front: the reasons must come in the documented order.
#[test]
fn the_first_reason_wins() {
    let mut key = record(KeyId(1));
    key.revoked_at_us = Some(NOW_US);
    key.app.is_active = false;
    key.expires_at_us = Some(NOW_US);
    key.app.resources = vec!["elsewhere".to_owned()];
    let mut door = requirement(|door| {
        door.apps = slugs(&["other"]);
        door.permissions = vec!["a".parse().unwrap()];
    });
    let decide_now =
        |key: &KeyRecord, door: &Requirement| decide(&stored(|new| *new = key.clone()), door, "/", at(NOW_US));

    assert_eq!(decide_now(&key, &door), Some(DenialReason::KeyRevoked));
    key.revoked_at_us = None;
    assert_eq!(decide_now(&key, &door), Some(DenialReason::AppInactive));
    key.app.is_active = true;
    assert_eq!(decide_now(&key, &door), Some(DenialReason::KeyExpired));
    key.expires_at_us = None;
    assert_eq!(decide_now(&key, &door), Some(DenialReason::AppNotAllowed));
    door.apps = slugs(&["app"]);
    assert_eq!(decide_now(&key, &door), Some(DenialReason::ResourceDenied));
    key.app.resources = Vec::new();
    assert_eq!(decide_now(&key, &door), Some(DenialReason::PermissionDenied));
    key.permissions = vec!["a".to_owned()];
    assert_eq!(decide_now(&key, &door), None);
}

#[test]
fn another_tenants_key_tells_nothing_of_its_state() {
    let elsewhere = |door: &mut Requirement| door.deployment_id = Some(DeploymentId(2));
    check(
        |key| key.revoked_at_us = Some(0),
        elsewhere,
        "/",
        Some(DenialReason::AppNotAllowed),
    );
    check(
        |key| key.app.is_active = false,
        elsewhere,
        "/",
        Some(DenialReason::AppNotAllowed),
    );
    check(
        |key| key.expires_at_us = Some(0),
        elsewhere,
        "/",
        Some(DenialReason::AppNotAllowed),
    );
}

fn names() -> impl Strategy<Value = Vec<String>> {
    proptest::collection::vec("[a-d]", 0..5)
}

proptest! {
    #[test]
    fn removing_a_grant_never_admits(
        own in names(), app in names(), asked in proptest::collection::vec("[a-d]( (AND|OR) [a-d]){0,3}", 0..3), at_index in 0_usize..5,
    ) {
        let door = requirement(|door| door.permissions = asked.iter().map(|text| text.parse().unwrap()).collect());
        let key = |own: Vec<String>| stored(|key| {
            key.permissions = own;
            key.app.permissions = app.clone();
        });
        let mut fewer = own.clone();
        if at_index < fewer.len() {
            fewer.remove(at_index);
        }
        let before = decide(&key(own), &door, "/", at(NOW_US));
        let after = decide(&key(fewer), &door, "/", at(NOW_US));
        prop_assert!(before.is_none() || after.is_some());
    }
}
