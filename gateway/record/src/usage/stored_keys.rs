//! Keys as the cache would hold them, and verdicts on them, for tests.
//!
//! Decides nothing. Only tests use it.

use portcullis_verify::{
    AppId, AppRecord, Charge, ChargeOutcome, Denial, DenialReason, DeploymentId, KeyHash, KeyId, KeyRecord, Mode,
    Permit, Rule, RuleSet, StoredKey, Unit, Verdict, Version,
};
use std::sync::Arc;

/// A record of the key as the cache would hold it, with two rules; a new one each time.
pub(crate) fn key(id: i64) -> Arc<StoredKey> {
    let rule = |mode| Rule {
        unit: Unit::Minute,
        duration: 1,
        max_requests: 10,
        mode: Some(mode),
        endpoints: None,
        priority: None,
    };
    let rules = Arc::new(RuleSet::compile(None, &[rule(Mode::PerKey), rule(Mode::PerApp)]));
    let record = KeyRecord {
        key_id: KeyId(id),
        lineage_id: KeyId(id),
        deployment_id: DeploymentId(1),
        app: AppRecord {
            id: AppId(1),
            slug: "app".into(),
            is_active: true,
            permissions: Vec::new(),
            resources: Vec::new(),
        },
        name: "key".into(),
        permissions: Vec::new(),
        metadata: serde_json::Map::new(),
        owner_user_id: None,
        organization_id: None,
        workspace_id: None,
        expires_at_us: None,
        revoked_at_us: None,
        scheme: None,
    };
    let as_of = Version { epoch: 1, revision: 1 };
    Arc::new(StoredKey::compile(record, as_of, &rules))
}

pub(crate) fn allowed(key: &Arc<StoredKey>) -> Verdict {
    Verdict::Allow(Permit {
        key: Arc::clone(key),
        hash: KeyHash([0; 32]),
        charge: Charge {
            outcome: ChargeOutcome::Admitted,
            states: Default::default(),
        },
    })
}

pub(crate) fn denied(key: Option<&Arc<StoredKey>>, reason: DenialReason) -> Verdict {
    Verdict::Deny(Denial {
        reason,
        key: key.map(Arc::clone),
        charge: None,
    })
}

pub(crate) fn limited(key: &Arc<StoredKey>, blocked_rule: usize) -> Verdict {
    let reason = DenialReason::RateLimited {
        blocked_rule,
        retry_after_us: 1,
    };
    denied(Some(key), reason)
}
