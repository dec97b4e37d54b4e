//! Upstreams that write down what reaches them, byte for byte.

use crate::client::{Client, header};
use std::future::Future;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::net::{TcpListener, TcpStream};

/// A request as it reached an upstream.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Received {
    pub(crate) fn line(&self) -> &str {
        self.head.lines().next().unwrap_or_default()
    }

    pub(crate) fn header(&self, name: &str) -> Option<String> {
        header(&self.head, name)
    }
}

/// An upstream that answers every request in the same way.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    requests: Arc<Mutex<Vec<Received>>>,
    connections: Arc<AtomicUsize>,
}

pub(crate) const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// An upstream that answers `ok`.
pub(crate) async fn upstream() -> Upstream {
    answering(OK).await
}

/// An upstream that answers with these bytes.
pub(crate) async fn answering(answer: &'static str) -> Upstream {
    let requests = Arc::new(Mutex::new(Vec::new()));
    let connections = Arc::new(AtomicUsize::new(0));
    let (seen, counted) = (Arc::clone(&requests), Arc::clone(&connections));
    let address = serving(move |stream| {
        counted.fetch_add(1, Ordering::SeqCst);
        let seen = Arc::clone(&seen);
        async move {
            let mut stream = Client::over(stream);
            loop {
                let Some(received) = next(&mut stream).await else {
                    return;
                };
                seen.lock().unwrap().push(received);
                stream.send(answer).await;
            }
        }
    })
    .await;
    Upstream {
        address,
        requests,
        connections,
    }
}

/// Reads one request.
pub(crate) async fn next(stream: &mut Client<TcpStream>) -> Option<Received> {
    // Waiting for the next request on a kept connection is no failure.
    stream.stream.readable().await.ok()?;
    if stream.stream.peek(&mut [0]).await.ok()? == 0 {
        return None;
    }
    let head = stream.head().await;
    let body = if let Some(length) = header(&head, "content-length") {
        stream.exactly(length.parse().unwrap()).await
    } else if header(&head, "transfer-encoding").is_some() {
        let mut body = Vec::new();
        loop {
            let chunk = stream.chunk().await;
            if chunk.is_empty() {
                break body;
            }
            body.extend(chunk);
        }
    } else {
        Vec::new()
    };
    Some(Received { head, body })
}

/// A server that does what it is told with each connection.
pub(crate) async fn serving<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    address
}

/// An address where nobody listens.
pub(crate) async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

impl Upstream {
    pub(crate) fn requests(&self) -> Vec<Received> {
        self.requests.lock().unwrap().clone()
    }

    /// The only request that came.
    pub(crate) fn only(&self) -> Received {
        let requests = self.requests();
        assert_eq!(requests.len(), 1, "{requests:?}");
        requests.into_iter().next().unwrap()
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}
