//! A [`KeySource`] that answers when the test says so, with what the test says.

use crate::{AppId, AppRecord, DeploymentId, Fetched, KeyHash, KeyId, KeyRecord, KeySource, SourceError, Version};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, mpsc, oneshot};

/// How long a test waits for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// The source; every call becomes a [`Call`] on the other end.
pub(crate) struct ScriptedSource(mpsc::UnboundedSender<Call>);

/// A call that waits for its answer. Dropping it makes the call fail.
pub(crate) struct Call {
    pub(crate) hash: KeyHash,
    answer: oneshot::Sender<Result<Fetched, SourceError>>,
}

/// The test's end.
pub(crate) struct Script(Mutex<mpsc::UnboundedReceiver<Call>>);

pub(crate) fn scripted() -> (Arc<ScriptedSource>, Script) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (Arc::new(ScriptedSource(sender)), Script(Mutex::new(receiver)))
}

#[async_trait::async_trait]
impl KeySource for ScriptedSource {
    async fn fetch(&self, hash: &KeyHash) -> Result<Fetched, SourceError> {
        let (answer, answered) = oneshot::channel();
        self.0.send(Call { hash: *hash, answer }).map_err(|_| SourceError {
            cause: "the test is over".to_owned(),
        })?;
        answered.await.unwrap_or_else(|_| {
            Err(SourceError {
                cause: "unplugged".to_owned(),
            })
        })
    }
}

impl Script {
    /// Waits for the next call; not for ever, so that a call that never comes fails the test.
    pub(crate) async fn call(&self) -> Call {
        let mut calls = self.0.lock().await;
        tokio::time::timeout(PATIENCE, calls.recv())
            .await
            .expect("the source was not asked")
            .unwrap()
    }

    /// The next call, if there is one already.
    pub(crate) fn try_call(&self) -> Option<Call> {
        self.0.try_lock().unwrap().try_recv().ok()
    }
}

impl Call {
    pub(crate) fn answer(self, as_of: Version, record: Option<KeyRecord>) {
        // The asker may have given up.
        let _ = self.answer.send(Ok(Fetched { as_of, record }));
    }

    pub(crate) fn has_asker(&self) -> bool {
        !self.answer.is_closed()
    }
}

/// A plain live key of deployment 1 and app 1.
pub(crate) fn record(key_id: KeyId) -> KeyRecord {
    KeyRecord {
        key_id,
        lineage_id: key_id,
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
