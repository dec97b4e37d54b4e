//! A source of keys, or a table of them, whose keys are saved as they pass.
//!
//! Decides nothing: what is outdated by then is told apart when it is read. The wiring puts it between a gateway's verifier and what
//! feeds it.

use super::Snapshot;
use crate::key_table::KeyTable;
use portcullis_verify::{Fetched, KeyHash, KeyRecord, KeySource, SourceError, Version};
use std::sync::Arc;

/// Passes everything on, and notes every key.
#[derive(Debug)]
pub struct Remembering<T> {
    inner: T,
    snapshot: Arc<Snapshot>,
}

impl<T> Remembering<T> {
    /// Notes in `snapshot` what passes through.
    pub fn new(inner: T, snapshot: Arc<Snapshot>) -> Remembering<T> {
        Remembering { inner, snapshot }
    }
}

#[async_trait::async_trait]
impl<S: KeySource> KeySource for Remembering<S> {
    async fn fetch(&self, hash: &KeyHash) -> Result<Fetched, SourceError> {
        let fetched = self.inner.fetch(hash).await?;
        if let Some(record) = &fetched.record {
            self.snapshot.put(hash, fetched.as_of, record);
        }
        Ok(fetched)
    }
}

impl<T: KeyTable> KeyTable for Remembering<T> {
    fn admit(&self, hash: KeyHash, record: KeyRecord, as_of: Version) -> bool {
        self.snapshot.put(&hash, as_of, &record);
        self.inner.admit(hash, record, as_of)
    }

    fn absent(&self, hash: &KeyHash, as_of: Version) {
        self.inner.absent(hash, as_of);
    }

    fn complete(&self, at: Version) -> bool {
        self.inner.complete(at)
    }

    fn incomplete(&self) {
        self.inner.incomplete();
    }
}
