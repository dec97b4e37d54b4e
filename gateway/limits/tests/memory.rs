//! A crowd of strangers against a memory budget: what is promised of it is kept, in bytes and in admissions.
//!
//! One test, alone in its process, so that the resident set is its own. It runs under the allocator of the release binary.

use portcullis_limits::{LimiterSettings, LocalLimiter};
use portcullis_verify::{
    AppId, AppRecord, ChargeOutcome, ChargeRequest, DeploymentId, KeyId, KeyRecord, Limiter, Mode, Moment, Rule,
    RuleSet, StoredKey, Unit, Version,
};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// For a budget of 256 MiB, at the 256 bytes that a counter may take.
const COUNTERS_MAX: usize = 1_000_000;

/// The allocator's own needs, and what it has not given back yet, included.
const BUDGET_BYTES: usize = 256 << 20;

const KEYS: u32 = 1_000_000;
const ADDRESSES: u32 = 10_000_000;

/// Admissions per key and hour, and per address and hour.
const OF_A_KEY: u8 = 200;
const OF_AN_ADDRESS: u8 = 3;

/// Resident bytes of this process.
fn resident_bytes() -> Option<usize> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: usize = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * 4_096)
}

fn hourly(mode: Mode, max_requests: u8) -> Rule {
    Rule {
        unit: Unit::Hour,
        duration: 1,
        max_requests: i32::from(max_requests),
        mode: Some(mode),
        endpoints: None,
        priority: None,
    }
}

/// One record that stands for all keys in turn, so that only counters take memory.
fn record() -> StoredKey {
    let rules = [hourly(Mode::PerKey, OF_A_KEY), hourly(Mode::PerIp, OF_AN_ADDRESS)];
    let record = KeyRecord {
        key_id: KeyId(0),
        lineage_id: KeyId(0),
        deployment_id: DeploymentId(1),
        app: AppRecord {
            id: AppId(1),
            slug: "app".to_owned(),
            is_active: true,
            permissions: Vec::new(),
            resources: Vec::new(),
        },
        name: "key".to_owned(),
        permissions: Vec::new(),
        metadata: serde_json::Map::new(),
        owner_user_id: None,
        organization_id: None,
        workspace_id: None,
        expires_at_us: None,
        revoked_at_us: None,
        scheme: None,
    };
    StoredKey::compile(
        record,
        Version { epoch: 1, revision: 1 },
        &Arc::new(RuleSet::compile(None, &rules)),
    )
}

fn at(second: u64) -> Moment {
    Moment {
        monotonic_us: (1_000_000 + second) * 1_000_000,
        wall_us: 0,
    }
}

#[test]
fn ten_million_addresses_and_a_million_keys_stay_within_the_budget_and_pass_no_limit() {
    let limiter = LocalLimiter::new(LimiterSettings {
        counters_max: COUNTERS_MAX,
    });
    let mut key = record();
    let mut of_key = vec![0_u8; usize::try_from(KEYS).unwrap()];
    let mut of_address = vec![0_u8; usize::try_from(ADDRESSES).unwrap()];
    let before_bytes = resident_bytes().unwrap();
    let mut most_bytes = 0;
    let mut charge = |nth: u32, address: u32, now: Moment| {
        key.lineage_id = KeyId(i64::from(nth) + 1);
        let request = ChargeRequest {
            path: "/",
            address: Some(IpAddr::V4(Ipv4Addr::from(address))),
            now,
        };
        if limiter.charge(&key, &request).outcome == ChargeOutcome::Admitted {
            let (of_key, of_address) = (
                &mut of_key[usize::try_from(nth).unwrap()],
                &mut of_address[usize::try_from(address).unwrap()],
            );
            *of_key += 1;
            *of_address += 1;
            assert!(*of_key <= OF_A_KEY, "key {nth}");
            assert!(*of_address <= OF_AN_ADDRESS, "address {address}");
        }
    };
    // Within the hour, so that nothing admitted is forgotten: the crowd, then the first of it again and again, and a few of
    // its last.
    for address in 0..ADDRESSES {
        charge(address % KEYS, address, at(u64::from(address / 10_000)));
        if address % 100_000 == 0 {
            limiter.sweep(at(u64::from(address / 10_000)));
            most_bytes = most_bytes.max(resident_bytes().unwrap());
        }
    }
    for round in 0..5_u32 {
        for address in (0..200_000).chain(ADDRESSES - 50_000..ADDRESSES) {
            charge(address % KEYS, address, at(1_000 + u64::from(round)));
        }
    }
    most_bytes = most_bytes.max(resident_bytes().unwrap());
    let stats = limiter.stats();
    let most_counters = u64::try_from(COUNTERS_MAX + 2 * 256).unwrap();
    assert!(stats.counters <= most_counters, "{stats:?}");
    assert!(stats.overflowed > 1_000_000, "{stats:?}");
    // The live ones stayed: each of the first addresses got all that is its own, and no more.
    for (address, &admitted) in of_address.iter().enumerate().take(100_000) {
        assert_eq!(admitted, OF_AN_ADDRESS, "address {address}");
    }
    let used_bytes = most_bytes - before_bytes - of_key.len() - of_address.len();
    println!(
        "{} counters, {} MiB resident beside 11 MB of notes",
        stats.counters,
        used_bytes >> 20
    );
    assert!(used_bytes <= BUDGET_BYTES, "{} MiB", used_bytes >> 20);
    // An hour later every counter is idle and gone.
    for _ in 0..32 {
        limiter.sweep(at(2 * 3_600));
    }
    assert_eq!(limiter.stats().counters, 0);
}
