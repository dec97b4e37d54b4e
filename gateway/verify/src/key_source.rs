//! Where records come from on a cache miss: the store in `serve`, the control API in a gateway elsewhere.
//!
//! Knows nothing of how a source is reached; it fixes what a source must promise.

use crate::{KeyHash, KeyRecord, Version};

/// A source of key records.
#[async_trait::async_trait]
pub trait KeySource: Send + Sync {
    /// Reads what is known of the key with this hash.
    ///
    /// The record and its `as_of` come from one snapshot: every change up to `as_of` is in the record, and none after it.
    /// Revoked and expired keys, and keys of inactive or deleted apps, are records too; only a hash that was never stored is `None`.
    async fn fetch(&self, hash: &KeyHash) -> Result<Fetched, SourceError>;
}

/// An answer of a [`KeySource`].
#[derive(Debug, Clone)]
pub struct Fetched {
    /// The version of the snapshot that was read.
    pub as_of: Version,
    /// The record, or `None` when no key has this hash.
    pub record: Option<KeyRecord>,
}

/// The source could not be asked. Never an answer about the key.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the key source cannot be asked: {cause}")]
pub struct SourceError {
    /// Private cause, for logs; never sent to a caller.
    pub cause: String,
}
