//! The life of one connection: PROXY protocol, TLS, then requests until it is idle for too long, done or draining.
//!
//! It decides how long each step may take and how much may arrive; what a request means is [`crate::flow`]'s business.
//! The accept loop of [`crate::listener`] calls it once per connection.

use crate::client_stream::{ClientStream, HeadFault};
use crate::cut::CuttableProxy;
use crate::fast::{Caller, FastPath, Patience, Served, timer_now};
use crate::flow::FlowParts;
use crate::handshake::Turns;
use crate::http2_connection::Http2Connection;
use crate::idle::IdlePlace;
use crate::listener::ListenerProfile;
use crate::occupancy::{Occupancy, Place, Seat};
use crate::proxy_protocol::{self, Announced};
use crate::reply;
use crate::transport::{Socket, Transport};
use bytes::BytesMut;
use ipnet::IpNet;
use pingora_core::apps::ServerApp;
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::{Shutdown, Stream};
use portcullis_config::settings;
use portcullis_http::{Refusal, client_address};
use portcullis_record::{Metrics, Surface};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;

#[cfg(test)]
mod tests;

/// What an HTTP/2 client sends first (RFC 9113 §3.4).
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Serves connections.
pub(crate) struct ConnectionServer {
    /// The requests' way.
    pub(crate) proxy: Arc<CuttableProxy>,
    /// Where connections are counted.
    pub(crate) metrics: Arc<Metrics>,
    /// Who is connected, and who has to go.
    pub(crate) occupancy: Arc<Occupancy>,
    /// Whose handshake goes on.
    pub(crate) handshakes: Turns,
    /// Peers that may announce another client with the PROXY protocol; empty means that every peer may.
    pub(crate) trusted_proxies: Vec<IpNet>,
    /// How long and how much.
    pub(crate) limits: ConnectionLimits,
    /// True once the gateway drains: requests under way are finished, others are not begun.
    pub(crate) draining: watch::Receiver<bool>,
    /// Where plain requests go first; `None` if all go through pingora.
    pub(crate) fast: Option<FastPath>,
    /// What requests share.
    pub(crate) parts: Arc<FlowParts>,
}

/// Bounds of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConnectionLimits {
    /// Total time for a head, and for the handshakes before the first one.
    header_timeout: Duration,
    keepalive_timeout: Duration,
    /// 0 means no limit.
    keepalive_requests: u32,
    header_bytes_max: usize,
}

impl From<&settings::Gateway> for ConnectionLimits {
    fn from(gateway: &settings::Gateway) -> ConnectionLimits {
        ConnectionLimits {
            header_timeout: gateway.header_timeout,
            keepalive_timeout: gateway.keepalive_timeout,
            keepalive_requests: gateway.keepalive_requests,
            header_bytes_max: gateway.header_bytes_max,
        }
    }
}

/// With what a connection waits.
struct Waiting {
    patience: Patience,
    place: IdlePlace,
}

/// Why a request will not be served.
enum NoHead {
    /// There is nobody to answer, or nothing to say.
    Leave,
    /// The client is told.
    Refuse(Refusal),
}

impl ConnectionServer {
    /// Serves one connection until it ends.
    pub(crate) async fn serve(&self, socket: TcpStream, peer: SocketAddr, profile: &ListenerProfile, place: Place) {
        let _counted = self.metrics.connection(Surface::Proxy);
        // Boxed like what follows: each is freed when it has ended, and a connection that waits holds no room for the others.
        let establishing = Box::pin(self.establish(socket, peer, profile, &place));
        let mut stream = match tokio::time::timeout(self.limits.header_timeout, establishing).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(reason)) => return self.metrics.turned_away(reason),
            Err(_) => return self.metrics.turned_away("handshake"),
        };
        let is_http2 = if stream.negotiated_http2() || profile.h2c {
            Box::pin(self.is_http2(&mut stream)).await
        } else {
            Some(false)
        };
        match is_http2 {
            Some(true) => self.serve_http2(stream.into_http2(), place.seat()).await,
            Some(false) => Box::pin(self.serve_http1(Box::new(stream), place.seat())).await,
            None => {}
        }
    }

    /// The handshakes. A connection that does not start as its listener demands is closed without a word; it is counted
    /// under the reason that this gives then.
    async fn establish(
        &self,
        mut socket: TcpStream,
        mut peer: SocketAddr,
        profile: &ListenerProfile,
        place: &Place,
    ) -> Result<ClientStream, &'static str> {
        socket.set_nodelay(true).map_err(|_| "handshake")?;
        let id = socket.as_raw_fd();
        let local = socket.local_addr().ok();
        let mut ahead = BytesMut::new();
        if profile.proxy_protocol {
            match proxy_protocol::read(&mut socket, &mut ahead).await {
                Ok(Announced::Client(client)) if self.may_announce(peer) => peer = client,
                Ok(Announced::Client(_) | Announced::Local) => {}
                Err(error) => {
                    tracing::debug!(%peer, %error, "a connection without a valid PROXY protocol header is closed");
                    return Err("handshake");
                }
            }
            place.belongs_to(peer.ip()).map_err(|_| "address_full")?;
        }
        let socket = Socket::new(socket, ahead);
        let transport = match &profile.tls {
            None => Transport::Plain(socket),
            Some(acceptor) => {
                let handshake = Transport::accept_tls(acceptor, socket);
                self.handshakes.take(handshake).await.map_err(|error| {
                    tracing::debug!(%peer, %error, "a TLS handshake failed");
                    "handshake"
                })?
            }
        };
        Ok(ClientStream::new(transport, id, peer, local))
    }

    /// Whether this peer's word on its client counts: where trusted proxies are named, it must be one of them.
    fn may_announce(&self, peer: SocketAddr) -> bool {
        self.trusted_proxies.is_empty() || client_address::is_trusted(peer.ip(), &self.trusted_proxies)
    }

    /// Whether the client begins with HTTP/2. `None` if it begins with nothing in time, or not with what TLS agreed on.
    async fn is_http2(&self, stream: &mut ClientStream) -> Option<bool> {
        let must_be_http2 = stream.negotiated_http2();
        let preface = tokio::time::timeout(self.limits.header_timeout, stream.starts_with(HTTP2_PREFACE)).await;
        match preface {
            Ok(Ok(is_http2)) if is_http2 || !must_be_http2 => Some(is_http2),
            Ok(_) => None,
            Err(_) => {
                self.metrics.turned_away("no_request");
                None
            }
        }
    }

    async fn serve_http2(&self, stream: ClientStream, seat: &Arc<Seat>) {
        // Streams are tasks of their own there; the idle timeout and the limits are in the proxy's options.
        let connection = Http2Connection::new(Arc::clone(&self.proxy), Arc::clone(seat));
        connection.process_new(Box::new(stream), &self.draining).await;
    }

    async fn serve_http1(&self, mut stream: Box<ClientStream>, seat: &Seat) {
        let mut waiting = Waiting {
            patience: Patience::new(self.parts.now()),
            place: IdlePlace::default(),
        };
        let (peer, is_tls) = stream.caller();
        let is_trusted = client_address::is_trusted(peer, &self.trusted_proxies);
        let caller = Caller::new(peer, is_trusted, is_tls);
        let mut served: u32 = 0;
        // The first head has to come as soon as it has to arrive; between requests a connection may be idle for longer.
        let first_head = timer_now() + self.limits.header_timeout;
        loop {
            let deadline = (served == 0).then_some(first_head);
            if self.request_begins(&mut stream, &mut waiting, deadline).await.is_err() {
                return;
            }
            let is_last =
                self.limits.keepalive_requests > 0 && served.saturating_add(1) >= self.limits.keepalive_requests;
            let Some(mut under_way) = seat.begins() else { return };
            let mut is_fast = self.serve_fast(&mut stream, &mut waiting, &caller, is_last).await;
            if is_fast == Served::NotPlain {
                let was_whole = stream.has_whole_head();
                // Who sends half a head still waits for a request.
                drop(under_way);
                let deadline = deadline.unwrap_or_else(|| timer_now() + self.limits.header_timeout);
                match self.rest_of_head(&mut stream, deadline).await {
                    Ok(()) => {}
                    Err(NoHead::Leave) => return,
                    Err(NoHead::Refuse(refusal)) => {
                        self.metrics.refused_before_decision(refusal.reason);
                        return stream.answer_and_close(&reply::raw(&refusal)).await;
                    }
                }
                under_way = match seat.begins() {
                    Some(under_way) => under_way,
                    None => return,
                };
                if !was_whole {
                    is_fast = self.serve_fast(&mut stream, &mut waiting, &caller, is_last).await;
                }
            }
            served = served.saturating_add(1);
            match is_fast {
                Served::Kept => continue,
                Served::Closing => return Shutdown::shutdown(&mut *stream).await,
                Served::Broken => return,
                Served::NotPlain => {}
            }
            let session = self.session(stream, served);
            let Some(reused) = self.proxy.serve(session, &self.draining).await else {
                return;
            };
            drop(under_way);
            waiting.patience.tell(self.parts.now(), Duration::ZERO);
            let Ok(again) = reused.consume().0.into_any().downcast::<ClientStream>() else {
                return;
            };
            stream = again;
        }
    }

    /// Offers the request that begins to the fast path.
    async fn serve_fast(
        &self,
        stream: &mut ClientStream,
        waiting: &mut Waiting,
        caller: &Caller,
        is_last: bool,
    ) -> Served {
        match &self.fast {
            Some(fast) => fast.serve(stream, &mut waiting.patience, caller, is_last).await,
            None => Served::NotPlain,
        }
    }

    /// Waits until a request begins: until `deadline` or, without one, for as long as a connection may be idle, and not once the
    /// gateway drains.
    async fn request_begins(
        &self,
        stream: &mut ClientStream,
        waiting: &mut Waiting,
        mut deadline: Option<Instant>,
    ) -> Result<(), NoHead> {
        if stream.has_begun() {
            return Ok(());
        }
        let is_first = deadline.is_some();
        poll_fn(|cx| {
            match stream.poll_more(cx) {
                Poll::Ready(Ok(1..)) => return Poll::Ready(Ok(())),
                Poll::Ready(_) => return Poll::Ready(Err(NoHead::Leave)),
                Poll::Pending => {}
            }
            waiting.place.enter(cx);
            if self.parts.draining.load(Ordering::Relaxed) {
                return Poll::Ready(Err(NoHead::Leave));
            }
            let deadline = *deadline.get_or_insert_with(|| waiting.patience.told() + self.limits.keepalive_timeout);
            waiting.patience.poll(deadline, cx).map(|()| {
                if is_first {
                    self.metrics.turned_away("no_request");
                }
                Err(NoHead::Leave)
            })
        })
        .await
    }

    /// Waits until `deadline` for the rest of a head that has begun.
    async fn rest_of_head(&self, stream: &mut ClientStream, deadline: Instant) -> Result<(), NoHead> {
        let arrival = stream.head_arrives(self.limits.header_bytes_max);
        match tokio::time::timeout_at(deadline, arrival).await {
            Ok(arrived) => arrived.map_err(NoHead::from),
            Err(_) => {
                self.metrics.turned_away("slow_head");
                Err(NoHead::Refuse(Refusal::request_timeout()))
            }
        }
    }

    fn session(&self, stream: Box<ClientStream>, served: u32) -> ServerSession {
        let stream: Stream = stream;
        let mut session = ServerSession::new_http1(stream);
        if self.limits.keepalive_requests > 0 {
            session.set_keepalive_reuses_remaining(Some(self.limits.keepalive_requests.saturating_sub(served)));
        }
        session
    }
}

impl From<HeadFault> for NoHead {
    fn from(fault: HeadFault) -> NoHead {
        match fault {
            HeadFault::Closed => NoHead::Leave,
            HeadFault::TooLarge => NoHead::Refuse(Refusal::header_too_large()),
            HeadFault::TargetTooLong => NoHead::Refuse(Refusal::uri_too_long()),
            HeadFault::RequestLine => NoHead::Refuse(Refusal::bad_request("The request line is malformed.")),
            HeadFault::BareLineFeed => NoHead::Refuse(Refusal::bad_request("A line of the head ends without CR LF.")),
        }
    }
}
