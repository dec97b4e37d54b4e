//! What a scene led to, in a form in which two gateways can be compared.
//!
//! Takes out what differs by nature: ids, dates, the spelling of names, how a body is cut into chunks. Everything else stays.

use super::recorder::{Seen, find};
use super::scene::replaced;
use std::collections::BTreeMap;

/// What a scene led to at one gateway.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Observation {
    /// What reached the upstream, in the order in which it came.
    pub(crate) reached: Vec<Message>,
    /// What the client was answered.
    pub(crate) answers: Vec<Message>,
    /// What is no answer.
    pub(crate) rest: String,
    /// The gateway closed the connection before it answered the plain request.
    pub(crate) is_closed: bool,
    /// Counters that grew, and by how much.
    pub(crate) counted: BTreeMap<String, String>,
}

/// A request or an answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Message {
    /// The first line.
    pub(crate) line: String,
    /// By name in lower case: the values, in order.
    pub(crate) fields: BTreeMap<String, Vec<String>>,
    pub(crate) body: String,
    /// It came to its end, as its head says.
    pub(crate) is_whole: bool,
}

impl Message {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name)?.first().map(String::as_str)
    }

    fn of_head(head: &[u8]) -> Message {
        let mut lines = split(head, b"\r\n").into_iter();
        let line = text(lines.next().unwrap_or_default());
        let mut fields: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for line in lines {
            let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
            let (name, value) = line.split_at(colon);
            let value = text(value.get(1..).unwrap_or_default().trim_ascii());
            let name = text(name).to_ascii_lowercase();
            let value = neutral(&name, value);
            fields.entry(name).or_default().push(value);
        }
        Message {
            line,
            fields,
            ..Message::default()
        }
    }

    pub(crate) fn of_request(seen: &Seen) -> Message {
        Message {
            body: text(&seen.body),
            is_whole: seen.is_whole,
            ..Message::of_head(&seen.head)
        }
    }
}

/// A value without what differs from one moment to the next.
fn neutral(name: &str, value: String) -> String {
    match name {
        "date" => "a date".to_owned(),
        // Every request counts against one limit at its own gateway.
        "ratelimit" => value
            .split(';')
            .filter(|part| !part.starts_with("r="))
            .collect::<Vec<_>>()
            .join(";"),
        "x-ratelimit-remaining" => "so many".to_owned(),
        _ => value,
    }
}

/// Reads answers one after the other; the second part is what is none.
pub(crate) fn answers(received: &[u8]) -> (Vec<Message>, String) {
    let mut answers = Vec::new();
    let mut rest = received;
    while let Some((answer, after)) = answer(rest) {
        answers.push(answer);
        rest = after;
    }
    (answers, text(rest))
}

fn answer(bytes: &[u8]) -> Option<(Message, &[u8])> {
    if !bytes.starts_with(b"HTTP/1.") {
        return None;
    }
    let end = find(bytes, b"\r\n\r\n")?;
    let id = generated_id(&bytes[..end]);
    let mut message = Message::of_head(&bytes[..end]);
    let rest = &bytes[end + 4..];
    let status: u16 = message.line.split(' ').nth(1)?.parse().ok()?;
    // Answers to HEAD cannot be told from others; what follows them is another answer, or nothing.
    let is_bare = status < 200 || matches!(status, 204 | 304) || rest.is_empty() || rest.starts_with(b"HTTP/1.");
    let (body, whole, after) = if is_bare {
        // A length and no body at the very end: it broke off, or answers a HEAD.
        let may_lack_a_body =
            rest.is_empty() && !matches!(status, 100..200 | 204 | 304) && message.field("content-length") != Some("0");
        (Vec::new(), !may_lack_a_body, rest)
    } else if message.fields.contains_key("transfer-encoding") {
        let (body, after) = dechunked(rest);
        (body, after.is_some(), after.unwrap_or_default())
    } else if let Some(length) = message.field("content-length") {
        let length = length.parse().unwrap_or(usize::MAX);
        let taken = length.min(rest.len());
        (rest[..taken].to_vec(), taken == length, &rest[taken..])
    } else {
        (rest.to_vec(), true, &rest[rest.len()..])
    };
    message.body = text(&body);
    message.is_whole = whole;
    if let Some(id) = id {
        message.body = message.body.replace(&id, "an id");
        message
            .fields
            .insert("x-request-id".to_owned(), vec!["an id".to_owned()]);
    }
    Some((message, after))
}

/// The request's id, if it is one of the gateway's own.
pub(crate) fn generated_id(head: &[u8]) -> Option<String> {
    let head = String::from_utf8_lossy(head);
    let id = crate::client::header(&head, "x-request-id")?;
    let is_ours = id.len() == 26 && id.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase());
    is_ours.then_some(id)
}

/// The data of a chunked body, and what follows it if it came to its end.
fn dechunked(bytes: &[u8]) -> (Vec<u8>, Option<&[u8]>) {
    let mut data = Vec::new();
    let mut rest = bytes;
    loop {
        let Some(line) = find(rest, b"\r\n") else {
            return (data, None);
        };
        let size = String::from_utf8_lossy(&rest[..line]);
        let Ok(size) = usize::from_str_radix(size.split(';').next().unwrap_or_default().trim(), 16) else {
            return (data, None);
        };
        rest = &rest[line + 2..];
        if size == 0 {
            loop {
                let Some(line) = find(rest, b"\r\n") else {
                    return (data, None);
                };
                let (trailer, after) = (&rest[..line], &rest[line + 2..]);
                rest = after;
                if trailer.is_empty() {
                    return (data, Some(rest));
                }
                data.extend([b"trailer: ", trailer].concat());
            }
        }
        if rest.len() < size + 2 {
            data.extend_from_slice(&rest[..size.min(rest.len())]);
            return (data, None);
        }
        data.extend_from_slice(&rest[..size]);
        rest = &rest[size + 2..];
    }
}

fn split<'a>(bytes: &'a [u8], separator: &[u8]) -> Vec<&'a [u8]> {
    let mut parts = Vec::new();
    let mut rest = bytes;
    while let Some(at) = find(rest, separator) {
        parts.push(&rest[..at]);
        rest = &rest[at + separator.len()..];
    }
    parts.push(rest);
    parts
}

/// Bytes as text in which every byte can be told.
pub(crate) fn text(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

/// What was seen with the words of one gateway turned back into marks.
pub(crate) fn unmarked(bytes: &[u8], words: &[(&str, &str)]) -> Vec<u8> {
    words.iter().fold(bytes.to_vec(), |bytes, (mark, word)| {
        replaced(&bytes, word.as_bytes(), mark.as_bytes())
    })
}
