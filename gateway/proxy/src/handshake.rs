//! Takes TLS handshakes in turns, so that a storm of them does not stand in front of everybody else.
//!
//! A step of a handshake is the longest piece of work that a stranger can order. It is done by one at a time per worker,
//! and after whatever else came in meanwhile. It knows nothing of TLS; [`crate::connection`] hands it the handshake.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use tokio::sync::Semaphore;

#[cfg(test)]
mod tests;

/// Whose turn it is.
#[derive(Debug)]
pub(crate) struct Turns(Semaphore);

impl Turns {
    /// As many steps at once as there are `workers` to do them.
    pub(crate) fn of_workers(workers: usize) -> Turns {
        Turns(Semaphore::new(workers.clamp(1, Semaphore::MAX_PERMITS)))
    }

    /// Does a handshake, each step in its turn. A client that is waited for holds no turn.
    pub(crate) async fn take<F: Future>(&self, handshake: F) -> F::Output {
        let mut handshake = pin!(handshake);
        loop {
            // Fails only once it is closed, which it never is.
            let turn = self.0.acquire().await;
            // Comes back after the sockets were looked at: requests that have arrived by now go first.
            tokio::task::yield_now().await;
            let step = poll_fn(|context| Poll::Ready(handshake.as_mut().poll(context))).await;
            drop(turn);
            match step {
                Poll::Ready(done) => return done,
                Poll::Pending => woken().await,
            }
        }
    }
}

/// Waits until the task is woken: by what the last step waits for.
async fn woken() {
    let mut has_waited = false;
    poll_fn(|_| {
        if std::mem::replace(&mut has_waited, true) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}
