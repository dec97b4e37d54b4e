//! How values lie in columns: times as microseconds since the Unix epoch, lists and objects as JSON text.
//!
//! Knows no table. Whatever cannot be read back is damage, and damage is [`StoreError::Unavailable`], never a guess.

use crate::StoreError;
use jiff::Timestamp;
use portcullis_verify::KeyHash;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A stored time.
pub(crate) fn timestamp(us: i64) -> Result<Timestamp, StoreError> {
    Timestamp::from_microsecond(us).map_err(StoreError::unavailable)
}

/// A stored time that may be unset.
pub(crate) fn optional_timestamp(us: Option<i64>) -> Result<Option<Timestamp>, StoreError> {
    us.map(timestamp).transpose()
}

/// Lays out a value as JSON text.
pub(crate) fn to_json<T: Serialize + ?Sized>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(StoreError::unavailable)
}

/// Reads JSON text back.
pub(crate) fn from_json<T: DeserializeOwned>(text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(StoreError::unavailable)
}

/// Reads 32 bytes back.
pub(crate) fn hash(bytes: &[u8]) -> Result<[u8; 32], StoreError> {
    bytes.try_into().map_err(StoreError::unavailable)
}

/// Reads a key hash back.
pub(crate) fn key_hash(bytes: &[u8]) -> Result<KeyHash, StoreError> {
    hash(bytes).map(KeyHash)
}

/// Reads an HTTP status back.
pub(crate) fn status(value: i64) -> Result<u16, StoreError> {
    u16::try_from(value).map_err(StoreError::unavailable)
}

/// A count that the database keeps as a signed number and that is never negative.
pub(crate) fn count(value: i64) -> Result<u64, StoreError> {
    u64::try_from(value).map_err(StoreError::unavailable)
}
