//! The only chain: presented key → lookup → decide → charge.
//!
//! Order is free checks first, spending last, so that a refused request costs little and charges nothing.
//! Knows nothing of routes or HTTP: callers say what they require.

#[cfg(test)]
mod held_tests;
#[cfg(test)]
mod neighbour_tests;
#[cfg(test)]
mod revocation_tests;
#[cfg(test)]
mod staleness_tests;
#[cfg(test)]
mod tests;

use crate::decide::{decide, is_dead, may_go_on};
use crate::failure_throttle::FailureSettings;
use crate::failure_throttle::source_gate::SourceGate;
use crate::lookup::{CacheSettings, Found, Lookup, TableState};
use crate::{
    Change, ChangeKind, ChangeSink, Charge, ChargeOutcome, ChargeRequest, Clock, Denial, DenialReason, DeploymentId,
    Freshness, KeyHash, KeyRecord, KeySource, Limiter, Moment, PermissionExpression, Permit, PresentedKey, RuleSet,
    SourceError, Standing, StoredKey, Verdict, VerifyError, Version,
};
use std::net::IpAddr;
use std::sync::Arc;

/// Which apps' keys may open a door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AppScope {
    /// The keys of every app of the deployment.
    Every,
    /// The keys of the apps with these slugs. Empty: nobody.
    Slugs(Box<[Box<str>]>),
}

/// What a door asks of a key.
#[derive(Debug, Clone)]
pub struct Requirement {
    /// The tenant whose keys are meant. `None`: that of the key source, which has no others.
    pub deployment_id: Option<DeploymentId>,
    /// The apps whose keys are meant.
    pub apps: AppScope,
    /// All of these must hold.
    pub permissions: Vec<PermissionExpression>,
}

/// One request to decide.
#[derive(Debug, Clone, Copy)]
pub struct VerifyRequest<'a> {
    /// The credential as it came, unparsed.
    pub credential: &'a [u8],
    /// The request path, without query, starting with `/`.
    pub path: &'a str,
    /// The client's address (IPv4-mapped IPv6 already IPv4), when known.
    pub address: Option<IpAddr>,
    /// What the door asks.
    pub requirement: &'a Requirement,
}

/// What a [`Verifier`] is made of.
pub struct VerifierParts {
    /// The time.
    pub clock: Clock,
    /// Where keys are read from.
    pub source: Arc<dyn KeySource>,
    /// What counts requests.
    pub limiter: Arc<dyn Limiter>,
    /// The rules of keys without a scheme.
    pub default_rules: Arc<RuleSet>,
    /// Size and patience of the cache.
    pub cache: CacheSettings,
    /// How many unknown keys an address may ask for.
    pub failures: FailureSettings,
}

/// What the verifier holds and has counted since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CacheStats {
    /// Keys held, roughly.
    pub known_keys: u64,
    /// Hashes remembered as unknown, roughly.
    pub unknown_keys: u64,
    /// Look-ups answered from memory.
    pub hits: u64,
    /// Look-ups that were not.
    pub misses: u64,
    /// Times that the source was asked.
    pub fills: u64,
    /// Look-ups at the source that ended without an answer.
    pub fill_errors: u64,
    /// Addresses whose failed look-ups are remembered.
    pub throttled_addresses: u64,
}

/// Decides requests. One per process, shared.
pub struct Verifier {
    clock: Clock,
    lookup: Arc<Lookup>,
    gate: SourceGate,
    limiter: Arc<dyn Limiter>,
}

impl Verifier {
    /// A verifier that knows no key yet, and holds those that are asked for.
    #[must_use]
    pub fn new(parts: VerifierParts) -> Verifier {
        Verifier::made_with(Lookup::new, parts)
    }

    /// A verifier that knows no key yet, and will hold every key that there is. Somebody must tell it all of them, with
    /// [`Verifier::admit_record`] and the methods beside it; until then, and for what is missing, it asks the source.
    #[must_use]
    pub fn of_every_key(parts: VerifierParts) -> Verifier {
        Verifier::made_with(Lookup::of_every_key, parts)
    }

    fn made_with(
        lookup: impl FnOnce(CacheSettings, Arc<dyn KeySource>, Arc<RuleSet>, Clock) -> Lookup,
        parts: VerifierParts,
    ) -> Verifier {
        Verifier {
            lookup: Arc::new(lookup(
                parts.cache,
                parts.source,
                parts.default_rules,
                parts.clock.clone(),
            )),
            gate: SourceGate::new(parts.failures, parts.clock.clone()),
            limiter: parts.limiter,
            clock: parts.clock,
        }
    }

    /// The same verifier, deciding only what `freshness` lets it decide. Without, it takes itself for up to date at all times.
    ///
    /// To be called once, before anything is asked.
    #[must_use]
    pub fn with_freshness(self, freshness: Arc<Freshness>) -> Verifier {
        self.lookup.judge_by(freshness);
        self
    }

    /// Decides a request and, if it may pass, charges it.
    ///
    /// A key in memory is decided without waiting and without allocating. Otherwise the key source is asked, which needs a tokio
    /// runtime; an error means that it could not be, or that too much may have changed unheard, and says nothing about the key.
    pub async fn verify(&self, request: &VerifyRequest<'_>) -> Result<Verdict, VerifyError> {
        let hash = match self.held(request, self.clock.now()) {
            Ok(decided) => return decided,
            Err(hash) => hash,
        };
        self.lookup.count_miss();
        let leave = match self.gate.ask(request.address, &hash) {
            Ok(leave) => leave,
            Err(retry_after_us) => return Ok(refuse(DenialReason::TooManyFailures { retry_after_us })),
        };
        let found = self.fill(&hash).await?;
        if let Found::Unknown = found {
            leave.failed(&hash);
        }
        // Time has passed at the source: a key may have expired meanwhile, or the process may have been stopped for long.
        let now = self.clock.now();
        self.is_trusted(now)?;
        Ok(self.judge(found, &hash, request, now))
    }

    /// The same, if it can be told from memory: of a malformed key, of one that is held and of one that is remembered as unknown.
    /// `None`: the source must be asked, and [`Verifier::verify`] does that.
    ///
    /// Never waits, allocates nothing, and reads no clock: the request is decided as of `now`. `None` changes nothing and counts
    /// nothing, so that the call of `verify` after it is one miss, as it would be alone.
    #[inline]
    #[must_use]
    pub fn verify_held(&self, request: &VerifyRequest<'_>, now: Moment) -> Option<Result<Verdict, VerifyError>> {
        self.held(request, now).ok()
    }

    /// What is decided from memory, or the hash to ask the source for.
    #[inline]
    fn held(&self, request: &VerifyRequest<'_>, now: Moment) -> Result<Result<Verdict, VerifyError>, KeyHash> {
        let Ok(presented) = PresentedKey::parse(request.credential) else {
            return Ok(Ok(refuse(DenialReason::KeyMalformed)));
        };
        if let Err(error) = self.is_trusted(now) {
            return Ok(Err(error));
        }
        let hash = presented.hash();
        match self.lookup.find(&hash, now) {
            Some(found) => Ok(Ok(self.judge(found, &hash, request, now))),
            None => Err(hash),
        }
    }

    /// Whether anything may be decided by what is held.
    #[inline]
    fn is_trusted(&self, now: Moment) -> Result<(), VerifyError> {
        let Some(freshness) = self.lookup.freshness() else {
            return Ok(());
        };
        match freshness.standing(now) {
            Standing::Fresh | Standing::Stale => Ok(()),
            Standing::TooStale => Err(VerifyError::TooStale {
                staleness: freshness.staleness(now),
            }),
        }
    }

    fn judge(&self, found: Found, hash: &KeyHash, request: &VerifyRequest<'_>, now: Moment) -> Verdict {
        let Found::Known(key) = found else {
            return refuse(DenialReason::KeyUnknown);
        };
        if let Some(reason) = decide(&key, request.requirement, request.path, now) {
            // Whose key it is stays between its tenant and us.
            let is_ours = request.requirement.is_of_tenant(&key);
            return Verdict::Deny(Denial {
                reason,
                key: is_ours.then_some(key),
                charge: None,
            });
        }
        let charge = self.limiter.charge(
            &key,
            &ChargeRequest {
                path: request.path,
                address: request.address,
                now,
            },
        );
        conclude(key, *hash, charge)
    }

    /// Says what a request with this key would come to at a door of the deployment that asks for no app and no permission.
    ///
    /// Charges nothing, is never throttled, and looks at no path: resources are not checked, and limits are judged for the path
    /// `/` and without an address. A key of another deployment is unknown to this one.
    pub async fn inspect(&self, credential: &[u8], deployment_id: DeploymentId) -> Result<Verdict, VerifyError> {
        let Ok(presented) = PresentedKey::parse(credential) else {
            return Ok(refuse(DenialReason::KeyMalformed));
        };
        let hash = presented.hash();
        let now = self.clock.now();
        self.is_trusted(now)?;
        let found = match self.lookup.held(&hash, now) {
            Some(found) => found,
            None => self.fill(&hash).await?,
        };
        let now = self.clock.now();
        self.is_trusted(now)?;
        let key = match found {
            Found::Known(key) if key.deployment_id == deployment_id => key,
            Found::Known(_) | Found::Unknown => return Ok(refuse(DenialReason::KeyUnknown)),
        };
        if let Some(reason) = is_dead(&key, now) {
            return Ok(Verdict::Deny(Denial {
                reason,
                key: Some(key),
                charge: None,
            }));
        }
        let charge = self.limiter.peek(
            &key,
            &ChargeRequest {
                path: "/",
                address: None,
                now,
            },
        );
        Ok(conclude(key, hash, charge))
    }

    /// Whether what a request was admitted for may go on: the key is not revoked, not expired, its app is active and one of those
    /// that are meant, and it holds the permissions.
    ///
    /// Charges nothing, is never throttled, and looks at no path: what an app's resources say was checked at the start. A key that
    /// is not in memory is read again, which needs a tokio runtime; an error means that it could not be, or that too much may have
    /// changed unheard, and says nothing about the key.
    pub async fn still_opens(&self, hash: &KeyHash, requirement: &Requirement) -> Result<bool, VerifyError> {
        if let Some(answer) = self.still_opens_as_held(hash, requirement) {
            return Ok(answer);
        }
        self.is_trusted(self.clock.now())?;
        let found = self.fill(hash).await?;
        self.is_trusted(self.clock.now())?;
        Ok(self.may_go_on(&found, requirement))
    }

    /// The same, if it can be told from memory.
    #[must_use]
    pub fn still_opens_as_held(&self, hash: &KeyHash, requirement: &Requirement) -> Option<bool> {
        let now = self.clock.now();
        self.is_trusted(now).ok()?;
        let found = self.lookup.recall(hash, now)?;
        Some(self.may_go_on(&found, requirement))
    }

    fn may_go_on(&self, found: &Found, requirement: &Requirement) -> bool {
        match found {
            Found::Known(key) => may_go_on(key, requirement, self.clock.now()),
            Found::Unknown => false,
        }
    }

    /// Boxed, so that the future of a request whose key is in memory stays small.
    async fn fill(&self, hash: &KeyHash) -> Result<Found, SourceError> {
        let found = Box::pin(self.lookup.fill(hash)).await?;
        if let Found::Known(_) = found {
            self.gate.has(hash);
        }
        Ok(found)
    }

    /// Forgets what a change made outdated: once this returns, no request is decided by what was before it.
    ///
    /// Changes come in the order of the log, from one caller; one that was applied before may come again.
    pub fn apply(&self, change: &Change) {
        if let ChangeKind::KeyCreated(hash) | ChangeKind::KeyChanged(hash) = &change.kind {
            self.gate.has(hash);
        }
        self.lookup.apply(change);
    }

    /// Reads everything again, at `at` or later, before it decides anything: the history of the store is another, or changes may
    /// have been missed. To be called with the version at which a caller starts to follow the log, too.
    pub fn distrust_all(&self, at: Version) {
        self.lookup.distrust_all(at);
    }

    /// Forgets every key: the source speaks for another tenant from now on.
    pub fn forget_all(&self) {
        self.lookup.forget_all();
    }

    /// Tells of a key that existed at `as_of`, unasked. Answers whether it, or what was read later, is held now: it is not if a
    /// change that was applied made it outdated, or for want of room.
    pub fn admit_record(&self, hash: KeyHash, record: KeyRecord, as_of: Version) -> bool {
        self.gate.has(&hash);
        self.lookup.admit(hash, record, as_of)
    }

    /// Tells that no key had this hash at `as_of`, unasked.
    pub fn note_absent(&self, hash: &KeyHash, as_of: Version) {
        self.lookup.note_absent(hash, as_of);
    }

    /// Every key that existed at `at` was told, and so was every key that a change named that has been applied by now: what is not
    /// held is unknown from now on. Answers whether that is so: see [`Lookup::complete`].
    pub fn table_complete(&self, at: Version) -> bool {
        self.lookup.complete(at)
    }

    /// Keys may be missing. To be called when a walk over all of them begins, or will; after [`Verifier::distrust_all`], where
    /// that is why.
    pub fn table_incomplete(&self) {
        self.lookup.incomplete();
    }

    /// How far a verifier [of every key](Verifier::of_every_key) is filled; `None` for any other.
    #[must_use]
    pub fn table(&self) -> Option<TableState> {
        self.lookup.table()
    }

    /// Counts and sizes.
    #[must_use]
    pub fn stats(&self) -> CacheStats {
        let lookup = self.lookup.stats();
        CacheStats {
            known_keys: lookup.known_keys,
            unknown_keys: lookup.unknown_keys,
            hits: lookup.hits,
            misses: lookup.misses,
            fills: lookup.fills,
            fill_errors: lookup.fill_errors,
            throttled_addresses: self.gate.addresses(),
        }
    }

    /// The time that decisions are made by.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Housekeeping that no request should pay for. To be called about once a second.
    pub fn sweep(&self) {
        self.lookup.sweep();
        self.gate.sweep();
    }
}

impl ChangeSink for Verifier {
    fn apply(&self, change: &Change) {
        Verifier::apply(self, change);
    }

    fn distrust_all(&self, at: Version) {
        Verifier::distrust_all(self, at);
    }
}

fn refuse(reason: DenialReason) -> Verdict {
    Verdict::Deny(Denial {
        reason,
        key: None,
        charge: None,
    })
}

fn conclude(key: Arc<StoredKey>, hash: KeyHash, charge: Charge) -> Verdict {
    match charge.outcome {
        ChargeOutcome::Admitted => Verdict::Allow(Permit { key, hash, charge }),
        ChargeOutcome::Refused {
            blocked_rule,
            retry_after_us,
        } => Verdict::Deny(Denial {
            reason: DenialReason::RateLimited {
                blocked_rule,
                retry_after_us,
            },
            key: Some(key),
            charge: Some(charge),
        }),
    }
}
