//! What a rule must be to be taken, and what its author is told when it is not.
//!
//! Decides nothing about how a rule counts. The control API and the configuration ask before they keep one.

use super::endpoints::EndpointEntry;
use super::{Rule, Unit};
use std::fmt;

/// Most entries in one rule's endpoints: each is compared on every request that the rule is asked about.
pub const ENDPOINTS_MAX: usize = 256;
/// Longest endpoint, in bytes.
pub const ENDPOINT_BYTES_MAX: usize = 2048;

/// Why a rule is refused. The text names the field, the value and the bound, and is meant for the rule's author.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleFault {
    /// The window is shorter or longer than its unit allows.
    #[error("`duration` is {value}, but with the unit `{}` it must be {}", unit.name(), Bounds(unit.duration_max()))]
    Duration {
        /// The rule's unit.
        unit: Unit,
        /// The rule's duration.
        value: i32,
    },
    /// The limit admits nothing.
    #[error("`max_requests` is {value}, but it must be from 1 to 2147483647")]
    MaxRequests {
        /// The rule's limit.
        value: i32,
    },
    /// Too many endpoints.
    #[error("`endpoints` has {count} entries, but at most {ENDPOINTS_MAX} are allowed")]
    EndpointCount {
        /// How many there are.
        count: usize,
    },
    /// An endpoint that is too long to ever be looked at.
    #[error("`endpoints[{index}]` has {bytes} bytes, but at most {ENDPOINT_BYTES_MAX} are allowed")]
    EndpointLength {
        /// Which one, counted from 0.
        index: usize,
        /// Its length.
        bytes: usize,
    },
    /// An endpoint of another shape than the three that there are.
    #[error(
        "`endpoints[{index}]` is {value:?}, but it must be `*`, a path such as `/v1/invoices`, or a prefix such as `/v1/*`"
    )]
    Endpoint {
        /// Which one, counted from 0.
        index: usize,
        /// The entry.
        value: String,
    },
}

impl RuleFault {
    /// The field of the rule that is at fault.
    #[must_use]
    pub fn field(&self) -> &'static str {
        match self {
            RuleFault::Duration { .. } => "duration",
            RuleFault::MaxRequests { .. } => "max_requests",
            RuleFault::EndpointCount { .. } | RuleFault::EndpointLength { .. } | RuleFault::Endpoint { .. } => {
                "endpoints"
            }
        }
    }
}

/// Writes the durations from 1 to this one.
struct Bounds(i32);

impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            1 => f.write_str("1"),
            max => write!(f, "from 1 to {max}"),
        }
    }
}

impl Rule {
    /// Whether every field is within its bounds; the first that is not, otherwise.
    pub fn validate(&self) -> Result<(), RuleFault> {
        if !(1..=self.unit.duration_max()).contains(&self.duration) {
            return Err(RuleFault::Duration {
                unit: self.unit,
                value: self.duration,
            });
        }
        if self.max_requests < 1 {
            return Err(RuleFault::MaxRequests {
                value: self.max_requests,
            });
        }
        let endpoints = self.endpoints.as_deref().unwrap_or_default();
        if endpoints.len() > ENDPOINTS_MAX {
            return Err(RuleFault::EndpointCount { count: endpoints.len() });
        }
        for (index, endpoint) in endpoints.iter().enumerate() {
            if endpoint.len() > ENDPOINT_BYTES_MAX {
                return Err(RuleFault::EndpointLength {
                    index,
                    bytes: endpoint.len(),
                });
            }
            if EndpointEntry::parse(endpoint).is_none() {
                return Err(RuleFault::Endpoint {
                    index,
                    value: endpoint.clone(),
                });
            }
        }
        Ok(())
    }
}
