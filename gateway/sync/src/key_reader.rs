//! What reads keys from the control API: the link, or, in tests, a script.
//!
//! Two questions and nothing else. The remote source and the preloader ask.

use crate::link::{Link, LinkError};
use crate::message::{HashText, KeyPage, LookUp, LookedUp};
use portcullis_verify::{AppId, KeyId};
use std::time::Duration;

/// A reader of keys.
pub(crate) trait KeyReader: Send + Sync + 'static {
    /// See [`Link::look_up`].
    fn look_up(
        &self,
        hashes: Vec<HashText>,
        patience: Duration,
    ) -> impl Future<Output = Result<LookedUp, LinkError>> + Send;

    /// See [`Link::keys`].
    fn page(
        &self,
        after: Option<KeyId>,
        app: Option<AppId>,
        limit: u32,
        patience: Duration,
    ) -> impl Future<Output = Result<KeyPage, LinkError>> + Send;
}

impl KeyReader for Link {
    async fn look_up(&self, hashes: Vec<HashText>, patience: Duration) -> Result<LookedUp, LinkError> {
        Link::look_up(self, &LookUp { hashes }, patience).await
    }

    async fn page(
        &self,
        after: Option<KeyId>,
        app: Option<AppId>,
        limit: u32,
        patience: Duration,
    ) -> Result<KeyPage, LinkError> {
        self.keys(after, app, limit, patience).await
    }
}
