//! The fast path: plain HTTP/1.1 requests, forwarded nearly byte for byte without a header map and without allocating.
//!
//! It decides which requests those are; all others go through pingora, on the same connection, and are answered the same. What a
//! request may do is decided by the verifier, as for every other. [`crate::connection`] offers it each request first.

mod admission;
mod answer;
mod buffers;
mod chunks;
mod credential;
mod exchange;
mod forward;
mod kept;
mod patience;
mod pump;
mod request_head;
mod response_head;

pub(crate) use buffers::{give_input, input};
pub(crate) use credential::are_fields as can_find_keys_in;
pub(crate) use kept::SWEEP_INTERVAL;
pub(crate) use patience::{Patience, timer_now};

use crate::client_stream::ClientStream;
use crate::flow::FlowParts;
use admission::{Admission, Admitted, Outbox};
use buffers::Buffer;
use pump::Pump;
use std::future::poll_fn;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

/// How long the body of a plain request may take to follow its head. Many clients send the two one after the other; whoever takes
/// longer may be answered before its body is whole, which is pingora's to do.
const BODY_TIME_MAX: Duration = Duration::from_millis(10);

/// Housekeeping of a worker thread, every [`SWEEP_INTERVAL`].
pub(crate) fn sweep() {
    kept::sweep();
    buffers::sweep();
}

/// Who is at the other end of a client's connection.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// The address of the TCP peer, or the one that the PROXY protocol announced.
    peer: IpAddr,
    /// The same as text.
    peer_text: Box<str>,
    /// Its forwarding headers are believed.
    is_trusted: bool,
    /// TLS is spoken.
    is_tls: bool,
}

impl Caller {
    /// The caller at `peer`.
    pub(crate) fn new(peer: IpAddr, is_trusted: bool, is_tls: bool) -> Caller {
        Caller {
            peer,
            peer_text: peer.to_string().into(),
            is_trusted,
            is_tls,
        }
    }
}

/// What became of a request that the fast path was offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Served {
    /// It was answered, and the connection can be used again.
    Kept,
    /// It was answered, and the connection is to be closed in good order.
    Closing,
    /// The connection is broken.
    Broken,
    /// It is not plain: nothing was done with it.
    NotPlain,
}

/// Serves plain requests.
pub(crate) struct FastPath {
    parts: Arc<FlowParts>,
    /// Idle connections that a worker keeps to one upstream.
    kept_max: usize,
}

impl FastPath {
    /// One that shares all with pingora's way.
    pub(crate) fn new(parts: Arc<FlowParts>, kept_max: usize) -> FastPath {
        FastPath { parts, kept_max }
    }

    /// Serves the request whose head is at the front of what was received, if it is plain and whole. `is_last`: the connection
    /// is to be closed after it.
    pub(crate) async fn serve(
        &self,
        client: &mut ClientStream,
        patience: &mut Patience,
        caller: &Caller,
        is_last: bool,
    ) -> Served {
        let mut outbox = Outbox {
            request: Buffer::new(),
            limits: Buffer::new(),
        };
        let parts = &self.parts;
        let mut admitted = admission::admit(parts, caller, client.received(), &mut outbox, None);
        if let Admission::Partial(bytes) = admitted {
            if !arrives(client, patience, bytes).await {
                return Served::NotPlain;
            }
            admitted = admission::admit(parts, caller, client.received(), &mut outbox, None);
        }
        if let Admission::Unknown(question) = admitted {
            // Boxed, so that the future of a request that can be decided stays small.
            let reply = Box::pin(question.ask(parts)).await;
            admitted = admission::admit(parts, caller, client.received(), &mut outbox, Some(reply));
        }
        let Admission::Decided(Admitted {
            mut exchange,
            head_bytes,
            body_bytes,
            refusal,
        }) = admitted
        else {
            return Served::NotPlain;
        };
        exchange.closes |= is_last || self.parts.draining.load(Ordering::Relaxed);
        patience.tell(exchange.started, Duration::ZERO);
        let mut pump = Pump::new(client, patience, exchange);
        pump.client.consume(head_bytes + body_bytes);
        pump.client.body_is_complete();
        let served = match refusal {
            Some(refusal) => pump.refuse(&refusal, &outbox.limits).await,
            None => forward::forward(&mut pump, &outbox, self.kept_max).await,
        };
        pump.end();
        served
    }
}

/// Whether so many bytes are received soon.
async fn arrives(client: &mut ClientStream, patience: &mut Patience, bytes: usize) -> bool {
    let deadline = timer_now() + BODY_TIME_MAX;
    poll_fn(|cx| {
        while client.received().len() < bytes {
            match client.poll_more(cx) {
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(_) => return Poll::Ready(false),
                Poll::Pending => return patience.poll(deadline, cx).map(|()| false),
            }
        }
        Poll::Ready(true)
    })
    .await
}
