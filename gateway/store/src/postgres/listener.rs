//! Hears of commits of all processes, and wakes who waits for them.
//!
//! A wake-up only: what was committed is read from the change log, which is polled as well, so that a notification that
//! is lost costs time and nothing else. Started by [`super::Database`]; no call ever waits for it.

use super::server::{ANSWER_WAIT, Server, WAIT};
use super::session::CHANNEL;
use sqlx::Row as _;
use sqlx::postgres::{PgListener, PgPoolOptions};
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::timeout;

/// The pause before it connects again.
const PAUSE: Duration = Duration::from_millis(500);

/// Runs until it is stopped or dropped.
#[derive(Debug)]
pub(super) struct Listener(AbortHandle);

impl Listener {
    pub(super) fn start(server: Arc<Server>, committed: watch::Sender<u64>) -> Listener {
        Listener(tokio::spawn(run(server, committed)).abort_handle())
    }

    pub(super) fn stop(&self) {
        self.0.abort();
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn run(server: Arc<Server>, committed: watch::Sender<u64>) {
    loop {
        let Err(error) = follow(&server, &committed).await;
        tracing::debug!(cause = %error, "not told of other processes' commits; polling goes on");
        tokio::time::sleep(PAUSE).await;
    }
}

/// Listens until the connection is lost.
async fn follow(server: &Server, committed: &watch::Sender<u64>) -> Result<Infallible, sqlx::Error> {
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(WAIT)
        .connect_lazy_with(server.options());
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.eager_reconnect(false);
    within(WAIT, listener.listen(CHANNEL)).await?;
    loop {
        // Also what was said while nobody listened; and a peer that vanished is noticed.
        let head = sqlx::query("SELECT revision FROM log_head");
        let head = within(WAIT, head.fetch_one(&mut listener)).await?;
        raise(committed, head.try_get::<i64, _>("revision")?.try_into().ok());
        while let Ok(heard) = timeout(ANSWER_WAIT, listener.try_recv()).await {
            let Some(notification) = heard? else {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            };
            raise(committed, notification.payload().parse().ok());
        }
    }
}

fn raise(committed: &watch::Sender<u64>, revision: Option<u64>) {
    committed.send_if_modified(|last| match revision {
        Some(revision) if revision > *last => {
            *last = revision;
            true
        }
        _ => false,
    });
}

async fn within<T>(time: Duration, call: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    match timeout(time, call).await {
        Ok(outcome) => outcome,
        Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
    }
}
