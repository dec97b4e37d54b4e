//! A [`KeyReader`] that answers when the test says so, with what the test says.

use crate::key_reader::KeyReader;
use crate::link::LinkError;
use crate::message::{HashText, KeyPage, LookedUp};
use portcullis_verify::{AppId, AppRecord, DeploymentId, KeyHash, KeyId, KeyRecord, Version};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, mpsc, oneshot};

/// How long a test waits for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// The reader; every question becomes a call on the other end.
pub(crate) struct ScriptedReader {
    look_ups: mpsc::UnboundedSender<LookUpCall>,
    pages: mpsc::UnboundedSender<PageCall>,
}

/// The test's end.
pub(crate) struct Script {
    look_ups: Mutex<mpsc::UnboundedReceiver<LookUpCall>>,
    pages: Mutex<mpsc::UnboundedReceiver<PageCall>>,
}

/// A look-up that waits for its answer.
pub(crate) struct LookUpCall {
    pub(crate) hashes: Vec<KeyHash>,
    answer: oneshot::Sender<Result<LookedUp, LinkError>>,
}

/// A page that waits to be read.
pub(crate) struct PageCall {
    pub(crate) after: Option<KeyId>,
    pub(crate) app: Option<AppId>,
    pub(crate) limit: u32,
    answer: oneshot::Sender<Result<KeyPage, LinkError>>,
}

pub(crate) fn scripted() -> (Arc<ScriptedReader>, Script) {
    let (look_ups, look_up_calls) = mpsc::unbounded_channel();
    let (pages, page_calls) = mpsc::unbounded_channel();
    let script = Script {
        look_ups: Mutex::new(look_up_calls),
        pages: Mutex::new(page_calls),
    };
    (Arc::new(ScriptedReader { look_ups, pages }), script)
}

impl KeyReader for ScriptedReader {
    async fn look_up(&self, hashes: Vec<HashText>, _: Duration) -> Result<LookedUp, LinkError> {
        let (answer, answered) = oneshot::channel();
        let hashes = hashes.into_iter().map(|hash| hash.0).collect();
        let _ = self.look_ups.send(LookUpCall { hashes, answer });
        answered
            .await
            .unwrap_or_else(|_| Err(LinkError::Broken("unplugged".to_owned())))
    }

    async fn page(
        &self,
        after: Option<KeyId>,
        app: Option<AppId>,
        limit: u32,
        _: Duration,
    ) -> Result<KeyPage, LinkError> {
        let (answer, answered) = oneshot::channel();
        let _ = self.pages.send(PageCall {
            after,
            app,
            limit,
            answer,
        });
        answered
            .await
            .unwrap_or_else(|_| Err(LinkError::Broken("unplugged".to_owned())))
    }
}

impl Script {
    /// Waits for the next look-up; not for ever, so that one that never comes fails the test.
    pub(crate) async fn look_up(&self) -> LookUpCall {
        next(&self.look_ups).await
    }

    /// The next look-up, if there is one already.
    pub(crate) fn try_look_up(&self) -> Option<LookUpCall> {
        self.look_ups.try_lock().unwrap().try_recv().ok()
    }

    /// Waits for the next page to be asked for, as [`Script::look_up`].
    pub(crate) async fn page(&self) -> PageCall {
        next(&self.pages).await
    }

    /// The next page that is asked for, if there is one already.
    pub(crate) fn try_page(&self) -> Option<PageCall> {
        self.pages.try_lock().unwrap().try_recv().ok()
    }
}

async fn next<T>(calls: &Mutex<mpsc::UnboundedReceiver<T>>) -> T {
    let mut calls = calls.lock().await;
    tokio::time::timeout(PATIENCE, calls.recv())
        .await
        .expect("nothing was asked")
        .unwrap()
}

impl LookUpCall {
    pub(crate) fn answer(self, as_of: Version, find: impl Fn(&KeyHash) -> Option<KeyRecord>) {
        let records = self.hashes.iter().map(find).collect();
        // The asker may have given up.
        let _ = self.answer.send(Ok(LookedUp { as_of, records }));
    }

    pub(crate) fn fail(self, error: LinkError) {
        let _ = self.answer.send(Err(error));
    }
}

impl PageCall {
    pub(crate) fn answer(self, page: KeyPage) {
        let _ = self.answer.send(Ok(page));
    }

    pub(crate) fn fail(self, error: LinkError) {
        let _ = self.answer.send(Err(error));
    }
}

/// A plain live key of deployment 1 and app 1.
pub(crate) fn record(key_id: i64) -> KeyRecord {
    KeyRecord {
        key_id: KeyId(key_id),
        lineage_id: KeyId(key_id),
        deployment_id: DeploymentId(1),
        app: AppRecord {
            id: AppId(1),
            slug: "app".to_owned(),
            is_active: true,
            permissions: Vec::new(),
            resources: Vec::new(),
        },
        name: "key".to_owned(),
        permissions: Vec::new(),
        metadata: serde_json::Map::new(),
        owner_user_id: None,
        organization_id: None,
        workspace_id: None,
        expires_at_us: None,
        revoked_at_us: None,
        scheme: None,
    }
}
