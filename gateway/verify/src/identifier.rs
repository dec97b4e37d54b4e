//! The names of things inside the engine: ids, hashes, versions.
//!
//! Plain values with no behaviour beyond comparison; who may see what is decided elsewhere.
//! Every crate of the workspace uses these instead of bare integers.

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id!(
    /// A tenant: the owner of apps, keys, schemes and tokens.
    DeploymentId
);
id!(
    /// An API auth app. Ids are never used again, slugs may be.
    AppId
);
id!(
    /// An API key. Rotation makes a new id.
    KeyId
);
id!(
    /// A rate-limit scheme.
    SchemeId
);

/// BLAKE3 `derive_key` hash of a secret: the only form in which a key is stored, cached or looked up.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct KeyHash(pub [u8; 32]);

impl std::fmt::Debug for KeyHash {
    /// Four bytes are enough to tell two hashes apart in a log and too few to look one up.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "KeyHash({:02x}{:02x}{:02x}{:02x}…)",
            self.0[0], self.0[1], self.0[2], self.0[3]
        )
    }
}

/// A point in the change log of one store.
///
/// `epoch` names the history (a restored backup starts another one); `revision` counts its changes without gaps.
/// Versions of different epochs cannot be compared: [`Version::covers`] is then false.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Version {
    /// Random name of the history.
    pub epoch: u64,
    /// Number of changes committed in that history.
    pub revision: u64,
}

impl Version {
    /// Whether data read at `self` includes every change up to `fence`.
    #[must_use]
    pub fn covers(self, fence: Version) -> bool {
        self.epoch == fence.epoch && self.revision >= fence.revision
    }
}
