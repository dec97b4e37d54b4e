//! A client that sends what it is told, byte for byte, and reads HTTP/1.1 answers.

use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(10);

/// A connection to the gateway.
pub(crate) struct Client<S = TcpStream> {
    pub(crate) stream: S,
    buffer: Vec<u8>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    /// The values of a header, joined as HTTP would.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        header(&self.head, name)
    }

    /// The public reason of a refusal.
    pub(crate) fn reason(&self) -> String {
        let body: serde_json::Value = serde_json::from_str(&self.body).expect("a JSON body");
        body["reason"].as_str().unwrap_or_default().to_owned()
    }
}

/// The values of a header in a head, joined as HTTP would.
pub(crate) fn header(head: &str, name: &str) -> Option<String> {
    let values: Vec<&str> = head
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(':'))
        .filter(|(found, _)| found.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
        .collect();
    (!values.is_empty()).then(|| values.join(", "))
}

/// Sends one request on a new connection and reads the answer.
pub(crate) async fn ask(address: SocketAddr, request: impl AsRef<[u8]>) -> Answer {
    let mut client = Client::connect(address).await;
    client.send(request).await;
    client.answer().await
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Client {
        Client::over(TcpStream::connect(address).await.unwrap())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub(crate) fn over(stream: S) -> Client<S> {
        Client {
            stream,
            buffer: Vec::new(),
        }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    async fn receive(&mut self) -> usize {
        timeout(PATIENCE, self.stream.read_buf(&mut self.buffer))
            .await
            .expect("an answer in time")
            .unwrap_or(0)
    }

    /// Reads up to the blank line.
    pub(crate) async fn head(&mut self) -> String {
        loop {
            if let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                let head: Vec<u8> = self.buffer.drain(..end + 4).collect();
                return String::from_utf8(head).unwrap();
            }
            assert!(
                self.receive().await > 0,
                "closed within a head: {:?}",
                String::from_utf8_lossy(&self.buffer)
            );
        }
    }

    pub(crate) async fn exactly(&mut self, length: usize) -> Vec<u8> {
        while self.buffer.len() < length {
            assert!(self.receive().await > 0, "closed within a body");
        }
        self.buffer.drain(..length).collect()
    }

    async fn line(&mut self) -> String {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|window| window == b"\r\n") {
                let line: Vec<u8> = self.buffer.drain(..end + 2).collect();
                return String::from_utf8(line).unwrap().trim_end().to_owned();
            }
            assert!(self.receive().await > 0, "closed within a line");
        }
    }

    /// One chunk of a chunked body; empty at its end.
    pub(crate) async fn chunk(&mut self) -> Vec<u8> {
        let size = usize::from_str_radix(self.line().await.split(';').next().unwrap(), 16).unwrap();
        let chunk = self.exactly(size).await;
        self.line().await;
        chunk
    }

    /// Everything until the connection closes.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        while self.receive().await > 0 {}
        std::mem::take(&mut self.buffer)
    }

    /// Reads a whole answer to anything but `HEAD`; informational ones are skipped.
    pub(crate) async fn answer(&mut self) -> Answer {
        self.answer_to("GET").await
    }

    pub(crate) async fn answer_to(&mut self, method: &str) -> Answer {
        let (head, status) = loop {
            let head = self.head().await;
            let status: u16 = head.split(' ').nth(1).unwrap().parse().unwrap();
            if status >= 200 || status == 101 {
                break (head, status);
            }
        };
        let body = if method == "HEAD" || matches!(status, 101 | 204 | 304) {
            Vec::new()
        } else if let Some(length) = header(&head, "content-length") {
            self.exactly(length.parse().unwrap()).await
        } else if header(&head, "transfer-encoding").is_some() {
            let mut body = Vec::new();
            loop {
                let chunk = self.chunk().await;
                if chunk.is_empty() {
                    break body;
                }
                body.extend(chunk);
            }
        } else {
            self.rest().await
        };
        Answer {
            status,
            head,
            body: String::from_utf8(body).unwrap(),
        }
    }
}
