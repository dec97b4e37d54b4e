//! Bytes on a socket, for requests that no well-behaved client would send.

use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Sends `bytes` and reads until the peer closes or goes quiet for `PATIENCE`. Lossy text.
pub async fn exchange(to: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(to).await.expect("the port is open");
    // A peer that refuses early may close while we still write.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(super::PATIENCE, stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

/// The status of the first answer in `text`; 0 when there is none.
pub fn status(text: &str) -> u16 {
    text.strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3))
        .and_then(|code| code.parse().ok())
        .unwrap_or(0)
}

/// How many answers `text` holds.
pub fn answers(text: &str) -> usize {
    text.matches("HTTP/1.1 ").count()
}
