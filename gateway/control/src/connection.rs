//! One connection: HTTP/1.1 or HTTP/2 by prior knowledge, told apart by its first bytes, and bounded in every direction.
//!
//! Knows nothing of routes. What a request may need to know or do about its connection is in [`ConnectionHandle`], an extension of
//! each request. [`crate::serve`] accepts and drives.

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use hyper_util::service::TowerToHyperService;
use parking_lot::Mutex;
use std::convert::Infallible;
use std::io::Cursor;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// How a connection begins on which HTTP/2 is spoken by prior knowledge (RFC 9113, section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How long a request's head may take, and how long an idle HTTP/1.1 connection is kept.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest request head.
const HEADER_BYTES_MAX: u32 = 32 * 1_024;
/// Most header fields.
const HEADER_COUNT_MAX: usize = 100;
/// Most requests of one HTTP/2 connection at once.
const STREAMS_MAX: u32 = 256;
/// Most streams that a peer may have reset before their requests were taken up.
const PENDING_RESETS_MAX: usize = 32;
/// Most streams that this end reset for their peer's faults before it ends the connection.
const LOCAL_RESETS_MAX: usize = 64;
/// How much of one HTTP/2 request's body may be under way.
const STREAM_WINDOW_BYTES: u32 = 128 * 1_024;
/// How much of all bodies of one HTTP/2 connection may be under way.
const CONNECTION_WINDOW_BYTES: u32 = 512 * 1_024;
/// How much of one HTTP/2 answer may wait for its peer.
const SEND_BUFFER_BYTES: usize = 64 * 1_024;
/// How often an HTTP/2 peer is asked whether it is still there, and how long it may take to say so.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(10));
/// How often an HTTP/2 connection is looked at for being idle.
const IDLE_CHECK: Duration = Duration::from_secs(5);
/// After how many such looks at an idle connection it is closed: sooner when it never had a request.
const IDLE_CHECKS_MAX: (u32, u32) = (2, 24);

/// What a request may know of its connection, and do about it. A request extension; clones are of the same connection.
#[derive(Debug, Clone)]
pub(crate) struct ConnectionHandle(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    peer: IpAddr,
    cut: CancellationToken,
    /// Requests whose answer is not sent whole.
    in_flight: AtomicUsize,
    /// Requests so far.
    requests: AtomicUsize,
    /// The place among all connections that this one takes up.
    place: Mutex<Place>,
}

#[derive(Debug)]
struct Place {
    _permit: Option<OwnedSemaphorePermit>,
    is_gateways: bool,
}

impl ConnectionHandle {
    /// Stands for every peer of a router that is not served on a socket.
    pub(crate) const UNKNOWN: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

    pub(crate) fn new(peer: IpAddr, permit: OwnedSemaphorePermit) -> ConnectionHandle {
        ConnectionHandle(Arc::new(Shared {
            peer,
            cut: CancellationToken::new(),
            in_flight: AtomicUsize::new(0),
            requests: AtomicUsize::new(0),
            place: Mutex::new(Place {
                _permit: Some(permit),
                is_gateways: false,
            }),
        }))
    }

    /// Where it comes from.
    pub(crate) fn peer(&self) -> IpAddr {
        self.0.peer
    }

    /// Ends it without a word, and everything on it.
    pub(crate) fn cut(&self) {
        self.0.cut.cancel();
    }

    /// Counts it among the connections of gateways from now on, and not among the others. False: there are too many.
    pub(crate) fn count_as_gateways(&self, places: &Arc<Semaphore>) -> bool {
        let mut place = self.0.place.lock();
        if place.is_gateways {
            return true;
        }
        let Ok(permit) = Arc::clone(places).try_acquire_owned() else {
            return false;
        };
        *place = Place {
            _permit: Some(permit),
            is_gateways: true,
        };
        true
    }

    fn request(&self) -> InFlight {
        self.0.requests.fetch_add(1, Ordering::AcqRel);
        self.0.in_flight.fetch_add(1, Ordering::AcqRel);
        InFlight(Arc::clone(&self.0))
    }
}

/// A request whose answer is not sent whole. Kept with the answer's body.
#[derive(Debug)]
struct InFlight(Arc<Shared>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Serves one connection to its end. At `drain` it takes no further requests; at `end`, or when it is cut, it is dropped.
pub(crate) async fn serve(
    stream: TcpStream,
    handle: ConnectionHandle,
    router: Router,
    drain: CancellationToken,
    end: CancellationToken,
) {
    // Small answers are not held back for more to send; a socket that refuses this still works.
    let _ = stream.set_nodelay(true);
    let cut = handle.0.cut.clone();
    let served = async {
        let sniffed = tokio::time::timeout(HEADER_TIMEOUT, sniff(stream));
        let Some(Ok(Ok((io, version)))) = drain.run_until_cancelled(sniffed).await else {
            return;
        };
        let service = service(handle.clone(), router);
        match version {
            Version::Http1 => {
                let connection = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEADER_TIMEOUT)
                    .max_buf_size(usize::try_from(HEADER_BYTES_MAX).unwrap_or(usize::MAX))
                    .max_headers(HEADER_COUNT_MAX)
                    .serve_connection(TokioIo::new(io), service);
                drive(connection, &drain, std::future::pending()).await;
            }
            Version::Http2 => {
                let connection = http2::Builder::new(TokioExecutor::new())
                    .timer(TokioTimer::new())
                    .max_header_list_size(HEADER_BYTES_MAX)
                    .max_concurrent_streams(STREAMS_MAX)
                    .max_pending_accept_reset_streams(PENDING_RESETS_MAX)
                    .max_local_error_reset_streams(LOCAL_RESETS_MAX)
                    .initial_stream_window_size(STREAM_WINDOW_BYTES)
                    .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
                    .max_send_buf_size(SEND_BUFFER_BYTES)
                    .keep_alive_interval(KEEP_ALIVE.0)
                    .keep_alive_timeout(KEEP_ALIVE.1)
                    .serve_connection(TokioIo::new(io), service);
                drive(connection, &drain, idle(&handle)).await;
            }
        }
    };
    tokio::select! {
        () = served => {}
        () = cut.cancelled() => {}
        () = end.cancelled() => {}
    }
}

/// Drives a connection; from `drain` or `idle` on it only finishes what is under way.
async fn drive<C: GracefulConnection>(connection: C, drain: &CancellationToken, idle: impl Future<Output = ()>) {
    let mut connection = pin!(connection);
    // A connection that breaks is its peer's business; what a request did is in its own log line.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = drain.cancelled() => {}
        () = idle => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}

/// Waits until a connection has had no request for a while.
async fn idle(handle: &ConnectionHandle) {
    let (mut idle_checks, mut requests_before) = (0, 0);
    loop {
        tokio::time::sleep(IDLE_CHECK).await;
        let requests = handle.0.requests.load(Ordering::Acquire);
        if handle.0.in_flight.load(Ordering::Acquire) > 0 || requests != requests_before {
            (idle_checks, requests_before) = (0, requests);
            continue;
        }
        idle_checks += 1;
        let (unused, used) = IDLE_CHECKS_MAX;
        if idle_checks >= if requests == 0 { unused } else { used } {
            return;
        }
    }
}

/// What a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    Http1,
    Http2,
}

/// Reads just enough to tell what is spoken, and gives the stream back with that in front.
async fn sniff(mut stream: TcpStream) -> std::io::Result<(impl AsyncRead + AsyncWrite + Unpin, Version)> {
    let mut start = Vec::with_capacity(PREFACE.len());
    let version = loop {
        let mut rest = [0_u8; PREFACE.len()];
        let read = stream.read(&mut rest[start.len()..]).await?;
        if read == 0 {
            break Version::Http1;
        }
        let from = start.len();
        start.extend_from_slice(&rest[from..from + read]);
        if !PREFACE.starts_with(&start) {
            break Version::Http1;
        }
        if start.len() == PREFACE.len() {
            break Version::Http2;
        }
    };
    let (reader, writer) = stream.into_split();
    Ok((tokio::io::join(Cursor::new(start).chain(reader), writer), version))
}

/// The router, with each request counted and told where it comes from.
fn service(
    handle: ConnectionHandle,
    router: Router,
) -> impl Service<Request<Incoming>, Response = Response, Error = Infallible, Future: Send + 'static> {
    let router = TowerToHyperService::new(router);
    service_fn(move |mut request: Request<Incoming>| {
        let in_flight = handle.request();
        request.extensions_mut().insert(handle.clone());
        let answered = router.call(request);
        async move {
            let response = answered.await?;
            Ok(response.map(|body| Body::new(Counted { body, in_flight })))
        }
    })
}

/// An answer's body, which ends the counting of its request.
struct Counted {
    body: Body,
    #[expect(dead_code, reason = "it is there to be dropped")]
    in_flight: InFlight,
}

impl hyper::body::Body for Counted {
    type Data = bytes::Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<bytes::Bytes>, axum::Error>>> {
        std::pin::Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        self.body.size_hint()
    }
}
