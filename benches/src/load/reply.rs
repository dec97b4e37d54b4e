//! Reads answers off a kept-alive HTTP/1.1 connection: where each ends, and its status.
//!
//! Refuses to know what is in them. Called by the load generator for every piece that arrives, so that it looks at a head once and
//! counts a body.

use anyhow::{Context, Result, bail, ensure};

/// Longest head that is gathered.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// What is still missing of an answer.
#[derive(Debug, Default)]
pub(crate) struct Reply {
    state: State,
    /// The part of a head that came without its end.
    gathered: Vec<u8>,
    status: u16,
    closes: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Head,
    Body {
        missing: u64,
    },
    Chunks(Chunks),
}

/// Within a body in chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Chunks {
    Size { so_far: u64, in_extension: bool },
    Data { missing: u64 },
    AfterData { missing: u8 },
    LastLine { is_empty: bool },
}

/// An answer that is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Whole {
    /// Its status.
    pub(crate) status: u16,
    /// The other end will close the connection.
    pub(crate) closes: bool,
}

impl Reply {
    /// Takes what has arrived; an answer when it is whole now. One request is under way at a time, so that nothing may follow.
    pub(crate) fn take(&mut self, mut arrived: &[u8]) -> Result<Option<Whole>> {
        while !arrived.is_empty() {
            let is_whole = match self.state {
                State::Head => self.take_head(&mut arrived)?,
                State::Body { missing } => {
                    let here = missing.min(u64::try_from(arrived.len())?);
                    arrived = &arrived[usize::try_from(here)?..];
                    self.state = State::Body {
                        missing: missing - here,
                    };
                    missing == here
                }
                State::Chunks(chunks) => self.take_chunks(chunks, &mut arrived)?,
            };
            if is_whole {
                ensure!(arrived.is_empty(), "bytes follow an answer");
                self.state = State::Head;
                return Ok(Some(Whole {
                    status: self.status,
                    closes: self.closes,
                }));
            }
        }
        Ok(None)
    }

    fn take_head(&mut self, arrived: &mut &[u8]) -> Result<bool> {
        let gathered_before = self.gathered.len();
        let head = if gathered_before == 0 {
            Head::parse(arrived)?
        } else {
            self.gathered.extend_from_slice(arrived);
            Head::parse(&self.gathered)?
        };
        let Some(head) = head else {
            if gathered_before == 0 {
                self.gathered.extend_from_slice(arrived);
            }
            ensure!(
                self.gathered.len() <= HEAD_BYTES_MAX,
                "the head of an answer is too long"
            );
            *arrived = &[];
            return Ok(false);
        };
        self.gathered.clear();
        *arrived = arrived
            .get(head.bytes - gathered_before..)
            .context("a head ends within what has arrived")?;
        (self.status, self.closes) = (head.status, head.closes);
        self.state = match head.body {
            Body::Bytes(0) => return Ok(true),
            Body::Bytes(missing) => State::Body { missing },
            Body::Chunks => State::Chunks(Chunks::Size {
                so_far: 0,
                in_extension: false,
            }),
        };
        Ok(false)
    }

    fn take_chunks(&mut self, chunks: Chunks, arrived: &mut &[u8]) -> Result<bool> {
        if let Chunks::Data { missing } = chunks {
            let here = missing.min(u64::try_from(arrived.len())?);
            *arrived = &arrived[usize::try_from(here)?..];
            self.state = State::Chunks(match missing - here {
                0 => Chunks::AfterData { missing: 2 },
                missing => Chunks::Data { missing },
            });
            return Ok(false);
        }
        let byte = arrived[0];
        *arrived = &arrived[1..];
        let next = match (chunks, byte) {
            (Chunks::Size { so_far: 0, .. }, b'\n') => Chunks::LastLine { is_empty: true },
            (Chunks::Size { so_far, .. }, b'\n') => Chunks::Data { missing: so_far },
            (Chunks::Size { so_far, .. }, b';' | b'\r') => Chunks::Size {
                so_far,
                in_extension: true,
            },
            (size @ Chunks::Size { in_extension: true, .. }, _) => size,
            (Chunks::Size { so_far, .. }, digit) => {
                let digit = char::from(digit).to_digit(16).context("a chunk has no size")?;
                Chunks::Size {
                    so_far: so_far.checked_mul(16).context("a chunk is too large")? + u64::from(digit),
                    in_extension: false,
                }
            }
            (Chunks::AfterData { missing: 1 }, _) => Chunks::Size {
                so_far: 0,
                in_extension: false,
            },
            (Chunks::AfterData { missing }, _) => Chunks::AfterData { missing: missing - 1 },
            (Chunks::LastLine { is_empty: true }, b'\n') => return Ok(true),
            (Chunks::LastLine { is_empty: false }, b'\n') => Chunks::LastLine { is_empty: true },
            (Chunks::LastLine { is_empty }, b'\r') => Chunks::LastLine { is_empty },
            (Chunks::LastLine { .. }, _) => Chunks::LastLine { is_empty: false },
            (Chunks::Data { .. }, _) => bail!("data was taken above"),
        };
        self.state = State::Chunks(next);
        Ok(false)
    }
}

struct Head {
    bytes: usize,
    status: u16,
    body: Body,
    closes: bool,
}

enum Body {
    Bytes(u64),
    Chunks,
}

impl Head {
    /// The head at the front of `bytes`, when all of it is there.
    fn parse(bytes: &[u8]) -> Result<Option<Head>> {
        let Some(first) = line(bytes) else { return Ok(None) };
        let status = bytes.get(9..12).and_then(|status| std::str::from_utf8(status).ok());
        let status = status.and_then(|status| status.parse().ok());
        let mut head = Head {
            bytes: first,
            status: status.context("an answer begins with no status")?,
            body: Body::Bytes(0),
            closes: false,
        };
        loop {
            let rest = &bytes[head.bytes..];
            let Some(length) = line(rest) else { return Ok(None) };
            head.bytes += length;
            let field = rest[..length].trim_ascii_end();
            if field.is_empty() {
                return Ok(Some(head));
            }
            // Only three names matter, and all begin with one of two letters.
            if !matches!(field[0] | 0x20, b'c' | b't') {
                continue;
            }
            let colon = field
                .iter()
                .position(|&byte| byte == b':')
                .context("a field has no name")?;
            let (name, value) = (&field[..colon], field[colon + 1..].trim_ascii());
            if name.eq_ignore_ascii_case(b"content-length") {
                head.body = Body::Bytes(std::str::from_utf8(value)?.parse()?);
            } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
                head.body = Body::Chunks;
            } else if name.eq_ignore_ascii_case(b"connection") {
                head.closes = value.eq_ignore_ascii_case(b"close");
            }
        }
    }
}

/// Length of the first line, its end included.
pub(crate) fn line(bytes: &[u8]) -> Option<usize> {
    Some(bytes.iter().position(|&byte| byte == b'\n')? + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However it is cut, the answer is whole with its last byte and not before.
    fn check(answer: &str, status: u16, closes: bool) {
        let answer = answer.as_bytes();
        for piece in 1..=answer.len() {
            let mut reply = Reply::default();
            let mut seen = Vec::new();
            for (number, arrived) in answer.chunks(piece).enumerate() {
                if let Some(whole) = reply.take(arrived).expect("a good answer") {
                    seen.push((number, whole));
                }
            }
            let last = answer.len().div_ceil(piece) - 1;
            assert_eq!(seen, [(last, Whole { status, closes })], "in pieces of {piece}");
        }
    }

    #[test]
    fn an_answer_ends_where_its_head_says() {
        check(
            "HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 5\r\n\r\nhello",
            200,
            false,
        );
        check(
            "HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
            403,
            true,
        );
        check(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1A;x=y\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\n\r\n",
            200,
            false,
        );
        check(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx-last: 1\r\n\r\n",
            200,
            false,
        );
        check("HTTP/1.1 204 No Content\r\n\r\n", 204, false);
    }

    #[test]
    fn what_is_no_answer_is_an_error() {
        for bytes in [
            "hello, you\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nab",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxy",
        ] {
            assert!(Reply::default().take(bytes.as_bytes()).is_err(), "{bytes}");
        }
    }
}
