//! An upstream that remembers what reached it, byte for byte, and answers as its scene says.
//!
//! Reads requests strictly: what it cannot read it remembers as it came. Judges nothing.

use super::scene::{Reply, Then, When};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What the target of the request after a scene starts with.
pub(crate) const PLAIN_TARGET: &str = "/plain-after";
/// What only the answer to it says.
pub(crate) const PLAIN_ANSWER: &[u8] = b"the plain answer";

/// A request as it came.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    /// Up to the blank line, which is not included.
    pub(crate) head: Vec<u8>,
    /// As it was framed.
    pub(crate) body: Vec<u8>,
    pub(crate) is_whole: bool,
}

/// One upstream.
pub(crate) struct Recorder {
    pub(crate) address: SocketAddr,
    part: Arc<Mutex<Part>>,
}

#[derive(Default)]
struct Part {
    seen: Vec<Seen>,
    replies: std::collections::VecDeque<Reply>,
}

impl Recorder {
    pub(crate) async fn start() -> Recorder {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let part = Arc::new(Mutex::new(Part::default()));
        let shared = Arc::downgrade(&part);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Some(part) = shared.upgrade() else { return };
                tokio::spawn(async move { converse(stream, &part).await });
            }
        });
        Recorder { address, part }
    }

    pub(crate) fn expect(&self, replies: &[Reply]) {
        let mut part = self.part.lock().unwrap();
        part.replies = replies.iter().cloned().collect();
    }

    /// What came since the last call.
    pub(crate) fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut self.part.lock().unwrap().seen)
    }
}

/// Requests and answers of one connection, until either end is tired of it.
async fn converse(mut stream: TcpStream, part: &Mutex<Part>) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut received = Vec::new();
    loop {
        let end = until(&mut stream, &mut received, |bytes| find(bytes, b"\r\n\r\n")).await?;
        let head: Vec<u8> = received.drain(..end + 4).take(end).collect();
        let (framing, is_plain) = (Framing::of(&head), head_is_plain(&head));
        let (index, reply) = {
            let mut part = part.lock().unwrap();
            part.seen.push(Seen {
                head,
                ..Seen::default()
            });
            let reply = if is_plain { None } else { part.replies.pop_front() };
            (part.seen.len() - 1, reply)
        };
        let grow = |bytes: &[u8]| {
            if let Some(seen) = part.lock().unwrap().seen.get_mut(index) {
                seen.body.extend_from_slice(bytes);
            }
        };
        let is_early = reply.as_ref().is_some_and(|reply| reply.when == When::HeadRead);
        if is_early {
            answer(&mut stream, reply.as_ref(), is_plain).await?;
        }
        match framing {
            Framing::Length(mut left) => {
                while left > 0 {
                    until(&mut stream, &mut received, |bytes| (!bytes.is_empty()).then_some(0)).await?;
                    let taken = left.min(received.len());
                    grow(&received[..taken]);
                    received.drain(..taken);
                    left -= taken;
                }
            }
            Framing::Chunked => loop {
                let line = until(&mut stream, &mut received, |bytes| find(bytes, b"\r\n")).await?;
                let text = String::from_utf8_lossy(&received[..line]).into_owned();
                let size = usize::from_str_radix(text.split(';').next()?.trim(), 16).ok()?;
                received.drain(..line + 2);
                if size == 0 {
                    // Trailers would stand here; they are remembered as part of the body.
                    loop {
                        let line = until(&mut stream, &mut received, |bytes| find(bytes, b"\r\n")).await?;
                        let trailer: Vec<u8> = received.drain(..line + 2).collect();
                        if line == 0 {
                            break;
                        }
                        grow(&[b"trailer: ", &*trailer].concat());
                    }
                    break;
                }
                until(&mut stream, &mut received, |bytes| {
                    (bytes.len() >= size + 2).then_some(0)
                })
                .await?;
                grow(&received[..size]);
                received.drain(..size + 2);
            },
        }
        if let Some(seen) = part.lock().unwrap().seen.get_mut(index) {
            seen.is_whole = true;
        }
        if !is_early {
            answer(&mut stream, reply.as_ref(), is_plain).await?;
        }
        if reply.is_some_and(|reply| reply.then == Then::Close) {
            stream.shutdown().await.ok()?;
            // What is still sent is read, so that the answer is not lost to a reset.
            while stream.read(&mut [0; 4096]).await.ok()? > 0 {}
            return None;
        }
    }
}

async fn answer(stream: &mut TcpStream, reply: Option<&Reply>, is_plain: bool) -> Option<()> {
    let Some(reply) = reply else {
        let body: &[u8] = if is_plain { PLAIN_ANSWER } else { b"ok" };
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        return stream.write_all(&[head.as_bytes(), body].concat()).await.ok();
    };
    for piece in &reply.pieces {
        stream.write_all(piece).await.ok()?;
        for _ in 0..4 {
            tokio::task::yield_now().await;
        }
    }
    Some(())
}

fn head_is_plain(head: &[u8]) -> bool {
    find(head, format!(" {PLAIN_TARGET}").as_bytes()).is_some_and(|at| at < 10)
}

enum Framing {
    Length(usize),
    Chunked,
}

impl Framing {
    fn of(head: &[u8]) -> Framing {
        let head = String::from_utf8_lossy(head);
        if crate::client::header(&head, "transfer-encoding").is_some() {
            return Framing::Chunked;
        }
        let length = crate::client::header(&head, "content-length").and_then(|length| length.parse().ok());
        Framing::Length(length.unwrap_or(0))
    }
}

pub(crate) fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// Reads on until `find` finds something. `None`: the connection ended before.
async fn until(stream: &mut TcpStream, received: &mut Vec<u8>, find: impl Fn(&[u8]) -> Option<usize>) -> Option<usize> {
    loop {
        if let Some(found) = find(received) {
            return Some(found);
        }
        if stream.read_buf(received).await.ok()? == 0 {
            return None;
        }
    }
}
