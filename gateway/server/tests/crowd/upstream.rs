//! The API behind the gateway, on a thread of its own: quick at `/`, and as bad as its path says elsewhere.

use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The length of the answer at `/large`.
const LARGE_BYTES: usize = 64 * 1024 * 1024;

/// Starts one that lives as long as the process.
pub(crate) fn start() -> SocketAddr {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            sender
                .send(listener.local_addr().expect("an address"))
                .expect("somebody waits");
            loop {
                if let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(serve(stream));
                }
            }
        });
    });
    receiver.recv().expect("the upstream starts")
}

async fn serve(mut stream: TcpStream) {
    // The client may leave at any time.
    let _ = stream.set_nodelay(true);
    let _ = speak(&mut stream).await;
}

async fn speak(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut received = Vec::with_capacity(2048);
    loop {
        while !received.windows(4).any(|four| four == b"\r\n\r\n") {
            if stream.read_buf(&mut received).await? == 0 {
                return Ok(());
            }
        }
        let path = received.split(|byte| *byte == b' ').nth(1).unwrap_or_default().to_vec();
        match path.as_slice() {
            b"/swallow" => return swallow(stream).await,
            b"/large" => return large(stream).await,
            b"/silent" => return std::future::pending().await,
            b"/drip" => return drip(stream).await,
            _ => {
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                    .await?
            }
        }
        received.clear();
    }
}

/// Takes a body for as long as it comes, and never answers.
async fn swallow(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut chunk = vec![0; 64 * 1024];
    while stream.read(&mut chunk).await? > 0 {}
    Ok(())
}

/// Answers more than anybody should hold.
async fn large(stream: &mut TcpStream) -> std::io::Result<()> {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {LARGE_BYTES}\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    let chunk = vec![b'a'; 64 * 1024];
    for _ in 0..LARGE_BYTES / chunk.len() {
        stream.write_all(&chunk).await?;
        // The customer is answered by this thread too.
        tokio::time::sleep(Duration::from_millis(4)).await;
    }
    Ok(())
}

/// Answers a byte at a time.
async fn drip(stream: &mut TcpStream) -> std::io::Result<()> {
    stream
        .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
        .await?;
    loop {
        stream.write_all(b"a").await?;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}
