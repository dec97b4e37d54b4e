//! The engine as the gateway sets it up, over keys that are the same in every run.
//!
//! Decides nothing; its clock stands still until a case moves it, so that no count depends on how fast the machine is.
//! Called by [`crate::cases`].

use anyhow::{Context, Result};
use portcullis_limits::{LimiterSettings, LocalLimiter};
use portcullis_record::Metrics;
use portcullis_record::usage::{METER_ROWS_MAX, UsageMeter};
use portcullis_verify::{
    AppId, AppRecord, AppScope, CacheSettings, Clock, DeploymentId, FailureSettings, Fetched, KeyHash, KeyId,
    KeyRecord, KeySource, ManualClock, Mode, Moment, PresentedKey, Requirement, Rule, RuleSet, SchemeId, SchemeRecord,
    SourceError, Unit, Verdict, Verifier, VerifierParts, VerifyRequest, Version,
};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

/// The path of every request.
pub(crate) const PATH: &str = "/v1/users";
/// Apps that the keys are spread over.
const APPS: i64 = 10;
const DEPLOYMENT: DeploymentId = DeploymentId(1);
const YEAR_US: i64 = 365 * 24 * 3_600 * 1_000_000;
/// Some time in 2026.
const START: Moment = Moment {
    monotonic_us: 8_700_000_000_000,
    wall_us: 1_790_000_000_000_000,
};

/// What a request meets, and who sends it.
pub(crate) struct Engine {
    pub(crate) verifier: Verifier,
    pub(crate) usage: UsageMeter,
    pub(crate) metrics: Metrics,
    pub(crate) requirement: Requirement,
    /// Moves the time.
    pub(crate) time: ManualClock,
    /// Keys that were issued, in an order that no look-up profits from.
    pub(crate) issued: Vec<String>,
    /// Well-formed keys that were not.
    pub(crate) unknown: Vec<String>,
}

/// Records in memory, in the place of a store.
struct Records(HashMap<KeyHash, KeyRecord>);

#[async_trait::async_trait]
impl KeySource for Records {
    async fn fetch(&self, hash: &KeyHash) -> Result<Fetched, SourceError> {
        Ok(Fetched {
            as_of: Version { epoch: 1, revision: 1 },
            record: self.0.get(hash).cloned(),
        })
    }
}

impl Engine {
    /// An engine that holds `keys` issued keys, each limited to `per_key_max` requests a day beside two wide limits, and remembers
    /// as many unknown ones.
    ///
    /// # Errors
    /// When a key of ours is not well-formed, or the metrics cannot be registered.
    pub(crate) fn warm(keys: usize, per_key_max: i32) -> Result<Engine> {
        let mut draws = Draws(0x9e37_79b9_7f4a_7c15);
        let issued: Vec<String> = (0..keys).map(|_| draws.key()).collect();
        let unknown: Vec<String> = (0..keys).map(|_| draws.key()).collect();
        let mut records = HashMap::new();
        for (key, id) in issued.iter().zip(1..) {
            let presented = PresentedKey::parse(key.as_bytes()).context("an issued key is not well-formed")?;
            records.insert(presented.hash(), record(id, per_key_max));
        }
        let (clock, time) = Clock::manual(START);
        let engine = Engine {
            verifier: Verifier::new(VerifierParts {
                clock,
                source: Arc::new(Records(records)),
                limiter: Arc::new(LocalLimiter::new(LimiterSettings {
                    counters_max: 1_000_000,
                })),
                default_rules: Arc::new(RuleSet::compile(None, &three_rules(1_000))),
                cache: CacheSettings {
                    keys_max: 1_000_000,
                    unknown_keys_max: 100_000,
                    // Longer than any machine takes under callgrind.
                    unknown_ttl: Duration::from_secs(24 * 3_600),
                    fills_max: 64,
                    fill_timeout: Duration::from_secs(60),
                },
                failures: FailureSettings {
                    burst: 50,
                    per_minute: 60,
                    addresses_max: 100_000,
                },
            }),
            usage: UsageMeter::new(METER_ROWS_MAX, START),
            metrics: Metrics::new()?,
            requirement: Requirement {
                deployment_id: Some(DEPLOYMENT),
                apps: AppScope::Slugs(Box::new(["internal-api".into()])),
                permissions: vec!["users:read".parse()?],
            },
            time,
            issued,
            unknown,
        };
        engine.fill()?;
        Ok(engine)
    }

    /// Asks for every key once, as their first requests would.
    fn fill(&self) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("the runtime cannot start")?;
        runtime.block_on(async {
            for (keys, is_known) in [(&self.issued, true), (&self.unknown, false)] {
                for (index, key) in keys.iter().enumerate() {
                    let verdict = self.verifier.verify(&self.ask(key, index)).await?;
                    anyhow::ensure!(
                        matches!(verdict, Verdict::Allow(_)) == is_known,
                        "a key was decided wrongly"
                    );
                }
            }
            Ok(())
        })
    }

    /// A request with this credential, from the `index`th of the callers.
    pub(crate) fn ask<'a>(&'a self, credential: &'a str, index: usize) -> VerifyRequest<'a> {
        VerifyRequest {
            credential: credential.as_bytes(),
            path: PATH,
            address: Some(address(index)),
            requirement: &self.requirement,
        }
    }
}

/// Every caller has an address of its own.
fn address(index: usize) -> IpAddr {
    let low = u32::try_from(index).unwrap_or(u32::MAX);
    IpAddr::V4(Ipv4Addr::from(0x0a00_0000 | low))
}

fn record(id: i64, per_key_max: i32) -> KeyRecord {
    KeyRecord {
        key_id: KeyId(id),
        lineage_id: KeyId(id),
        deployment_id: DEPLOYMENT,
        app: AppRecord {
            id: AppId(id % APPS),
            slug: "internal-api".into(),
            is_active: true,
            permissions: Vec::new(),
            resources: Vec::new(),
        },
        name: "Acme".into(),
        permissions: vec!["users:read".into(), "users:write".into()],
        metadata: serde_json::Map::new(),
        owner_user_id: Some(id),
        organization_id: None,
        workspace_id: None,
        expires_at_us: Some(START.wall_us + YEAR_US),
        revoked_at_us: None,
        scheme: Some(SchemeRecord {
            is_keys_own: false,
            id: SchemeId(1),
            rules: three_rules(per_key_max),
        }),
    }
}

/// By key, by address, by app.
fn three_rules(per_key_max: i32) -> Vec<Rule> {
    let rule = |mode, unit, max_requests| Rule {
        unit,
        duration: 1,
        max_requests,
        mode: Some(mode),
        endpoints: None,
        priority: None,
    };
    vec![
        rule(Mode::PerKey, Unit::Day, per_key_max),
        rule(Mode::PerIp, Unit::Minute, 1_000_000),
        rule(Mode::PerApp, Unit::Minute, i32::MAX),
    ]
}

/// Keys without chance: xorshift from a fixed seed.
struct Draws(u64);

impl Draws {
    const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

    fn digit(number: u64) -> char {
        let place = usize::try_from(number % 62).unwrap_or(0);
        char::from(Self::BASE62[place])
    }

    fn draw(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 16
    }

    /// A well-formed key, with the checksum that the README describes.
    fn key(&mut self) -> String {
        let mut key = String::from("sk_live_");
        key.extend((0..37).map(|_| Self::digit(self.draw())));
        let checksum = u64::from(crc32fast::hash(key.as_bytes()));
        key.extend((0..6).rev().map(|place| Self::digit(checksum / 62_u64.pow(place))));
        key
    }
}
