//! The API behind the proxies: answers fast, and with a body as long as the path asks for.
//!
//! Decides the answers: `/b/N` has N bytes, `/seen` shows the request's own head, anything else 1 KiB. Checks nothing. Runs as a
//! process of its own, so that its time is not the generator's.

use super::readiness::{Interest, Readiness};
use super::reply::line;
use anyhow::Result;
use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

/// The argument that makes the program this upstream.
pub(crate) const ARGUMENT: &str = "upstream";

/// Bodies up to so long are kept ready together with their heads.
const READY_BYTES_MAX: usize = 64 * 1024;
/// The body of a path that asks for none in particular.
const USUAL_BYTES: usize = 1024;
/// Read at once.
const READ_BYTES: usize = 64 * 1024;

const CONTENT_LENGTH: &[u8] = b"content-length:";

const LISTENER: usize = usize::MAX;

struct Connection {
    stream: TcpStream,
    /// The part of a request's head that has come without its end.
    head: Vec<u8>,
    /// Bytes of the request's body that are still to come.
    body_missing: usize,
    /// What is being written, from where on, and how many bytes of body follow it.
    writing: Option<(Arc<[u8]>, usize)>,
    follow: usize,
}

struct Answers {
    ready: HashMap<usize, Arc<[u8]>>,
    filling: Arc<[u8]>,
}

impl Answers {
    fn new() -> Answers {
        Answers {
            ready: HashMap::new(),
            filling: vec![b'x'; READY_BYTES_MAX].into(),
        }
    }

    /// What to write first, and how many bytes of body then follow.
    fn to(&mut self, head: &[u8]) -> (Arc<[u8]>, usize) {
        let path = head.split(|&byte| byte == b' ').nth(1).unwrap_or_default();
        if path.starts_with(b"/seen") {
            return ([answer_head(head.len()).as_slice(), head].concat().into(), 0);
        }
        let bytes = path
            .strip_prefix(b"/b/")
            .and_then(|bytes| std::str::from_utf8(bytes).ok()?.parse().ok())
            .unwrap_or(USUAL_BYTES);
        if bytes > READY_BYTES_MAX {
            return (answer_head(bytes).into(), bytes);
        }
        let ready = self
            .ready
            .entry(bytes)
            .or_insert_with(|| [answer_head(bytes).as_slice(), &self.filling[..bytes]].concat().into());
        (Arc::clone(ready), 0)
    }
}

fn answer_head(bytes: usize) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {bytes}\r\n\r\n").into_bytes()
}

/// Serves until the process is ended, and tells its address on standard output first.
pub(crate) fn serve() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    writeln!(std::io::stdout(), "{}", listener.local_addr()?)?;
    listener.set_nonblocking(true)?;
    let mut readiness = Readiness::new()?;
    readiness.add(&listener, LISTENER, Interest::Read)?;
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let (mut answers, mut buffer, mut ready) = (Answers::new(), vec![0; READ_BYTES], Vec::new());
    loop {
        readiness.wait(None, &mut ready)?;
        for &number in &ready {
            if number == LISTENER {
                accept(&listener, &readiness, &mut connections)?;
                continue;
            }
            let Some(slot) = connections.get_mut(number) else {
                continue;
            };
            let Some(connection) = slot else { continue };
            // A proxy that broke off has nobody to tell.
            if !connection
                .go_on(number, &readiness, &mut answers, &mut buffer)
                .unwrap_or(false)
            {
                *slot = None;
            }
        }
    }
}

fn accept(listener: &TcpListener, readiness: &Readiness, connections: &mut Vec<Option<Connection>>) -> Result<()> {
    while let Ok((stream, _)) = listener.accept() {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let number = connections
            .iter()
            .position(Option::is_none)
            .unwrap_or(connections.len());
        readiness.add(&stream, number, Interest::Read)?;
        let connection = Some(Connection {
            stream,
            head: Vec::new(),
            body_missing: 0,
            writing: None,
            follow: 0,
        });
        match connections.get_mut(number) {
            Some(slot) => *slot = connection,
            None => connections.push(connection),
        }
    }
    Ok(())
}

impl Connection {
    /// Reads and writes what can be; false once the other end has closed.
    fn go_on(
        &mut self,
        number: usize,
        readiness: &Readiness,
        answers: &mut Answers,
        buffer: &mut [u8],
    ) -> Result<bool> {
        if self.writing.is_some() && self.body_missing == 0 {
            if self.write(answers)? {
                readiness.change(&self.stream, number, Interest::Read)?;
            }
            return Ok(true);
        }
        let read = match self.stream.read(buffer) {
            Ok(0) => return Ok(false),
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
            Err(error) => return Err(error.into()),
        };
        if !self.take(&buffer[..read], answers)? {
            return Ok(true);
        }
        if !self.write(answers)? {
            readiness.change(&self.stream, number, Interest::Write)?;
        }
        Ok(true)
    }

    /// Takes a piece of a request; true when all of it is there and its answer is to be written.
    fn take(&mut self, mut arrived: &[u8], answers: &mut Answers) -> Result<bool> {
        if self.body_missing == 0 {
            let before = self.head.len();
            let gathered = if before == 0 {
                arrived
            } else {
                self.head.extend_from_slice(arrived);
                &self.head
            };
            let Some((end, body_bytes)) = head(gathered) else {
                if before == 0 {
                    self.head.extend_from_slice(arrived);
                }
                return Ok(false);
            };
            self.body_missing = body_bytes;
            let (first, follow) = answers.to(&gathered[..end]);
            (self.writing, self.follow) = (Some((first, 0)), follow);
            arrived = &arrived[end - before..];
            self.head.clear();
        }
        self.body_missing = self.body_missing.saturating_sub(arrived.len());
        Ok(self.body_missing == 0)
    }

    /// Writes what the socket takes; true when that was all.
    fn write(&mut self, answers: &Answers) -> Result<bool> {
        while let Some((bytes, at)) = &mut self.writing {
            match self.stream.write(&bytes[*at..]) {
                Ok(written) => *at += written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error.into()),
            }
            if *at < bytes.len() {
                continue;
            }
            let next = self.follow.min(answers.filling.len());
            self.follow -= next;
            let from = answers.filling.len() - next;
            self.writing = (next > 0).then(|| (Arc::clone(&answers.filling), from));
        }
        Ok(true)
    }
}

/// Where a head ends, its empty line included, and how long a body it announces; nothing while its end is missing.
fn head(bytes: &[u8]) -> Option<(usize, usize)> {
    let (mut end, mut body_bytes) = (0, 0);
    loop {
        let length = line(&bytes[end..])?;
        let field = bytes[end..end + length].trim_ascii_end();
        end += length;
        if field.is_empty() {
            return Some((end, body_bytes));
        }
        if let Some((name, value)) = field.split_at_checked(CONTENT_LENGTH.len())
            && name.eq_ignore_ascii_case(CONTENT_LENGTH)
        {
            body_bytes = std::str::from_utf8(value).ok()?.trim().parse().ok()?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_ends_with_its_empty_line() {
        let check = |bytes: &str, expected| assert_eq!(head(bytes.as_bytes()), expected, "{bytes:?}");
        check("GET / HTTP/1.1\r\nHost: a\r\n\r\n", Some((27, 0)));
        check(
            "PUT / HTTP/1.1\r\ncontent-length: 12\r\n\r\nhello, world",
            Some((38, 12)),
        );
        check("PUT / HTTP/1.1\r\nContent-Length: 12\r\n", None);
        check("GET / HT", None);
    }

    #[test]
    fn a_path_says_how_long_its_answer_is() {
        let mut answers = Answers::new();
        for (path, body_bytes) in [
            ("/b/0", 0),
            ("/b/65536", 65_536),
            ("/v1/things", 1_024),
            ("/b/10485760", 10_485_760),
        ] {
            let (first, follow) = answers.to(format!("GET {path} HTTP/1.1\r\n\r\n").as_bytes());
            let (end, announced) = head(&first).expect("a whole head");
            assert_eq!(
                (announced, first.len() - end + follow),
                (body_bytes, body_bytes),
                "{path}"
            );
        }
        let asked = b"GET /seen HTTP/1.1\r\nhost: a\r\n\r\n";
        assert!(answers.to(asked).0.ends_with(asked));
    }
}
