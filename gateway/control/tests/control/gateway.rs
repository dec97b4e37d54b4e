//! A gateway as the control API meets it: one HTTP/2 connection, lines both ways, and the calls beside.

use crate::server::Server;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use portcullis_control::token;
use portcullis_store::entity::{Token, TokenKind};
use portcullis_sync::message::{self, Changes, FromControl, FromGateway, Hello, Ping, Pong, Welcome};
use portcullis_verify::{DeploymentId, Version};
use serde_json::Value;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

/// No answer takes so long.
pub(crate) const SOON: Duration = Duration::from_secs(10);

type Body = StreamBody<tokio_stream::Lines>;

/// A connection that speaks HTTP/2 by prior knowledge.
pub(crate) struct Connection {
    requests: http2::SendRequest<http_body_util::combinators::BoxBody<Bytes, Infallible>>,
    address: SocketAddr,
    pub(crate) driver: tokio::task::JoinHandle<()>,
}

mod tokio_stream {
    use super::*;

    /// What a test sends, line by line.
    pub(crate) struct Lines(pub(crate) mpsc::UnboundedReceiver<Bytes>);

    impl futures_util::Stream for Lines {
        type Item = Result<Frame<Bytes>, Infallible>;

        fn poll_next(
            mut self: std::pin::Pin<&mut Self>,
            context: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Self::Item>> {
            self.0
                .poll_recv(context)
                .map(|line| line.map(|line| Ok(Frame::data(line))))
        }
    }
}

impl Connection {
    pub(crate) async fn open(server: &Server) -> Connection {
        Connection::with_window(server, 1 << 20).await
    }

    /// With so many bytes of an answer that may be under way.
    pub(crate) async fn with_window(server: &Server, bytes: u32) -> Connection {
        let stream = TcpStream::connect(server.address).await.unwrap();
        let (requests, connection) = http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(bytes)
            .initial_connection_window_size(bytes)
            .handshake(TokioIo::new(stream))
            .await
            .unwrap();
        let driver = tokio::spawn(async move {
            let _ = connection.await;
        });
        Connection {
            requests,
            address: server.address,
            driver,
        }
    }

    fn request(&self, method: Method, path: &str, token: &str) -> http::request::Builder {
        Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.address))
            .header("authorization", format!("Bearer {token}"))
    }

    /// A call beside the watch: its status and its JSON.
    pub(crate) async fn call(&mut self, method: Method, path: &str, token: &str, body: &Value) -> (StatusCode, Value) {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let body = http_body_util::Full::new(Bytes::from(body)).boxed();
        let request = self.request(method, path, token).body(body).unwrap();
        let response = self.requests.send_request(request).await.unwrap();
        let status = response.status();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&bytes).unwrap_or_default())
    }

    async fn watch(&mut self, token: &str) -> (mpsc::UnboundedSender<Bytes>, Response<Incoming>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let body: Body = StreamBody::new(tokio_stream::Lines(receiver));
        let request = self
            .request(Method::POST, message::WATCH, token)
            .body(body.boxed())
            .unwrap();
        let response = self.requests.send_request(request).await.unwrap();
        (sender, response)
    }
}

/// A gateway under a test's control.
pub(crate) struct Gateway {
    pub(crate) connection: Connection,
    lines: mpsc::UnboundedSender<Bytes>,
    answer: Incoming,
    gathered: Vec<u8>,
    pub(crate) welcome: Welcome,
    pings: u64,
}

/// What a gateway says of itself.
pub(crate) fn hello(name: &str, applied: Option<Version>) -> Hello {
    Hello {
        gateway_id: format!(
            "{:032x}",
            name.bytes().fold(7_u128, |sum, byte| sum * 31 + u128::from(byte))
        ),
        name: name.to_owned(),
        version: "1.2.3".to_owned(),
        stale_max_ms: 2_000,
        serves_stale: false,
        applied,
    }
}

impl Gateway {
    /// Connects and is welcomed.
    pub(crate) async fn watch(server: &Server, token: &str, hello: Hello) -> Gateway {
        Gateway::on(Connection::open(server).await, token, hello).await
    }

    pub(crate) async fn on(connection: Connection, token: &str, hello: Hello) -> Gateway {
        let mut gateway = Gateway::greet(connection, token, hello).await;
        match gateway.hear().await {
            Some(FromControl::Welcome(welcome)) => gateway.welcome = welcome,
            other => panic!("a welcome comes first, not {other:?}"),
        }
        gateway
    }

    /// Connects, says hello, and is sent away.
    pub(crate) async fn refused(server: &Server, token: &str, hello: Hello) {
        let mut gateway = Gateway::greet(Connection::open(server).await, token, hello).await;
        assert_eq!(gateway.hear().await, None, "nothing is told");
    }

    async fn greet(mut connection: Connection, token: &str, hello: Hello) -> Gateway {
        let (lines, response) = connection.watch(token).await;
        assert_eq!(response.status(), StatusCode::OK);
        let gateway = Gateway {
            connection,
            lines,
            answer: response.into_body(),
            gathered: Vec::new(),
            welcome: Welcome {
                deployment_id: DeploymentId(0),
                deployment_name: String::new(),
                apps: Vec::new(),
            },
            pings: 0,
        };
        gateway.say(&FromGateway::Hello(hello));
        gateway
    }

    pub(crate) fn say(&self, line: &FromGateway) {
        self.say_bytes(format!("{}\n", serde_json::to_string(line).unwrap()));
    }

    pub(crate) fn say_bytes(&self, bytes: impl Into<Bytes>) {
        // A stream that was ended takes nothing more.
        let _ = self.lines.send(bytes.into());
    }

    /// The next line; `None` when the stream has ended.
    pub(crate) async fn hear(&mut self) -> Option<FromControl> {
        loop {
            if let Some(end) = self.gathered.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.gathered.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).expect("every line is a message"));
            }
            let frame = tokio::time::timeout(SOON, self.answer.frame())
                .await
                .expect("something comes");
            match frame {
                Some(Ok(frame)) => self.gathered.extend(frame.into_data().unwrap_or_default()),
                Some(Err(_)) | None => return None,
            }
        }
    }

    /// Whether nothing comes for a while.
    pub(crate) async fn is_left_alone(&mut self) -> bool {
        tokio::time::timeout(Duration::from_millis(150), self.hear())
            .await
            .is_err()
    }

    pub(crate) fn ping(&mut self, applied: Version) -> u64 {
        self.pings += 1;
        self.say(&FromGateway::Ping(Ping {
            number: self.pings,
            applied,
            staleness_ms: 7,
        }));
        self.pings
    }

    pub(crate) async fn expect_changes(&mut self) -> Changes {
        match self.hear().await {
            Some(FromControl::Changes(changes)) => changes,
            other => panic!("changes were expected, not {other:?}"),
        }
    }

    pub(crate) async fn expect_reset(&mut self) -> Version {
        match self.hear().await {
            Some(FromControl::Reset { to }) => to,
            other => panic!("a reset was expected, not {other:?}"),
        }
    }

    pub(crate) async fn expect_pong(&mut self) -> Pong {
        match self.hear().await {
            Some(FromControl::Pong(pong)) => pong,
            other => panic!("a pong was expected, not {other:?}"),
        }
    }

    /// Applies what comes, as a gateway does, until a ping sent now is answered; answers what it has applied.
    pub(crate) async fn catch_up(&mut self, mut applied: Version) -> Version {
        let number = self.ping(applied);
        loop {
            match self.hear().await {
                Some(FromControl::Changes(changes)) => {
                    assert_eq!(
                        (changes.epoch, changes.after),
                        (applied.epoch, applied.revision),
                        "there is no gap"
                    );
                    assert!(changes.through > changes.after);
                    applied.revision = changes.through;
                }
                Some(FromControl::Reset { to }) => applied = to,
                Some(FromControl::Pong(pong)) if pong.number == number => {
                    assert!(applied.covers(pong.at), "all changes up to {:?} come first", pong.at);
                    return applied;
                }
                Some(FromControl::Pong(_)) => {}
                other => panic!("not expected: {other:?}"),
            }
        }
    }

    /// Waits until the control API ends the stream.
    pub(crate) async fn expect_end(&mut self) {
        while self.hear().await.is_some() {}
    }
}

impl Server {
    /// A gateway token of a deployment, kept to some apps or to none.
    pub(crate) async fn gateway_token(&self, deployment_id: DeploymentId, apps: &[&str]) -> (Token, String) {
        let secret = token::generate(TokenKind::Gateway).unwrap();
        let apps: Vec<String> = apps.iter().map(|slug| (*slug).to_owned()).collect();
        let created = self
            .store
            .create_token(
                deployment_id,
                TokenKind::Gateway,
                "g",
                &apps,
                token::hash(secret.expose()),
            )
            .await
            .unwrap();
        (created.value, secret.expose().to_owned())
    }

    /// The head of the log.
    pub(crate) async fn head(&self) -> Version {
        self.store.current_version().await.unwrap()
    }

    /// Waits until a gateway is listed so.
    pub(crate) async fn until_listed(&self, name: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let listed = async {
            loop {
                let list = self.get("/api-auth/gateways").await.expect(200);
                let gateways = list["gateways"].as_array().unwrap();
                if let Some(gateway) = gateways
                    .iter()
                    .find(|gateway| gateway["name"] == name && is_so(gateway))
                {
                    return gateway.clone();
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(SOON, listed)
            .await
            .expect("it is listed so in the end")
    }
}
