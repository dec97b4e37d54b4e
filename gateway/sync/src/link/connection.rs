//! One HTTP/2 connection: made within a bound of time, and gone at once when its owner lets go of it.
//!
//! Knows no message and no token.

use super::error::with_sources;
use super::greeting::{Greeted, Greeting};
use super::outgoing::Outgoing;
use super::target::Target;
use super::{LinkError, tls};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper::rt::Executor;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_util::sync::{CancellationToken, DropGuard};

/// How long connecting may take, TLS included.
pub(crate) const CONNECT_MAX: Duration = Duration::from_secs(2);
/// Largest head of an answer, in bytes.
const HEAD_BYTES_MAX: u32 = 16 << 10;
/// How much of one answer may be under way before it is read, in bytes.
const WINDOW_BYTES: u32 = 1 << 20;
/// A connection on which nothing came for so long is asked for a sign of life, and given up when none comes in the same time.
const IDLE: Duration = Duration::from_secs(10);

/// How to reach the control API.
pub(super) struct Dialler {
    pub(super) target: Target,
    pub(super) tls: Option<TlsConnector>,
}

/// An open connection. Dropping it closes it, whatever is under way.
pub(super) struct Connection {
    requests: SendRequest<Outgoing>,
    greeting: Greeting,
    is_retired: AtomicBool,
    _tasks: DropGuard,
}

impl Dialler {
    pub(super) async fn connect(&self) -> Result<Connection, LinkError> {
        match tokio::time::timeout(CONNECT_MAX, self.connect_unbounded()).await {
            Ok(outcome) => outcome,
            Err(_) => Err(LinkError::Connect(format!("not within {CONNECT_MAX:?}"))),
        }
    }

    async fn connect_unbounded(&self) -> Result<Connection, LinkError> {
        let stream = self.reach().await?;
        stream.set_nodelay(true).map_err(|error| unreachable(&error))?;
        match &self.tls {
            None => Connection::over(stream).await,
            Some(connector) => Connection::over(tls::shake_hands(connector, &self.target.host, stream).await?).await,
        }
    }

    /// Tries each address of the host. None may use up the time of the others.
    async fn reach(&self) -> Result<TcpStream, LinkError> {
        let host = (self.target.host.as_str(), self.target.port);
        let addresses: Vec<_> = tokio::net::lookup_host(host)
            .await
            .map_err(|error| unreachable(&error))?
            .collect();
        let share = CONNECT_MAX / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
        let mut failure = LinkError::Connect("the host has no address".to_owned());
        for address in addresses {
            failure = match tokio::time::timeout(share, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => unreachable(&error),
                Err(_) => LinkError::Connect(format!("{address} does not answer")),
            };
        }
        Err(failure)
    }
}

impl Connection {
    async fn over<T>(stream: T) -> Result<Connection, LinkError>
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let greeting = Greeting::default();
        let closing = CancellationToken::new();
        let tasks = Tasks(closing.clone());
        let (requests, connection) = Builder::new(tasks.clone())
            .timer(TokioTimer::new())
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(4 * WINDOW_BYTES)
            .max_header_list_size(HEAD_BYTES_MAX)
            .keep_alive_interval(IDLE)
            .keep_alive_timeout(IDLE)
            .keep_alive_while_idle(true)
            .handshake(TokioIo::new(Greeted::new(stream, greeting.clone())))
            .await
            .map_err(|error| LinkError::Broken(with_sources(&error)))?;
        // How it ends is told to whoever has a request under way.
        tasks.execute(async move { drop(connection.await) });
        Ok(Connection {
            requests,
            greeting,
            is_retired: AtomicBool::new(false),
            _tasks: closing.drop_guard(),
        })
    }

    /// Sends a request; comes back with the head of its answer.
    pub(super) async fn send(&self, request: Request<Outgoing>) -> Result<Response<Incoming>, LinkError> {
        self.requests
            .clone()
            .send_request(request)
            .await
            .map_err(|error| self.broken(&error))
    }

    /// What an error on this connection means.
    pub(super) fn broken(&self, error: &(dyn std::error::Error + 'static)) -> LinkError {
        if self.greeting.is_foreign() {
            LinkError::NotHttp2
        } else {
            LinkError::Broken(with_sources(error))
        }
    }

    /// What is under way may end on it, nothing else begins.
    pub(super) fn retire(&self) {
        self.is_retired.store(true, Ordering::Release);
    }

    pub(super) fn is_open(&self) -> bool {
        !self.is_retired.load(Ordering::Acquire) && !self.requests.is_closed()
    }
}

/// Runs what belongs to one connection until the connection is dropped.
#[derive(Debug, Clone)]
struct Tasks(CancellationToken);

impl<F> Executor<F> for Tasks
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, task: F) {
        let closing = self.0.clone();
        tokio::spawn(async move { closing.run_until_cancelled_owned(task).await.map(drop) });
    }
}

fn unreachable(error: &std::io::Error) -> LinkError {
    LinkError::Connect(error.to_string())
}
