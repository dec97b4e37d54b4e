//! What a gateway would decide about a key, on the wire.

use crate::bounds;
use crate::fault::{Fault, Faults};
use crate::field::Field;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A key to ask about. It is read, and repeated nowhere.
#[derive(Default, Deserialize, ToSchema)]
pub(crate) struct VerifyKeyRequest {
    /// The key's secret, as a caller would present it.
    #[schema(value_type = String, required = true, write_only, min_length = 1)]
    key: Field<String>,
}

impl VerifyKeyRequest {
    /// The secret as it was sent, of whatever shape, or what is wrong.
    pub(crate) fn validate(self) -> Result<String, Vec<Fault>> {
        let mut faults = Faults::default();
        let key = faults.required("key", self.key, bounds::presented_key);
        faults.or(key)
    }
}

/// What a gateway would decide about a key now, and the true reason. Asking charges nothing.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct VerifyAnswer {
    /// `allow` or `deny`.
    pub(crate) decision: &'static str,
    /// Why not: `key_malformed`, `key_unknown`, `key_revoked`, `key_expired`, `app_inactive` or `rate_limited`.
    pub(crate) reason: Option<&'static str>,
    /// What a caller of the gateway would get: 200 (let through), 403 or 429.
    pub(crate) status: u16,
    /// The decision as a sentence for people.
    pub(crate) message: String,
    /// The key, when it is one of this deployment.
    pub(crate) key_id: Option<String>,
    /// Its app.
    pub(crate) app_slug: Option<String>,
    /// Its name.
    pub(crate) key_name: Option<String>,
    /// What it may do: its own permissions that its app allows too.
    pub(crate) permissions: Vec<String>,
    /// When it stops.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) expires_at: Option<Timestamp>,
    /// From when it is revoked.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) revoked_at: Option<Timestamp>,
    /// Why it was revoked.
    pub(crate) revoked_reason: Option<String>,
    /// Where its rules stand. Rules by address are left out: there is no address to look at.
    pub(crate) rate_limits: Vec<RateLimitState>,
    /// The version of the data that this was decided on.
    pub(crate) as_of: AsOf,
}

/// Where one rule stands.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RateLimitState {
    /// The rule's name, as in headers and records.
    pub(crate) rule: String,
    /// Requests per window.
    pub(crate) limit: u32,
    /// Requests left now.
    pub(crate) remaining: u32,
}

/// A place in the change log.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AsOf {
    /// The history it is a place in.
    pub(crate) epoch: String,
    /// How many changes that history has had.
    pub(crate) revision: String,
}
