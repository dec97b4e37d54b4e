//! Reads the head of an upstream's answer and writes the client's: what concerns our connection to the upstream taken out,
//! what is ours to say put in.
//!
//! Decides where the answer ends, and refuses one whose end others could see elsewhere; the same rules as in [`crate::forward`].
//! It knows no key and waits for nothing. Called by [`super::answer`].

use http::StatusCode;
use httparse::{Header, ParserConfig, Response, Status};
use portcullis_http::RequestId;
use portcullis_http::rate_limit_headers::Told;
use smallvec::SmallVec;
use std::mem::MaybeUninit;

/// Most header fields of an answer, as pingora has it.
const FIELDS_MAX: usize = 256;

/// What we say in the head of an answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OurFields<'a> {
    /// Lines that tell where the key stands with its limits.
    pub(crate) limits: &'a [u8],
    /// Which headers those are: what the upstream says of the same is left out.
    pub(crate) told: Told,
    /// The id of the request.
    pub(crate) request_id: &'a RequestId,
    /// The connection ends with this answer.
    pub(crate) closes: bool,
}

/// What the head of an answer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AnswerHead {
    /// The status.
    pub(crate) status: u16,
    /// Bytes of the head.
    pub(crate) length: usize,
    /// The body that follows.
    pub(crate) body: AnswerBody,
    /// The upstream keeps the connection open after the body.
    pub(crate) is_kept: bool,
    /// The answer lasts by its nature.
    pub(crate) is_event_stream: bool,
}

/// The body that follows the head of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AnswerBody {
    /// This many bytes.
    Exactly(u64),
    /// As many as the chunked coding says.
    Chunked,
    /// As many as come. Its client is sent chunks.
    UntilClose,
}

/// What a head looks like that is not one to pass on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// More has to come.
    Partial,
    /// It is broken, or its end could be seen elsewhere.
    Fault(&'static str),
}

impl AnswerHead {
    /// Whether another head follows it.
    pub(crate) fn is_informational(&self) -> bool {
        (100..200).contains(&self.status)
    }
}

/// Reads the head at the start of `bytes`, and appends the client's to `out`. `to_head`: the request was `HEAD`. `date` appends
/// the time, for an answer that does not tell it.
pub(crate) fn rewrite(
    bytes: &[u8],
    to_head: bool,
    ours: OurFields<'_>,
    date: impl FnOnce(&mut Vec<u8>),
    out: &mut Vec<u8>,
) -> Result<AnswerHead, Unfit> {
    let mut room = [const { MaybeUninit::<Header<'_>>::uninit() }; FIELDS_MAX];
    let mut response = Response::new(&mut []);
    let mut parser = ParserConfig::default();
    // As pingora reads them.
    parser.allow_spaces_after_header_name_in_responses(true);
    parser.allow_obsolete_multiline_headers_in_responses(true);
    let length = match parser.parse_response_with_uninit_headers(&mut response, bytes, &mut room) {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) => return Err(Unfit::Partial),
        Err(_) => return Err(Unfit::Fault("a malformed head")),
    };
    let status = response
        .code
        .filter(|status| *status >= 100)
        .ok_or(Unfit::Fault("no status"))?;
    let said = Said::of(response.headers)?;
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(Unfit::Fault("an upgrade that nobody asked for"));
    }
    let is_informational = (100..200).contains(&status);
    if !is_informational && said.coding == Some(Coding::Other) {
        // Others need a `TE` field, which is never sent to an upstream.
        return Err(Unfit::Fault("a transfer coding that nobody asked for"));
    }
    let is_empty_by_status = status == StatusCode::NO_CONTENT || is_informational;
    let has_no_body = to_head || is_empty_by_status || status == StatusCode::NOT_MODIFIED;
    let body = match (said.coding, said.length) {
        _ if has_no_body => AnswerBody::Exactly(0),
        (Some(_), _) => AnswerBody::Chunked,
        (None, Some(bytes)) => AnswerBody::Exactly(bytes),
        (None, None) => AnswerBody::UntilClose,
    };

    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(&digits(status));
    out.push(b' ');
    out.extend_from_slice(response.reason.unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
    for field in response.headers.iter() {
        let drop = match kind_of(field.name) {
            // One statement of the end is left, ours.
            Kind::Length | Kind::Coding | Kind::HopByHop | Kind::RequestId => true,
            Kind::Other => !is_informational && ours.told.contradicts(field.name.as_bytes()),
            Kind::Date | Kind::ContentType => false,
        };
        if !drop && !said.nominates(field.name) {
            push_field(out, field);
        }
    }
    if !is_empty_by_status {
        match (said.coding, said.length, body) {
            (Some(_), ..) | (_, _, AnswerBody::UntilClose) => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
            (None, Some(bytes), _) => {
                out.extend_from_slice(b"Content-Length: ");
                push_decimal(out, bytes);
                out.extend_from_slice(b"\r\n");
            }
            (None, None, _) => {}
        }
    }
    if !is_informational {
        out.extend_from_slice(ours.limits);
        ours.request_id.write(out);
        if !said.date {
            date(out);
        }
        out.extend_from_slice(if ours.closes {
            b"connection: close\r\n".as_slice()
        } else {
            b"connection: keep-alive\r\n".as_slice()
        });
    }
    out.extend_from_slice(b"\r\n");
    Ok(AnswerHead {
        status,
        length,
        body,
        is_kept: said.keeps.unwrap_or(response.version == Some(1)) && body != AnswerBody::UntilClose,
        is_event_stream: said.is_event_stream,
    })
}

/// What the fields of an answer say of its end and of its connection.
#[derive(Default)]
struct Said<'a> {
    coding: Option<Coding>,
    length: Option<u64>,
    /// `Connection: keep-alive` or `close`.
    keeps: Option<bool>,
    date: bool,
    is_event_stream: bool,
    nominated: SmallVec<[&'a [u8]; 2]>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    Chunked,
    Other,
}

impl<'a> Said<'a> {
    fn of(fields: &[Header<'a>]) -> Result<Said<'a>, Unfit> {
        let mut said = Said::default();
        for field in fields {
            match kind_of(field.name) {
                Kind::Coding => {
                    let plain = said.coding.is_none() && field.value.eq_ignore_ascii_case(b"chunked");
                    said.coding = Some(if plain { Coding::Chunked } else { Coding::Other });
                }
                Kind::Length => said.take_lengths(field.value)?,
                Kind::HopByHop if field.name.eq_ignore_ascii_case("connection") => said.take_options(field.value),
                Kind::Date => said.date = true,
                Kind::ContentType => said.is_event_stream = starts_like(field.value, b"text/event-stream"),
                Kind::HopByHop | Kind::RequestId | Kind::Other => {}
            }
        }
        Ok(said)
    }

    /// Lengths may be repeated, but not contradict each other (RFC 9110 §8.6).
    fn take_lengths(&mut self, value: &[u8]) -> Result<(), Unfit> {
        const FAULT: Unfit = Unfit::Fault("lengths that contradict each other");
        for text in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            let is_number = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
            let text = std::str::from_utf8(text).ok().filter(|_| is_number).ok_or(FAULT)?;
            let bytes: u64 = text.parse().map_err(|_| FAULT)?;
            if self.length.replace(bytes).is_some_and(|other| other != bytes) {
                return Err(FAULT);
            }
        }
        Ok(())
    }

    fn take_options(&mut self, value: &'a [u8]) {
        for option in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            if option.eq_ignore_ascii_case(b"close") {
                self.keeps = Some(false);
            } else if option.eq_ignore_ascii_case(b"keep-alive") {
                self.keeps = self.keeps.or(Some(true));
            } else if !option.is_empty() {
                self.nominated.push(option);
            }
        }
    }

    /// Whether `Connection` names this field as one of the connection's own.
    fn nominates(&self, name: &str) -> bool {
        self.nominated
            .iter()
            .any(|option| option.eq_ignore_ascii_case(name.as_bytes()))
    }
}

/// What a field of an answer is to a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Length,
    Coding,
    HopByHop,
    RequestId,
    Date,
    ContentType,
    Other,
}

fn kind_of(name: &str) -> Kind {
    let is = |text: &str| name.eq_ignore_ascii_case(text);
    match name.len() {
        2 if is("te") => Kind::HopByHop,
        4 if is("date") => Kind::Date,
        7 if is("trailer") || is("upgrade") => Kind::HopByHop,
        10 if is("connection") || is("keep-alive") => Kind::HopByHop,
        12 if is("x-request-id") => Kind::RequestId,
        12 if is("content-type") => Kind::ContentType,
        14 if is("content-length") => Kind::Length,
        16 if is("proxy-connection") => Kind::HopByHop,
        17 if is("transfer-encoding") => Kind::Coding,
        _ => Kind::Other,
    }
}

fn starts_like(text: &[u8], start: &[u8]) -> bool {
    text.get(..start.len())
        .is_some_and(|text| text.eq_ignore_ascii_case(start))
}

fn push_field(out: &mut Vec<u8>, field: &Header<'_>) {
    out.extend_from_slice(field.name.as_bytes());
    out.extend_from_slice(b": ");
    if field.value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
        // A value over several lines is one on a single line (RFC 9112 §5.2).
        out.extend_from_slice(pingora_http::header_value_from_slice(field.value).as_bytes());
    } else {
        out.extend_from_slice(field.value);
    }
    out.extend_from_slice(b"\r\n");
}

/// A status is three digits.
fn digits(status: u16) -> [u8; 3] {
    let digit = |value: u16| b'0' + u8::try_from(value % 10).unwrap_or(0);
    [digit(status / 100), digit(status / 10), digit(status)]
}

/// Appends a decimal number.
pub(crate) fn push_decimal(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

#[cfg(test)]
mod tests;
