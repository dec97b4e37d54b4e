//! What a held key takes of memory, everything told: record, name and place in the table.
//!
//! One test, alone in its process, so that the resident set is its own. It runs under the allocator of the release binary.

use portcullis_verify::{
    AppId, AppRecord, CacheSettings, Charge, ChargeOutcome, ChargeRequest, Clock, DeploymentId, FailureSettings,
    Fetched, KeyHash, KeyId, KeyRecord, KeySource, Limiter, Rule, RuleSet, SchemeId, SchemeRecord, SourceError,
    StoredKey, Unit, Verifier, VerifierParts, Version,
};
use std::sync::Arc;
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const KEYS: u32 = 1_000_000;
const APPS: u32 = 1_000;
const AS_OF: Version = Version { epoch: 1, revision: 1 };

/// In a table of every key, and in a cache too.
const BYTES_MAX: usize = 280;

/// Asked nothing: every key is told.
struct NoSource;

#[async_trait::async_trait]
impl KeySource for NoSource {
    async fn fetch(&self, _hash: &KeyHash) -> Result<Fetched, SourceError> {
        Err(SourceError {
            cause: "there is none".to_owned(),
        })
    }
}

/// Counters take memory of their own, which their crate measures.
struct NoLimiter;

impl Limiter for NoLimiter {
    fn charge(&self, _key: &StoredKey, _request: &ChargeRequest<'_>) -> Charge {
        Charge {
            outcome: ChargeOutcome::Admitted,
            states: Default::default(),
        }
    }

    fn peek(&self, key: &StoredKey, request: &ChargeRequest<'_>) -> Charge {
        self.charge(key, request)
    }
}

/// Resident bytes of this process.
fn resident_bytes() -> Option<usize> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: usize = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * 4_096)
}

/// As random as a hash, and the same in every run.
fn hash(n: u32) -> KeyHash {
    let mut bytes = [0; 32];
    let mut state = u64::from(n);
    for part in bytes.chunks_exact_mut(8) {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        part.copy_from_slice(&(mixed ^ (mixed >> 31)).to_le_bytes());
    }
    KeyHash(bytes)
}

/// An ordinary key: a name of twelve characters, its app's permissions, nothing beside it.
fn record(n: u32) -> KeyRecord {
    let id = KeyId(i64::from(n) + 1);
    KeyRecord {
        key_id: id,
        lineage_id: id,
        deployment_id: DeploymentId(1),
        app: AppRecord {
            id: AppId(i64::from(n % APPS)),
            slug: format!("app-{}", n % APPS),
            is_active: true,
            permissions: Vec::new(),
            resources: Vec::new(),
        },
        name: format!("key-{n:08}"),
        permissions: vec!["users:read".to_owned()],
        metadata: serde_json::Map::new(),
        owner_user_id: None,
        organization_id: None,
        workspace_id: None,
        expires_at_us: Some(4_000_000_000_000_000 + i64::from(n)),
        revoked_at_us: None,
        scheme: Some(SchemeRecord {
            id: SchemeId(1),
            is_keys_own: false,
            rules: vec![Rule {
                unit: Unit::Minute,
                duration: 1,
                max_requests: 100,
                mode: None,
                endpoints: None,
                priority: None,
            }],
        }),
    }
}

fn parts() -> VerifierParts {
    VerifierParts {
        clock: Clock::system(),
        source: Arc::new(NoSource),
        limiter: Arc::new(NoLimiter),
        default_rules: Arc::new(RuleSet::compile(None, &[])),
        cache: CacheSettings {
            keys_max: u64::from(KEYS),
            unknown_keys_max: 1_000,
            unknown_ttl: Duration::from_secs(10),
            fills_max: 1,
            fill_timeout: Duration::from_secs(1),
        },
        failures: FailureSettings {
            burst: 1,
            per_minute: 1,
            addresses_max: 1,
        },
    }
}

#[test]
fn a_million_held_keys_take_what_they_may() {
    let check = |kept: &str, make: fn(VerifierParts) -> Verifier| {
        let verifier = make(parts());
        let before_bytes = resident_bytes().unwrap();
        for n in 0..KEYS {
            verifier.admit_record(hash(n), record(n), AS_OF);
        }
        verifier.sweep();
        let held = usize::try_from(verifier.stats().known_keys).unwrap();
        assert!(held * 100 >= usize::try_from(KEYS).unwrap() * 99, "{held}");
        let bytes = (resident_bytes().unwrap() - before_bytes) / held;
        println!("{held} keys {kept}: {bytes} bytes each");
        assert!(bytes <= BYTES_MAX, "{kept}: {bytes}");
        verifier
    };
    let _table = check("in a table", Verifier::of_every_key);
    check("in a cache", Verifier::new);
}
