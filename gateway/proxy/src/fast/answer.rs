//! Passes an upstream's answer on to the client: its head rewritten, its body as it comes.
//!
//! Decides when the answer is whole and whether the upstream's connection is good for another request. What a head may say is
//! [`super::response_head`]'s to judge. Called by [`super::forward`].

use super::buffers::{BUFFER_BYTES, Buffer};
use super::chunks::{self, Chunks, NotChunks};
use super::pump::{Interrupt, Pump};
use super::request_head::Method;
use super::response_head::{self, AnswerBody, AnswerHead, OurFields, Unfit};
use crate::date;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::net::TcpStream;

/// Longest head of an answer, as pingora has it.
const HEAD_BYTES_MAX: usize = 1024 * 1024;
/// How much of a long body is read at once.
const LONG_READ_BYTES: usize = 4 * BUFFER_BYTES;

/// What became of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answered {
    /// The client has all of it.
    Whole {
        /// The upstream's connection is good for another request.
        is_kept: bool,
    },
    /// The client has a part of it, and must not take it for the whole. If that is the upstream's fault, which.
    InPart(Option<&'static str>),
    /// Nothing of it was passed on.
    Not(Interrupt),
    /// Nothing of it was passed on, because it is not fit to be.
    Unfit,
}

/// Passes on the answer that comes next on `tcp`.
pub(super) async fn pass_on(
    pump: &mut Pump<'_>,
    tcp: &mut TcpStream,
    limits: &[u8],
    silence_max: Duration,
) -> Answered {
    let (mut inbox, mut out) = (Buffer::new(), Buffer::new());
    let head = loop {
        match read_head(pump, tcp, limits, silence_max, (&mut inbox, &mut out)).await {
            Ok(head) if head.is_informational() => {
                if pump.answer(&out).await.is_err() {
                    return Answered::Not(Interrupt::ClientLeft);
                }
                out.clear();
                inbox.drain(..head.length);
            }
            Ok(head) => break head,
            Err(answered) => return answered,
        }
    };
    pump.exchange.status = Some(head.status);
    if head.is_event_stream {
        pump.is_a_stream();
    }
    let is_passed_on = match head.body {
        AnswerBody::Exactly(bytes) => exactly(pump, tcp, bytes, silence_max, (&mut inbox, &mut out, head.length)).await,
        AnswerBody::Chunked => chunked(pump, tcp, silence_max, (&mut inbox, &mut out, head.length)).await,
        AnswerBody::UntilClose => until_close(pump, tcp, silence_max, (&mut inbox, &mut out, head.length)).await,
    };
    match is_passed_on {
        Ok(Rest::Nothing) => Answered::Whole { is_kept: head.is_kept },
        // Somebody answers what was not asked.
        Ok(Rest::Something) => Answered::Whole { is_kept: false },
        Err(Broken(fault)) => Answered::InPart(fault),
    }
}

/// What stands behind an answer.
enum Rest {
    Nothing,
    Something,
}

impl Rest {
    fn of(bytes: usize) -> Rest {
        if bytes == 0 { Rest::Nothing } else { Rest::Something }
    }
}

/// A body that does not come to its end, and what is wrong with the upstream, if it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Broken(Option<&'static str>);

impl From<Interrupt> for Broken {
    fn from(interrupt: Interrupt) -> Broken {
        Broken(match interrupt {
            Interrupt::UpstreamLeft => Some("reset"),
            Interrupt::UpstreamSilent => Some("read_timeout"),
            Interrupt::UpstreamFull => Some("write_timeout"),
            Interrupt::ClientLeft | Interrupt::ClientLate | Interrupt::Cut => None,
        })
    }
}

impl From<NotChunks> for Broken {
    fn from(_: NotChunks) -> Broken {
        Broken(Some("protocol"))
    }
}

/// Reads more of a body that is not whole.
async fn more(
    pump: &mut Pump<'_>,
    tcp: &mut TcpStream,
    inbox: &mut Buffer,
    silence_max: Duration,
) -> Result<usize, Broken> {
    match pump.read(tcp, inbox, silence_max).await? {
        0 => Err(Interrupt::UpstreamLeft.into()),
        bytes => Ok(bytes),
    }
}

/// Buffers, and how much at the front of the first one is the head.
type Bodies<'b> = (&'b mut Buffer, &'b mut Buffer, usize);

async fn read_head(
    pump: &mut Pump<'_>,
    tcp: &mut TcpStream,
    limits: &[u8],
    silence_max: Duration,
    (inbox, out): (&mut Buffer, &mut Buffer),
) -> Result<AnswerHead, Answered> {
    loop {
        if !inbox.is_empty() {
            pump.exchange.closes |= pump.exchange.parts.draining.load(Ordering::Relaxed);
            let exchange = &pump.exchange;
            let ours = OurFields {
                limits,
                told: exchange.told,
                request_id: &exchange.request_id,
                closes: exchange.closes,
            };
            let date = |out: &mut Vec<u8>| date::write(exchange.parts.now(), out);
            match response_head::rewrite(inbox, exchange.method == Method::Head, ours, date, out) {
                Ok(head) => return Ok(head),
                Err(Unfit::Partial) if inbox.len() <= HEAD_BYTES_MAX => {}
                Err(Unfit::Partial | Unfit::Fault(_)) => return Err(Answered::Unfit),
            }
        }
        match pump.read(tcp, inbox, silence_max).await {
            // Whoever has begun to answer has seen the request.
            Ok(0) | Err(Interrupt::UpstreamLeft) if !inbox.is_empty() => return Err(Answered::Unfit),
            Ok(0) => return Err(Answered::Not(Interrupt::UpstreamLeft)),
            Ok(_) => {}
            Err(interrupt) => return Err(Answered::Not(interrupt)),
        }
    }
}

async fn exactly(
    pump: &mut Pump<'_>,
    tcp: &mut TcpStream,
    bytes: u64,
    silence_max: Duration,
    (inbox, out, head): Bodies<'_>,
) -> Result<Rest, Broken> {
    let here = inbox.get(head..).unwrap_or_default();
    let ours = here.len().min(usize::try_from(bytes).unwrap_or(usize::MAX));
    out.extend_from_slice(here.get(..ours).unwrap_or_default());
    let rest = Rest::of(here.len() - ours);
    pump.answer(out).await?;
    let mut left = less(bytes, ours);
    while left > 0 {
        inbox.clear();
        if left > u64::try_from(BUFFER_BYTES).unwrap_or(0) {
            inbox.reserve(LONG_READ_BYTES);
        }
        let length = more(pump, tcp, inbox, silence_max).await?;
        let ours = length.min(usize::try_from(left).unwrap_or(usize::MAX));
        pump.answer(inbox.get(..ours).unwrap_or_default()).await?;
        left = less(left, ours);
        if ours < length {
            return Ok(Rest::Something);
        }
    }
    Ok(rest)
}

fn less(bytes: u64, taken: usize) -> u64 {
    bytes.saturating_sub(u64::try_from(taken).unwrap_or(u64::MAX))
}

async fn chunked(
    pump: &mut Pump<'_>,
    tcp: &mut TcpStream,
    silence_max: Duration,
    (inbox, out, head): Bodies<'_>,
) -> Result<Rest, Broken> {
    let mut coding = Chunks::begin();
    inbox.drain(..head);
    loop {
        let chunk = chunks::begin_chunk(out);
        let taken = coding.take(inbox, out);
        chunks::end_chunk(out, chunk);
        if coding.is_done() {
            out.extend_from_slice(chunks::LAST_CHUNK);
        }
        // What came before the fault is passed on, without an end.
        pump.answer(out).await?;
        out.clear();
        inbox.drain(..taken?);
        if coding.is_done() {
            return Ok(Rest::of(inbox.len()));
        }
        more(pump, tcp, inbox, silence_max).await?;
    }
}

async fn until_close(
    pump: &mut Pump<'_>,
    tcp: &mut TcpStream,
    silence_max: Duration,
    (inbox, out, head): Bodies<'_>,
) -> Result<Rest, Broken> {
    inbox.drain(..head);
    loop {
        let chunk = chunks::begin_chunk(out);
        out.extend_from_slice(inbox);
        chunks::end_chunk(out, chunk);
        pump.answer(out).await?;
        out.clear();
        inbox.clear();
        if pump.read(tcp, inbox, silence_max).await? == 0 {
            break;
        }
    }
    pump.answer(chunks::LAST_CHUNK).await?;
    Ok(Rest::Nothing)
}
