//! A refusal as a whole HTTP/1.1 answer, byte by byte: for connections that no library writes to.
//!
//! Says what [`Refusal::headers`] and [`Refusal::body`] say, without a header map or a JSON serialiser.
//! The proxy calls it; that junk is cheap to refuse depends on it.

use super::Refusal;
use crate::RequestId;
use crate::wire::{json_text, number};

/// The head and the body without what differs, and some room.
const USUAL_BYTES: usize = 512;

/// What stands in the body before the message, the code, the message once more, the reason and the id, and at the end.
const BODY: [&str; 6] = [
    r#"{"errors":[{"message":""#,
    r#"","code":"#,
    r#"}],"message":""#,
    r#"","reason":""#,
    r#"","request_id":""#,
    r#""}"#,
];
const BODY_BYTES: usize = BODY[0].len() + BODY[1].len() + BODY[2].len() + BODY[3].len() + BODY[4].len() + BODY[5].len();

impl Refusal {
    /// Appends the whole answer: status line, headers and, unless `head_only`, the body of [`Refusal::body`].
    ///
    /// `extra` are header lines, each with the end of its line, that go first; where they name a `retry-after`, it is not
    /// said again. They must not name what is set here: `content-type`, `cache-control`, `www-authenticate`, `x-request-id`,
    /// `content-length` and `connection`, which is `close` or `keep-alive`.
    pub fn write_http1(&self, id: &RequestId, extra: &[u8], close: bool, head_only: bool, out: &mut Vec<u8>) {
        let (message, reason) = (json_text(&self.message), json_text(self.reason));
        let mut code = itoa::Buffer::new();
        let code = code.format(self.code);
        out.reserve(USUAL_BYTES + extra.len() + 2 * message.len());
        out.extend_from_slice(b"HTTP/1.1 ");
        out.extend_from_slice(self.status.as_str().as_bytes());
        out.push(b' ');
        out.extend_from_slice(self.status.canonical_reason().unwrap_or_default().as_bytes());
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(extra);
        out.extend_from_slice(b"content-type: application/json\r\ncache-control: no-store\r\n");
        if let Some(seconds) = self.retry_after_s.filter(|_| !names_retry_after(extra)) {
            out.extend_from_slice(b"retry-after: ");
            number(out, seconds);
            out.extend_from_slice(b"\r\n");
        }
        if self.challenge {
            out.extend_from_slice(b"www-authenticate: Bearer\r\n");
        }
        id.write(out);
        out.extend_from_slice(if close {
            b"connection: close\r\ncontent-length: ".as_slice()
        } else {
            b"connection: keep-alive\r\ncontent-length: ".as_slice()
        });
        let id = id.as_bytes();
        number(
            out,
            BODY_BYTES + 2 * message.len() + code.len() + reason.len() + id.len(),
        );
        out.extend_from_slice(b"\r\n\r\n");
        if !head_only {
            let parts = [
                message.as_bytes(),
                code.as_bytes(),
                message.as_bytes(),
                reason.as_bytes(),
                id,
                b"",
            ];
            for (constant, part) in BODY.iter().zip(parts) {
                out.extend_from_slice(constant.as_bytes());
                out.extend_from_slice(part);
            }
        }
    }
}

/// Whether one of the lines is a `retry-after`.
#[inline]
fn names_retry_after(lines: &[u8]) -> bool {
    const NAME: &[u8] = b"retry-after:";
    lines.split(|byte| *byte == b'\n').any(|line| {
        line.get(..NAME.len())
            .is_some_and(|name| name.eq_ignore_ascii_case(NAME))
    })
}
