//! A bounded set of connections to one server, lent out as sessions.
//!
//! Never waits for a connection that is given back, and never without a bound: sqlx's own pool tests what comes back
//! with a ping, and a peer that vanished would keep the place for as long as the kernel resends. Only
//! [`super::Database`] lends from it.

use super::server::{Connected, Server, WAIT};
use super::session::Session;
use crate::StoreError;
use sqlx::Connection as _;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Clones share it.
#[derive(Clone)]
pub(super) struct Pool(Arc<Shared>);

struct Shared {
    server: Arc<Server>,
    places: Arc<Semaphore>,
    size: u32,
    /// Those that nobody uses; the one used last is lent first.
    idle: Mutex<Vec<Connected>>,
}

impl Pool {
    /// An empty pool; it connects when it is asked.
    pub(super) fn new(server: Arc<Server>, size: u32) -> Pool {
        Pool(Arc::new(Shared {
            server,
            places: Arc::new(Semaphore::new(size as usize)),
            size,
            idle: Mutex::new(Vec::new()),
        }))
    }

    /// A connection, within [`WAIT`]; who comes first is served first.
    pub(super) async fn acquire(&self) -> Result<Session, StoreError> {
        let lend = async {
            let place = Arc::clone(&self.0.places).acquire_owned().await;
            let place = place.map_err(|_| self.0.server.lost("the store is closed"))?;
            let (idle, in_doubt) = self.idle(|idle| {
                let in_doubt: Vec<Connected> = idle.extract_if(.., |idle| !self.0.server.is_trusted(idle)).collect();
                (idle.pop(), in_doubt)
            });
            // They close; not under the lock.
            drop(in_doubt);
            Ok(match idle {
                Some(connected) => Session::reused(connected, self.clone(), place),
                None => Session::new(self.connect().await?, self.clone(), place),
            })
        };
        timeout(WAIT, lend)
            .await
            .unwrap_or_else(|_| Err(self.0.server.lost("no connection came free")))
    }

    /// A new connection for a place that is held already.
    pub(super) async fn connect(&self) -> Result<Connected, StoreError> {
        self.0.server.connect().await
    }

    /// Takes back a connection on which nothing is under way.
    pub(super) fn give_back(&self, connected: Connected, place: OwnedSemaphorePermit) {
        if !self.0.places.is_closed() {
            self.idle(|idle| idle.push(connected));
        }
        drop(place);
    }

    /// Hears that a connection was dead: the unused ones, of the server's other pools too, are given up untried.
    pub(super) fn note_loss(&self) {
        self.0.server.note_loss();
    }

    /// Waits for those who have a connection, though not for ever, and disconnects.
    pub(super) async fn close(&self) {
        let all = timeout(WAIT, self.0.places.acquire_many(self.0.size)).await;
        self.0.places.close();
        for connected in self.idle(std::mem::take) {
            // A polite goodbye only.
            drop(timeout(WAIT, connected.connection.close()).await);
        }
        drop(all);
    }

    fn idle<T>(&self, act: impl FnOnce(&mut Vec<Connected>) -> T) -> T {
        act(&mut self.0.idle.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("size", &self.0.size)
            .finish_non_exhaustive()
    }
}
