//! Reads the head of a plain request: one that needs nothing but to be checked and forwarded.
//!
//! It is stricter than any reader behind it: whatever two servers could read differently, and whatever asks for more than
//! forwarding, is not plain, and pingora's reader judges it. It refuses nothing itself. Called by [`super::admission`].

use crate::forward;
use memchr::memchr;
use portcullis_http::identity_headers;
use smallvec::SmallVec;

/// Fields for which no memory is allocated.
const FIELDS: usize = 24;

/// The head of a plain request.
#[derive(Debug)]
pub(crate) struct RequestHead<'a> {
    /// The method, as it is logged.
    pub(crate) method: Method,
    /// Path and query, as they came.
    pub(crate) target: &'a str,
    /// The request line with its line end.
    pub(crate) request_line: &'a [u8],
    /// The value of the one `Host` field.
    pub(crate) host: &'a str,
    /// Bytes of the body that follows.
    pub(crate) body_bytes: u64,
    /// The client wants the connection closed after the answer.
    pub(crate) closes: bool,
    /// The fields in their order.
    pub(crate) fields: SmallVec<[Field<'a>; FIELDS]>,
    /// Bytes of the head, blank line included.
    pub(crate) length: usize,
}

/// The methods that plain requests have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
    Options,
}

/// One header field.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field<'a> {
    /// The whole line with its line end.
    pub(crate) line: &'a [u8],
    /// The name in the spelling of the client: letters, digits and dashes.
    pub(crate) name: &'a [u8],
    /// The value without white space around it.
    pub(crate) value: &'a [u8],
    /// What the field is to a proxy.
    pub(crate) kind: FieldKind,
}

/// What a header field is to a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FieldKind {
    /// Forwarded as it is.
    Other,
    /// `Authorization`, which may hold a key.
    Authorization,
    /// Never forwarded: it concerns one connection only, or is ours to set whoever asks.
    Dropped,
    /// `X-Request-ID`: a trusted peer's word, otherwise ours.
    RequestId,
    /// What tells of the original request: forwarded for a trusted peer only.
    Forwarding(Forwarding),
}

/// The fields that tell of the original request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Forwarding {
    For,
    Proto,
    Host,
    /// `Forwarded`.
    Standard,
    Other,
}

impl Method {
    /// The name on the wire.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Patch => "PATCH",
            Method::Delete => "DELETE",
            Method::Options => "OPTIONS",
        }
    }

    /// Whether doing it twice is doing it once (RFC 9110 §9.2.2).
    pub(crate) fn is_idempotent(self) -> bool {
        !matches!(self, Method::Post | Method::Patch)
    }

    fn of(name: &[u8]) -> Option<Method> {
        Some(match name {
            b"GET" => Method::Get,
            b"HEAD" => Method::Head,
            b"POST" => Method::Post,
            b"PUT" => Method::Put,
            b"PATCH" => Method::Patch,
            b"DELETE" => Method::Delete,
            b"OPTIONS" => Method::Options,
            _ => return None,
        })
    }
}

impl<'a> RequestHead<'a> {
    /// The path of the target.
    pub(crate) fn path(&self) -> &'a str {
        self.target.split_once('?').map_or(self.target, |(path, _)| path)
    }
}

/// The head at the start of `bytes`; `None` if it is not whole yet or not plain.
pub(crate) fn parse(bytes: &[u8]) -> Option<RequestHead<'_>> {
    let first = memchr(b'\n', bytes)? + 1;
    let (request_line, mut rest) = bytes.split_at_checked(first)?;
    let (method, target) = parse_request_line(request_line)?;
    let mut read = RequestHead {
        method,
        target,
        request_line,
        host: "",
        body_bytes: 0,
        closes: false,
        fields: SmallVec::new(),
        length: 0,
    };
    let mut seen = Seen::default();
    loop {
        let end = memchr(b'\n', rest)? + 1;
        let (line, after) = rest.split_at_checked(end)?;
        if line == b"\r\n" {
            read.length = bytes.len() - after.len();
            break;
        }
        let (name, value) = parse_line(line)?;
        let kind = read.take(name, value, &mut seen)?;
        read.fields.push(Field {
            line,
            name,
            value,
            kind,
        });
        rest = after;
    }
    let is_plain = seen.host && has_plain_bytes(bytes.get(..read.length)?);
    is_plain.then_some(read)
}

#[derive(Default)]
struct Seen {
    host: bool,
    length: bool,
}

impl<'a> RequestHead<'a> {
    /// Notes what a field says; `None` if it makes the request not a plain one.
    fn take(&mut self, name: &[u8], value: &'a [u8], seen: &mut Seen) -> Option<FieldKind> {
        let is = |text: &str| name.eq_ignore_ascii_case(text.as_bytes());
        // By length first: most fields of most requests are none of these.
        let kind = match name.len() {
            2 if is("te") => FieldKind::Dropped,
            4 if is("host") => {
                if std::mem::replace(&mut seen.host, true) {
                    return None;
                }
                self.host = std::str::from_utf8(value).ok()?;
                FieldKind::Other
            }
            6 if is("expect") => return None,
            7 if is("upgrade") => return None,
            7 if is("trailer") => FieldKind::Dropped,
            9 if is("forwarded") => FieldKind::Forwarding(Forwarding::Standard),
            9 if is("x-real-ip") => FieldKind::Forwarding(Forwarding::Other),
            10 if is("connection") => {
                if value.eq_ignore_ascii_case(b"close") {
                    self.closes = true;
                } else if !value.eq_ignore_ascii_case(b"keep-alive") {
                    return None;
                }
                FieldKind::Dropped
            }
            10 if is("keep-alive") => FieldKind::Dropped,
            12 if is("x-request-id") => FieldKind::RequestId,
            12 if is("content-type") && starts_like(value, b"application/grpc") => return None,
            13 if is("authorization") => FieldKind::Authorization,
            14 if is("content-length") => {
                if std::mem::replace(&mut seen.length, true) {
                    return None;
                }
                self.body_bytes = decimal(value)?;
                FieldKind::Other
            }
            14 if is("http2-settings") => FieldKind::Dropped,
            15 if is("x-forwarded-for") => FieldKind::Forwarding(Forwarding::For),
            16 if is("proxy-connection") => FieldKind::Dropped,
            16 if is("x-forwarded-host") => FieldKind::Forwarding(Forwarding::Host),
            17 if is("transfer-encoding") => return None,
            17 if is("x-forwarded-proto") => FieldKind::Forwarding(Forwarding::Proto),
            18 if is("proxy-authenticate") => FieldKind::Dropped,
            19 if is("proxy-authorization") => FieldKind::Dropped,
            _ => {
                let text = std::str::from_utf8(name).ok()?;
                if identity_headers::is_identity_header(text) {
                    FieldKind::Dropped
                } else if forward::is_forwarding(text) {
                    FieldKind::Forwarding(Forwarding::Other)
                } else {
                    FieldKind::Other
                }
            }
        };
        Some(kind)
    }
}

fn starts_like(text: &[u8], start: &[u8]) -> bool {
    text.get(..start.len())
        .is_some_and(|text| text.eq_ignore_ascii_case(start))
}

/// Whether there is no control character but tabs and whole line ends.
///
/// One pass without branches: carriage returns are as many as line feeds, and every line is checked to end with both.
fn has_plain_bytes(head: &[u8]) -> bool {
    let (mut bad, mut returns, mut feeds) = (0_usize, 0_usize, 0_usize);
    for block in head.chunks(255) {
        let (mut bad_here, mut returns_here, mut feeds_here) = (0_u8, 0_u8, 0_u8);
        for byte in block {
            let is_control = *byte < b' ' && *byte != b'\t' && *byte != b'\r' && *byte != b'\n' || *byte == 0x7f;
            bad_here += u8::from(is_control);
            returns_here += u8::from(*byte == b'\r');
            feeds_here += u8::from(*byte == b'\n');
        }
        bad += usize::from(bad_here);
        returns += usize::from(returns_here);
        feeds += usize::from(feeds_here);
    }
    bad == 0 && returns == feeds
}

fn parse_request_line(line: &[u8]) -> Option<(Method, &str)> {
    let line = line.strip_suffix(b" HTTP/1.1\r\n")?;
    let space = memchr(b' ', line)?;
    let (method, rest) = line.split_at_checked(space)?;
    let target = rest.get(1..)?;
    let is_plain = target.first() == Some(&b'/') && target.iter().all(|byte| IN_TARGET[usize::from(*byte)]);
    // What is in a target is ASCII.
    is_plain
        .then(|| std::str::from_utf8(target).ok())
        .flatten()
        .and_then(|target| Some((Method::of(method)?, target)))
}

fn parse_line(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let line = line.strip_suffix(b"\r\n")?;
    let colon = line.iter().position(|byte| !IN_NAME[usize::from(*byte)])?;
    if colon == 0 || line.get(colon) != Some(&b':') {
        return None;
    }
    let (name, rest) = line.split_at_checked(colon)?;
    Some((name, rest.get(1..)?.trim_ascii()))
}

/// A decimal number without sign.
fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// What a plain name is made of. Others, `_` among them, are spellings that servers differ on.
static IN_NAME: [bool; 256] = table(b"-");
/// What a plain target is made of: what RFC 3986 allows in a path and a query.
static IN_TARGET: [bool; 256] = table(b"-._~!$&'()*+,;=:@/?%");

const fn table(others: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        table[byte as usize] = byte.is_ascii_alphanumeric();
        byte += 1;
    }
    let mut index = 0;
    while index < others.len() {
        table[others[index] as usize] = true;
        index += 1;
    }
    table
}

#[cfg(test)]
mod tests;
