//! What the benches share: a population of keys in memory, and the engine set up over it.
//!
//! Measures nothing itself: each file in `micro/` measures one stage, [`limiters`] compares ways of limiting, [`revocation`]
//! measures a fleet, and `load` compares gateways.

mod caller;
pub mod limiters;
#[cfg(target_os = "linux")]
pub mod load;
pub mod machine;
mod many_keys;
mod process;
pub mod revocation;

use portcullis_limits::{LimiterSettings, LocalLimiter};
use portcullis_verify::{
    AppId, AppRecord, AppScope, CacheSettings, Clock, DeploymentId, FailureSettings, Fetched, KeyHash, KeyId,
    KeyRecord, KeySource, Mode, Requirement, Rule, RuleSet, SchemeId, SchemeRecord, Secret, SourceError, Unit,
    Verifier, VerifierParts, Version,
};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// The tenant of every key here.
pub const DEPLOYMENT: DeploymentId = DeploymentId(1);

/// Populations that the benches measure.
pub const SIZES: [usize; 3] = [1_000, 100_000, 1_000_000];

/// Issued keys and their records, as a store would hold them.
pub struct Population {
    /// Secrets, in no order that any look-up could profit from.
    pub secrets: Vec<String>,
    /// Their hashes, in the same order.
    pub hashes: Vec<KeyHash>,
    records: HashMap<KeyHash, KeyRecord>,
}

impl Population {
    /// `count` keys under a thousand apps, each key limited by `rules`.
    ///
    /// # Panics
    /// When the operating system gives no randomness.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a bench without keys has nothing to measure")]
    pub fn new(count: usize, rules: &[Rule]) -> Population {
        let mut population = Population {
            secrets: Vec::new(),
            hashes: Vec::new(),
            records: HashMap::new(),
        };
        for id in (1_i64..).take(count) {
            let secret = Secret::generate("sk_live").expect("randomness");
            population.hashes.push(secret.hash());
            population.records.insert(secret.hash(), record(id, rules));
            population.secrets.push(secret.expose().to_owned());
        }
        population
    }
}

fn record(id: i64, rules: &[Rule]) -> KeyRecord {
    KeyRecord {
        key_id: KeyId(id),
        lineage_id: KeyId(id),
        deployment_id: DEPLOYMENT,
        app: AppRecord {
            id: AppId(id % 1_000),
            slug: "internal-api".into(),
            is_active: true,
            permissions: Vec::new(),
            resources: Vec::new(),
        },
        name: "bench".into(),
        permissions: vec!["users:read".into(), "users:write".into()],
        metadata: serde_json::Map::new(),
        owner_user_id: Some(id),
        organization_id: None,
        workspace_id: None,
        expires_at_us: Some(i64::MAX),
        revoked_at_us: None,
        scheme: Some(SchemeRecord {
            is_keys_own: false,
            id: SchemeId(1),
            rules: rules.to_vec(),
        }),
    }
}

#[async_trait::async_trait]
impl KeySource for Population {
    async fn fetch(&self, hash: &KeyHash) -> Result<Fetched, SourceError> {
        Ok(Fetched {
            as_of: Version { epoch: 1, revision: 1 },
            record: self.records.get(hash).cloned(),
        })
    }
}

/// The three rules that the load comparison uses too: by key, by address, by app. Wide enough that none refuses.
#[must_use]
pub fn three_rules() -> Vec<Rule> {
    [Mode::PerKey, Mode::PerIp, Mode::PerApp]
        .map(|mode| Rule {
            unit: Unit::Minute,
            duration: 1,
            max_requests: i32::MAX,
            mode: Some(mode),
            endpoints: None,
            priority: None,
        })
        .to_vec()
}

/// What a route asks of a key.
#[must_use]
pub fn requirement() -> Requirement {
    Requirement {
        deployment_id: Some(DEPLOYMENT),
        apps: AppScope::Slugs(Box::new(["internal-api".into()])),
        permissions: vec![
            "users:read"
                .parse()
                .unwrap_or_else(|_| unreachable!("a good expression")),
        ],
    }
}

/// A verifier over a population, with room for all of it. It knows none of it yet.
#[must_use]
pub fn verifier(population: Arc<Population>) -> Verifier {
    Verifier::new(parts(population, 4_000_000))
}

/// A verifier that holds all of a population: as a cache with room for just so many, so that it has to choose who stays, or as a
/// table of every key.
#[must_use]
pub fn warm_verifier(population: &Arc<Population>, is_table: bool) -> Verifier {
    let keys_max = u64::try_from(population.hashes.len()).unwrap_or(u64::MAX);
    let parts = parts(Arc::clone(population), keys_max);
    let as_of = Version { epoch: 1, revision: 1 };
    let verifier = match is_table {
        true => Verifier::of_every_key(parts),
        false => Verifier::new(parts),
    };
    for (hash, record) in &population.records {
        verifier.admit_record(*hash, record.clone(), as_of);
    }
    verifier.table_complete(as_of);
    verifier.sweep();
    verifier
}

fn parts(population: Arc<Population>, keys_max: u64) -> VerifierParts {
    VerifierParts {
        clock: Clock::system(),
        source: population,
        limiter: Arc::new(LocalLimiter::new(LimiterSettings {
            counters_max: 10_000_000,
        })),
        default_rules: Arc::new(RuleSet::compile(None, &three_rules())),
        cache: CacheSettings {
            keys_max,
            unknown_keys_max: 100_000,
            unknown_ttl: Duration::from_secs(10),
            fills_max: 64,
            fill_timeout: Duration::from_secs(2),
        },
        failures: FailureSettings {
            burst: 50,
            per_minute: 60,
            addresses_max: 100_000,
        },
    }
}

/// How often each of a population is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spread {
    /// All alike: the hardest case for a cache.
    Uniform,
    /// The n-th most frequent 1/n times as often as the first.
    Zipf,
}

impl Spread {
    /// Both.
    pub const ALL: [Spread; 2] = [Spread::Zipf, Spread::Uniform];

    /// What the tables call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Spread::Uniform => "uniform",
            Spread::Zipf => "zipf",
        }
    }
}

/// So many draws from a population of `n`, the same in every run.
#[must_use]
pub fn draws(n: usize, spread: Spread, count: usize) -> Vec<usize> {
    let spread = match spread {
        Spread::Uniform => limiters::draws::Spread::Uniform,
        Spread::Zipf => limiters::draws::Spread::Zipf,
    };
    let subjects = limiters::draws::Subjects::new(u32::try_from(n).unwrap_or(u32::MAX), spread);
    let mut dice = limiters::draws::Dice::new(0x9e37_79b9_7f4a_7c15);
    std::iter::repeat_with(|| usize::try_from(subjects.draw(&mut dice)).unwrap_or(0))
        .take(count)
        .collect()
}

/// Draws made beforehand and read in order, over and over: drawing then costs nothing that a request would not.
pub struct Drawn<T> {
    draws: Vec<T>,
    next: usize,
}

impl<T> Drawn<T> {
    /// There must be one at least.
    #[must_use]
    pub fn new(draws: Vec<T>) -> Drawn<T> {
        Drawn { draws, next: 0 }
    }

    /// The next.
    #[inline]
    pub fn draw(&mut self) -> &T {
        self.next = if self.next + 1 < self.draws.len() {
            self.next + 1
        } else {
            0
        };
        &self.draws[self.next]
    }
}

/// Numbers below `n`, spread evenly and without order; cheap beside what is measured.
pub struct Picks {
    state: u64,
    n: usize,
}

impl Picks {
    /// Picks below `n`.
    #[must_use]
    pub fn below(n: usize) -> Picks {
        Picks {
            state: 0x9e37_79b9_7f4a_7c15,
            n,
        }
    }

    /// The next.
    pub fn pick(&mut self) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        usize::try_from(self.state >> 16).unwrap_or(0) % self.n
    }
}
