//! One entry of the change log, as the cache needs to hear it.
//!
//! Says what may be stale, never what the new value is: whoever needs it asks the source again.

use crate::{AppId, DeploymentId, KeyHash, SchemeId, Version};

/// A committed change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// Where in the log it stands.
    pub version: Version,
    /// The tenant it belongs to.
    pub deployment_id: DeploymentId,
    /// What may be stale.
    pub kind: ChangeKind,
}

/// What a change touches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// A key with this hash was created: an answer "unknown" may be stale.
    KeyCreated(KeyHash),
    /// The key with this hash was revoked, rotated or edited.
    KeyChanged(KeyHash),
    /// Every key of this app may be stale.
    AppChanged(AppId),
    /// Every key that this scheme limits may be stale.
    SchemeChanged(SchemeId),
    /// A token was revoked: what is connected with it must end. Touches no key.
    TokenRevoked(i64),
    /// Touches no key: new tokens, plans, a scheme nobody uses yet.
    NoKey,
}

/// Something that holds copies of data and must hear of changes.
pub trait ChangeSink: Send + Sync {
    /// Hears of one change. Changes come in the order of the log, each once.
    fn apply(&self, change: &Change);
    /// Hears that changes were missed: whatever is held must be confirmed at `at` or later before it is used again.
    fn distrust_all(&self, at: Version);
}
