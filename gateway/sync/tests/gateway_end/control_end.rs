//! A control API that does as the test says.

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use portcullis_sync::lines::LineCutter;
use portcullis_sync::message::{
    ChangeLine, Changes, FromControl, FromGateway, Hello, Ping, Pong, Touches, WATCH, Welcome,
};
use portcullis_verify::{DeploymentId, Version};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// How long a test waits for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);
/// The history of the log.
pub(crate) const EPOCH: u64 = 7;
/// What the gateway carries.
pub(crate) const TOKEN: &str = "a-gateway-token";

pub(crate) const fn at(revision: u64) -> Version {
    Version { epoch: EPOCH, revision }
}

/// Waits, but not for ever.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("it never came")
}

/// The control API.
pub(crate) struct ControlEnd {
    pub(crate) address: SocketAddr,
    watches: mpsc::UnboundedReceiver<Watch>,
    calls: mpsc::UnboundedReceiver<Call>,
    state: Arc<State>,
    stopping: CancellationToken,
    accepting: Option<tokio::task::JoinHandle<Option<()>>>,
}

struct State {
    watches: mpsc::UnboundedSender<Watch>,
    calls: mpsc::UnboundedSender<Call>,
    /// Every watch is answered with this status, unless it is 200.
    status: AtomicU16,
    connections: AtomicUsize,
    asked: AtomicUsize,
}

/// A watch that a gateway has begun.
pub(crate) struct Watch {
    pub(crate) hello: Hello,
    pub(crate) authorization: String,
    incoming: Incoming,
    cutter: LineCutter,
    answer: mpsc::Sender<io::Result<Bytes>>,
}

/// A call that waits for its answer.
pub(crate) struct Call {
    pub(crate) path: String,
    pub(crate) authorization: String,
    pub(crate) body: Bytes,
    answer: oneshot::Sender<Response<Answer>>,
}

/// The body of an answer.
pub(crate) enum Answer {
    Whole(Full<Bytes>),
    Lines(mpsc::Receiver<io::Result<Bytes>>),
}

impl Body for Answer {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Answer::Whole(body) => Pin::new(body)
                .poll_frame(cx)
                .map(|frame| frame.map(|frame| frame.map_err(|never| match never {}))),
            Answer::Lines(lines) => lines.poll_recv(cx).map(|line| line.map(|line| line.map(Frame::data))),
        }
    }
}

impl ControlEnd {
    pub(crate) async fn start() -> ControlEnd {
        ControlEnd::start_at(([127, 0, 0, 1], 0).into()).await
    }

    /// One at an address that another may have had before.
    pub(crate) async fn start_at(address: SocketAddr) -> ControlEnd {
        let listener = TcpListener::bind(address).await.unwrap();
        let (watch_sender, watches) = mpsc::unbounded_channel();
        let (call_sender, calls) = mpsc::unbounded_channel();
        let mut control = ControlEnd {
            address: listener.local_addr().unwrap(),
            watches,
            calls,
            state: Arc::new(State {
                watches: watch_sender,
                calls: call_sender,
                status: AtomicU16::new(200),
                connections: AtomicUsize::new(0),
                asked: AtomicUsize::new(0),
            }),
            stopping: CancellationToken::new(),
            accepting: None,
        };
        let (state, stopping) = (Arc::clone(&control.state), control.stopping.clone());
        let accepting = control.stopping.clone().run_until_cancelled_owned(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let connection = serve(stream, Arc::clone(&state));
                tokio::spawn(stopping.clone().run_until_cancelled_owned(connection));
            }
        });
        control.accepting = Some(tokio::spawn(accepting));
        control
    }

    /// Serves what others have accepted.
    pub(crate) fn adopt(&self, stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) {
        let connection = serve(stream, Arc::clone(&self.state));
        tokio::spawn(self.stopping.clone().run_until_cancelled_owned(connection));
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on every watch is answered so; 200 accepts.
    pub(crate) fn answer_watches(&self, status: u16) {
        self.state.status.store(status, Ordering::SeqCst);
    }

    /// Connections that were accepted so far.
    pub(crate) fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// Watches that were asked for so far, refused ones included.
    pub(crate) fn asked(&self) -> usize {
        self.state.asked.load(Ordering::SeqCst)
    }

    /// The next watch that is begun.
    pub(crate) async fn watch(&mut self) -> Watch {
        soon(self.watches.recv()).await.unwrap()
    }

    /// The next call.
    pub(crate) async fn call(&mut self) -> Call {
        soon(self.calls.recv()).await.unwrap()
    }

    /// Goes away with all connections; answers where it was.
    pub(crate) async fn stop(mut self) -> SocketAddr {
        self.stopping.cancel();
        if let Some(accepting) = self.accepting.take() {
            accepting.await.unwrap();
        }
        self.address
    }
}

impl Drop for ControlEnd {
    fn drop(&mut self) {
        self.stopping.cancel();
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, state: Arc<State>) {
    state.connections.fetch_add(1, Ordering::SeqCst);
    let service = service_fn(move |request| answer(request, Arc::clone(&state)));
    let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn answer(request: Request<Incoming>, state: Arc<State>) -> Result<Response<Answer>, Infallible> {
    let authorization = request.headers()["authorization"].to_str().unwrap().to_owned();
    let path = request.uri().path_and_query().unwrap().to_string();
    if path != WATCH {
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let (answer, answered) = oneshot::channel();
        let call = Call {
            path,
            authorization,
            body,
            answer,
        };
        let _ = state.calls.send(call);
        return Ok(answered.await.unwrap_or_else(|_| empty(500)));
    }
    state.asked.fetch_add(1, Ordering::SeqCst);
    let status = state.status.load(Ordering::SeqCst);
    if status != 200 {
        return Ok(empty(status));
    }
    let (answer, lines) = mpsc::channel(64);
    let mut watch = Watch {
        hello: Hello {
            gateway_id: String::new(),
            name: String::new(),
            version: String::new(),
            stale_max_ms: 0,
            serves_stale: false,
            applied: None,
        },
        authorization,
        incoming: request.into_body(),
        cutter: LineCutter::default(),
        answer,
    };
    tokio::spawn(async move {
        if let Some(FromGateway::Hello(hello)) = watch.next().await {
            watch.hello = hello;
            let _ = state.watches.send(watch);
        }
    });
    Ok(Response::new(Answer::Lines(lines)))
}

fn empty(status: u16) -> Response<Answer> {
    let mut response = Response::new(Answer::Whole(Full::default()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}

impl Call {
    pub(crate) fn answer(self, body: impl Into<Bytes>) {
        let _ = self.answer.send(Response::new(Answer::Whole(Full::new(body.into()))));
    }

    pub(crate) fn answer_json(self, message: &impl serde::Serialize) {
        self.answer(serde_json::to_vec(message).unwrap());
    }

    pub(crate) fn refuse(self, status: u16) {
        let _ = self.answer.send(empty(status));
    }
}

impl Watch {
    /// The next line of the gateway; `None` when it has hung up.
    async fn next(&mut self) -> Option<FromGateway> {
        loop {
            if let Some(line) = self.cutter.next_line().unwrap() {
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let frame = soon(self.incoming.frame()).await?.ok()?;
            self.cutter.push(frame.data_ref()?);
        }
    }

    /// The next ping.
    pub(crate) async fn ping(&mut self) -> Ping {
        match self.next().await {
            Some(FromGateway::Ping(ping)) => ping,
            other => panic!("a ping was due, not {other:?}"),
        }
    }

    /// The next ping, if one comes within `patience`.
    pub(crate) async fn ping_within(&mut self, patience: Duration) -> Option<Ping> {
        tokio::time::timeout(patience, self.ping()).await.ok()
    }

    /// The next ping; `None` when the gateway has hung up.
    pub(crate) async fn ping_or_end(&mut self) -> Option<Ping> {
        match self.next().await? {
            FromGateway::Ping(ping) => Some(ping),
            FromGateway::Hello(hello) => panic!("a second hello: {hello:?}"),
        }
    }

    /// Waits until the gateway hangs up; pings are not answered.
    pub(crate) async fn hung_up(mut self) {
        while self.next().await.is_some() {}
    }

    pub(crate) async fn say(&self, line: FromControl) {
        let mut text = serde_json::to_vec(&line).unwrap();
        text.push(b'\n');
        self.send(text).await;
    }

    /// Sends bytes as they are.
    pub(crate) async fn send(&self, bytes: impl Into<Bytes>) {
        // The gateway may have hung up.
        let _ = self.answer.send(Ok(bytes.into())).await;
    }

    /// Breaks the stream off, as a crash would.
    pub(crate) async fn break_off(self) {
        let _ = self.answer.send(Err(io::Error::other("broken off"))).await;
    }

    pub(crate) async fn welcome(&self) {
        self.say(welcome()).await;
    }

    pub(crate) async fn reset(&self, to: Version) {
        self.say(FromControl::Reset { to }).await;
    }

    pub(crate) async fn pong(&self, number: u64, at: Version) {
        self.say(FromControl::Pong(Pong { number, at })).await;
    }

    /// Answers pings until one acknowledges `version`.
    pub(crate) async fn until_acknowledged(&mut self, version: Version) -> Ping {
        loop {
            let ping = self.ping().await;
            self.pong(ping.number, ping.applied).await;
            if ping.applied == version {
                return ping;
            }
        }
    }
}

pub(crate) fn welcome() -> FromControl {
    FromControl::Welcome(Welcome {
        deployment_id: DeploymentId(1),
        deployment_name: "default".to_owned(),
        apps: Vec::new(),
    })
}

/// The changes `(revision, touches)` of the run after one revision through another.
pub(crate) fn changes(after: u64, through: u64, changes: &[(u64, Touches)]) -> FromControl {
    let changes = changes.iter().map(|(revision, touches)| ChangeLine {
        revision: *revision,
        touches: *touches,
    });
    FromControl::Changes(Changes {
        epoch: EPOCH,
        after,
        through,
        changes: changes.collect(),
    })
}
