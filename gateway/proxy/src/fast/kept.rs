//! Connections to upstreams that wait for their next request, on the worker thread that opened them.
//!
//! Decides how long they wait and how many may; whether a request may be sent a second time, because its connection had just
//! been closed at the other end, is for [`super::forward`] to say.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;

/// How often a worker calls [`sweep`].
pub(crate) const SWEEP_INTERVAL: Duration = Duration::from_millis(250);

thread_local! {
    // Few addresses, compared sooner than hashed.
    static KEPT: RefCell<BTreeMap<SocketAddr, Vec<Kept>>> = const { RefCell::new(BTreeMap::new()) };
    /// Sweeps so far: the time by which idleness is told.
    static SWEEPS: Cell<u64> = const { Cell::new(0) };
}

struct Kept {
    tcp: TcpStream,
    /// The sweep at which it is closed.
    until: u64,
}

/// A connection to this address on which nothing has come since it was kept: the one that was used last.
pub(crate) fn take(address: SocketAddr) -> Option<TcpStream> {
    KEPT.with_borrow_mut(|kept| {
        let idle = kept.get_mut(&address)?;
        while let Some(Kept { tcp, .. }) = idle.pop() {
            if is_silent(&tcp) {
                return Some(tcp);
            }
        }
        None
    })
}

/// Keeps a connection for `idle_timeout`, if there are fewer than `kept_max` to this address.
pub(crate) fn keep(address: SocketAddr, tcp: TcpStream, idle_timeout: Duration, kept_max: usize) {
    let sweeps = idle_timeout.as_millis().div_ceil(SWEEP_INTERVAL.as_millis());
    let until = SWEEPS.get().saturating_add(u64::try_from(sweeps).unwrap_or(u64::MAX));
    KEPT.with_borrow_mut(|kept| {
        let idle = kept.entry(address).or_default();
        if idle.len() < kept_max {
            idle.push(Kept { tcp, until });
        }
    });
}

/// Closes what has waited for too long and what the other end has closed. To be called every [`SWEEP_INTERVAL`].
pub(crate) fn sweep() {
    let now = SWEEPS.get() + 1;
    SWEEPS.set(now);
    KEPT.with_borrow_mut(|kept| {
        kept.retain(|_, idle| {
            idle.retain(|kept| kept.until > now && is_silent(&kept.tcp));
            !idle.is_empty()
        });
    });
}

/// Whether nothing has come: neither bytes, which nobody asked for, nor the end.
fn is_silent(tcp: &TcpStream) -> bool {
    matches!(tcp.try_read(&mut [0]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    const LONG: Duration = Duration::from_secs(60);

    async fn pair(listener: &TcpListener) -> (TcpStream, TcpStream) {
        let address = listener.local_addr().unwrap();
        let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
        (near.unwrap(), far.unwrap().0)
    }

    async fn until_readable(tcp: &TcpStream) {
        tcp.readable().await.unwrap();
    }

    #[tokio::test]
    async fn the_one_used_last_comes_first_and_each_comes_once() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (first, _far_first) = pair(&listener).await;
        let (second, _far_second) = pair(&listener).await;
        let (first_port, second_port) = (first.local_addr().unwrap().port(), second.local_addr().unwrap().port());
        keep(address, first, LONG, 8);
        keep(address, second, LONG, 8);
        let mut taken = std::iter::from_fn(|| take(address)).map(|tcp| tcp.local_addr().unwrap().port());
        assert_eq!(taken.next(), Some(second_port));
        assert_eq!(taken.next(), Some(first_port));
        assert_eq!(taken.next(), None);
    }

    #[tokio::test]
    async fn one_that_was_closed_or_spoke_unasked_is_not_used() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (closed, far) = pair(&listener).await;
        drop(far);
        until_readable(&closed).await;
        let (speaking, mut far) = pair(&listener).await;
        far.write_all(b"HTTP/1.1 408 Request Timeout\r\n\r\n").await.unwrap();
        until_readable(&speaking).await;
        keep(address, closed, LONG, 8);
        keep(address, speaking, LONG, 8);
        assert!(take(address).is_none());
    }

    #[tokio::test]
    async fn what_waits_for_too_long_is_closed_and_so_is_what_is_too_much() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (first, _far_first) = pair(&listener).await;
        let (second, _far_second) = pair(&listener).await;
        keep(address, first, 2 * SWEEP_INTERVAL, 1);
        keep(address, second, LONG, 1);
        sweep();
        let only = take(address).expect("one is kept, and for long enough");
        assert!(take(address).is_none());
        keep(address, only, 2 * SWEEP_INTERVAL, 1);
        sweep();
        sweep();
        assert!(take(address).is_none());
    }
}
