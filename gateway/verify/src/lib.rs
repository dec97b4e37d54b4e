//! The engine: a presented key becomes a verdict.
//!
//! It decides who holds a key and whether this request is theirs to make. It knows nothing of HTTP and nothing of SQL:
//! callers hand it bytes, a path and an address; a [`KeySource`] hands it records; a [`Limiter`] counts.
//! The reverse proxy, the decision API and the control API's `verify` call all use the one chain in [`verifier`].

pub mod change;
pub mod clock;
pub mod decide;
pub mod derived;
pub mod failure_throttle;
pub mod freshness;
pub mod identifier;
pub mod key_record;
pub mod key_source;
pub mod limiter;
pub mod lookup;
pub mod permission;
pub mod presented_key;
pub mod resource;
pub mod rule;
pub mod secret;
pub mod stored_key;
pub mod verdict;
pub mod verifier;

pub use change::{Change, ChangeKind, ChangeSink};
pub use clock::{Clock, ManualClock, Moment};
pub use derived::Derived;
pub use failure_throttle::{FailureSettings, FailureThrottle};
pub use freshness::{Freshness, Standing};
pub use identifier::{AppId, DeploymentId, KeyHash, KeyId, SchemeId, Version};
pub use key_record::{AppRecord, KeyRecord, SchemeRecord};
pub use key_source::{Fetched, KeySource, SourceError};
pub use limiter::{Charge, ChargeOutcome, ChargeRequest, Limiter, RuleState};
pub use lookup::{CacheSettings, Found, Lookup, LookupStats, TableState};
pub use permission::{PermissionExpression, PermissionSyntaxError};
pub use presented_key::{MalformedKey, PresentedKey};
pub use rule::{CompiledRule, EndpointPattern, Endpoints, Mode, Rule, RuleFault, RuleSet, Unit, Window};
pub use secret::Secret;
pub use stored_key::StoredKey;
pub use verdict::{Denial, DenialReason, Permit, Verdict, VerifyError};
pub use verifier::{AppScope, CacheStats, Requirement, Verifier, VerifierParts, VerifyRequest};
