use super::*;
use crate::fixture::DEPLOYMENT;
use portcullis_verify::{AppId, AppRecord, KeyId, KeyRecord, RuleSet, StoredKey, Version};
use std::sync::Arc;

fn some_key() -> Arc<StoredKey> {
    let record = KeyRecord {
        key_id: KeyId(1),
        lineage_id: KeyId(1),
        deployment_id: DEPLOYMENT,
        app: AppRecord {
            id: AppId(1),
            slug: "api".into(),
            is_active: true,
            permissions: Vec::new(),
            resources: Vec::new(),
        },
        name: "k".into(),
        permissions: Vec::new(),
        metadata: serde_json::Map::new(),
        owner_user_id: None,
        organization_id: None,
        workspace_id: None,
        expires_at_us: None,
        revoked_at_us: None,
        scheme: None,
    };
    let rules = Arc::new(RuleSet::compile(None, &[]));
    Arc::new(StoredKey::compile(record, Version { epoch: 1, revision: 1 }, &rules))
}

fn check(reason: DenialReason, is_ours: bool, status: u16, public: &str) {
    let denial = Denial {
        reason,
        key: is_ours.then(some_key),
        charge: None,
    };
    let refusal = denied(&denial);
    assert_eq!(
        (refusal.status.as_u16(), refusal.reason),
        (status, public),
        "{reason:?}"
    );
    assert_eq!(refusal.challenge, status == 401, "{reason:?}");
    assert_eq!(refusal.code / 100, u32::from(status));
}

#[test]
fn unknown_is_401_and_known_but_dead_is_403() {
    check(DenialReason::KeyMissing, false, 401, "key_missing");
    check(DenialReason::KeyMalformed, false, 401, "key_invalid");
    check(DenialReason::KeyUnknown, false, 401, "key_invalid");
    check(DenialReason::KeyRevoked, true, 403, "key_invalid");
    check(DenialReason::KeyExpired, true, 403, "key_invalid");
    check(DenialReason::AppInactive, true, 403, "key_invalid");
    check(DenialReason::AppNotAllowed, true, 403, "key_invalid");
    check(DenialReason::AmbiguousCredentials, false, 403, "ambiguous_credentials");
    check(DenialReason::ResourceDenied, true, 403, "resource_denied");
    check(DenialReason::PermissionDenied, true, 403, "permission_denied");
    check(
        DenialReason::TooManyFailures { retry_after_us: 1 },
        false,
        429,
        "too_many_failures",
    );
    check(
        DenialReason::RateLimited {
            blocked_rule: 0,
            retry_after_us: 1,
        },
        true,
        429,
        "rate_limited",
    );
}

#[test]
fn a_key_of_another_tenant_is_not_told_from_an_unknown_one() {
    let denial = |reason| Denial {
        reason,
        key: None,
        charge: None,
    };
    assert_eq!(
        denied(&denial(DenialReason::AppNotAllowed)),
        denied(&denial(DenialReason::KeyUnknown))
    );
}

#[test]
fn what_kills_a_key_is_not_told() {
    let dead = [
        DenialReason::KeyRevoked,
        DenialReason::KeyExpired,
        DenialReason::AppInactive,
        DenialReason::AppNotAllowed,
    ];
    let refusals = dead.map(|reason| {
        denied(&Denial {
            reason,
            key: Some(some_key()),
            charge: None,
        })
    });
    assert!(refusals.windows(2).all(|pair| pair[0] == pair[1]));
}
