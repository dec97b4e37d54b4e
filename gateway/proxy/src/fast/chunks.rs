//! Takes the chunked coding off an upstream's body and puts our own on.
//!
//! What is between chunks, extensions and trailers, is dropped: nothing that is hidden there reaches a client. It decides where
//! the body ends and what is no coding at all; it reads and writes nothing itself. Called by [`super::answer`].

use memchr::memchr;

/// Longest line between chunks, and longest trailer section.
const LINE_BYTES_MAX: usize = 4096;
const TRAILER_BYTES_MAX: usize = 64 * 1024;
/// Hexadecimal digits of the longest chunk: its size fits 60 bits.
const SIZE_DIGITS_MAX: usize = 15;

/// Ends a body.
pub(crate) const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Where a chunked body stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chunks {
    state: State,
    trailer_bytes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// A line with a size comes next.
    Size,
    /// So many bytes of data are left, and the line end behind them.
    Data(u64),
    /// The line end behind data comes next.
    DataEnd,
    /// The lines of the trailer section come next.
    Trailer,
    /// The body is whole.
    Done,
}

/// It is not the chunked coding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotChunks;

impl Chunks {
    /// A body that begins.
    pub(crate) fn begin() -> Chunks {
        Chunks {
            state: State::Size,
            trailer_bytes: 0,
        }
    }

    /// Whether the body is whole.
    pub(crate) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Takes the data out of `bytes` and appends it to `out`. Answers how many bytes were used: what is left over is part of a line
    /// that is not whole yet, or belongs to nobody.
    pub(crate) fn take(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<usize, NotChunks> {
        let mut rest = bytes;
        loop {
            match self.state {
                State::Data(left) => {
                    let length = rest.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    let (data, after) = rest.split_at_checked(length).ok_or(NotChunks)?;
                    out.extend_from_slice(data);
                    rest = after;
                    let left = left.saturating_sub(u64::try_from(length).unwrap_or(u64::MAX));
                    if left > 0 {
                        self.state = State::Data(left);
                        break;
                    }
                    self.state = State::DataEnd;
                }
                State::DataEnd => match rest {
                    [b'\r', b'\n', after @ ..] => {
                        rest = after;
                        self.state = State::Size;
                    }
                    [] | [b'\r'] => break,
                    _ => return Err(NotChunks),
                },
                State::Size => {
                    let Some((line, after)) = line(rest)? else { break };
                    rest = after;
                    self.state = match size(line)? {
                        0 => State::Trailer,
                        bytes => State::Data(bytes),
                    };
                }
                State::Trailer => {
                    let Some((line, after)) = line(rest)? else { break };
                    self.trailer_bytes += line.len() + 2;
                    if self.trailer_bytes > TRAILER_BYTES_MAX {
                        return Err(NotChunks);
                    }
                    rest = after;
                    if line.is_empty() {
                        self.state = State::Done;
                    }
                }
                State::Done => break,
            }
        }
        Ok(bytes.len() - rest.len())
    }
}

/// A line without its line end, and what follows it.
type Split<'a> = (&'a [u8], &'a [u8]);

/// The first line of `bytes`; `None` if it is not whole.
fn line(bytes: &[u8]) -> Result<Option<Split<'_>>, NotChunks> {
    let Some(feed) = memchr(b'\n', bytes.get(..LINE_BYTES_MAX).unwrap_or(bytes)) else {
        return if bytes.len() < LINE_BYTES_MAX {
            Ok(None)
        } else {
            Err(NotChunks)
        };
    };
    let (line, rest) = bytes.split_at_checked(feed + 1).ok_or(NotChunks)?;
    let line = line.strip_suffix(b"\r\n").ok_or(NotChunks)?;
    Ok(Some((line, rest)))
}

/// The size in a line: hexadecimal digits, then perhaps white space and an extension.
fn size(line: &[u8]) -> Result<u64, NotChunks> {
    let end = line
        .iter()
        .position(|byte| !byte.is_ascii_hexdigit())
        .unwrap_or(line.len());
    let (digits, rest) = line.split_at_checked(end).ok_or(NotChunks)?;
    let is_extension = matches!(rest.trim_ascii_start().first(), None | Some(b';'));
    if digits.is_empty() || digits.len() > SIZE_DIGITS_MAX || !is_extension {
        return Err(NotChunks);
    }
    let digits = std::str::from_utf8(digits).map_err(|_| NotChunks)?;
    u64::from_str_radix(digits, 16).map_err(|_| NotChunks)
}

/// Bytes that [`begin_chunk`] leaves for a size.
const SIZE_ROOM: usize = 10;

/// Begins a chunk whose size is told by [`end_chunk`]. Answers where it begins.
pub(crate) fn begin_chunk(out: &mut Vec<u8>) -> usize {
    let start = out.len();
    out.extend_from_slice(b"00000000\r\n");
    start
}

/// Ends the chunk that begins at `start`; one without data is taken back.
pub(crate) fn end_chunk(out: &mut Vec<u8>, start: usize) {
    let mut size = out.len().saturating_sub(start + SIZE_ROOM);
    if size == 0 {
        out.truncate(start);
        return;
    }
    if let Some(room) = out.get_mut(start..start + SIZE_ROOM - 2) {
        for digit in room.iter_mut().rev() {
            let value = u8::try_from(size % 16).unwrap_or(0);
            *digit = if value < 10 { b'0' + value } else { b'a' + value - 10 };
            size /= 16;
        }
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests;
