//! Passes an upstream's answer on to the client: its head rewritten, its body as it comes.
//!
//! Decides when the answer is whole and whether the upstream's connection is good for another request. What a head may say is
//! [`super::response_head`]'s to judge. Called by [`super::forward`].

use super::buffers::{BUFFER_BYTES, Buffer};
use super::chunks::{self, Chunks};
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
    /// The client has a part of it, and must not take it for the whole.
    InPart,
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
        Some(Rest::Nothing) => Answered::Whole { is_kept: head.is_kept },
        // Somebody answers what was not asked.
        Some(Rest::Something) => Answered::Whole { is_kept: false },
        None => Answered::InPart,
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
) -> Option<Rest> {
    let here = inbox.get(head..)?;
    let ours = here.len().min(usize::try_from(bytes).unwrap_or(usize::MAX));
    out.extend_from_slice(here.get(..ours)?);
    let rest = Rest::of(here.len() - ours);
    pump.answer(out).await.ok()?;
    let mut left = bytes.saturating_sub(u64::try_from(ours).ok()?);
    while left > 0 {
        inbox.clear();
        if left > u64::try_from(BUFFER_BYTES).unwrap_or(0) {
            inbox.reserve(LONG_READ_BYTES);
        }
        let length = pump
            .read(tcp, inbox, silence_max)
            .await
            .ok()
            .filter(|bytes| *bytes > 0)?;
        let ours = length.min(usize::try_from(left).unwrap_or(usize::MAX));
        pump.answer(inbox.get(..ours)?).await.ok()?;
        left = left.saturating_sub(u64::try_from(ours).ok()?);
        if ours < length {
            return Some(Rest::Something);
        }
    }
    Some(rest)
}

async fn chunked(
    pump: &mut Pump<'_>,
    tcp: &mut TcpStream,
    silence_max: Duration,
    (inbox, out, head): Bodies<'_>,
) -> Option<Rest> {
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
        pump.answer(out).await.ok()?;
        out.clear();
        inbox.drain(..taken.ok()?);
        if coding.is_done() {
            return Some(Rest::of(inbox.len()));
        }
        pump.read(tcp, inbox, silence_max)
            .await
            .ok()
            .filter(|bytes| *bytes > 0)?;
    }
}

async fn until_close(
    pump: &mut Pump<'_>,
    tcp: &mut TcpStream,
    silence_max: Duration,
    (inbox, out, head): Bodies<'_>,
) -> Option<Rest> {
    inbox.drain(..head);
    loop {
        let chunk = chunks::begin_chunk(out);
        out.extend_from_slice(inbox);
        chunks::end_chunk(out, chunk);
        pump.answer(out).await.ok()?;
        out.clear();
        inbox.clear();
        match pump.read(tcp, inbox, silence_max).await {
            Ok(0) => break,
            Ok(_) => {}
            Err(_) => return None,
        }
    }
    pump.answer(chunks::LAST_CHUNK).await.ok()?;
    Some(Rest::Nothing)
}
