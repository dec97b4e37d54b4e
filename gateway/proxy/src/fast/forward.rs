//! Sends a plain request to an upstream: the next in turn, over a connection that is kept or a new one.
//!
//! Decides what may be tried again: what no upstream has seen, and once more what a kept connection was closed under, if it may
//! be done twice. What comes back is [`super::answer`]'s.

use super::admission::Outbox;
use super::answer::{self, Answered};
use super::pump::{Interrupt, Pump};
use super::{Served, kept};
use crate::upstream_pool::Attempts;
use portcullis_http::Refusal;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;

/// Forwards the request in the outbox.
pub(super) async fn forward(pump: &mut Pump<'_>, outbox: &Outbox, kept_max: usize) -> Served {
    let route = std::sync::Arc::clone(&pump.exchange.route);
    let timeouts = route.upstreams.timeouts();
    let mut attempts = Attempts::default();
    loop {
        let next = route.upstreams.next_address(&mut attempts, pump.exchange.started).await;
        let Some((_, address)) = next else {
            pump.exchange.parts.metrics.upstream_error("unreachable");
            return fail(pump, outbox, Refusal::upstream_unreachable()).await;
        };
        let (mut tcp, is_reused) = match kept::take(address) {
            Some(tcp) => (tcp, true),
            None => match connect(pump, address, timeouts.connect).await {
                Ok(tcp) => (tcp, false),
                Err(failure) => {
                    route.upstreams.unreachable(&attempts, pump.exchange.parts.now());
                    if attempts.has_alternative() {
                        continue;
                    }
                    return fail(pump, outbox, failure).await;
                }
            },
        };
        let answered = match pump.send(&mut tcp, &outbox.request, timeouts.write).await {
            Ok(()) => answer::pass_on(pump, &mut tcp, &outbox.limits, timeouts.read).await,
            Err(interrupt) => Answered::Not(interrupt),
        };
        match answered {
            Answered::Whole { is_kept } => {
                if is_kept {
                    kept::keep(address, tcp, timeouts.idle, kept_max);
                }
                return if pump.exchange.closes {
                    Served::Closing
                } else {
                    Served::Kept
                };
            }
            Answered::InPart(fault) => {
                if let Some(kind) = fault {
                    note_failure(pump, address, kind);
                }
                return Served::Broken;
            }
            // A connection that was kept may have been closed at the very moment of its use. Only what may be done twice is sent
            // again then (RFC 9110 §9.2.2).
            Answered::Not(Interrupt::UpstreamLeft) if is_reused && pump.exchange.method.is_idempotent() => {
                note_failure(pump, address, "reset");
                attempts.repeat();
            }
            Answered::Not(Interrupt::UpstreamLeft) => {
                note_failure(pump, address, "reset");
                return fail(pump, outbox, Refusal::upstream_unreachable()).await;
            }
            Answered::Not(Interrupt::UpstreamSilent) => {
                note_failure(pump, address, "read_timeout");
                return fail(pump, outbox, Refusal::upstream_timeout()).await;
            }
            Answered::Not(Interrupt::UpstreamFull) => {
                note_failure(pump, address, "write_timeout");
                return fail(pump, outbox, Refusal::upstream_timeout()).await;
            }
            Answered::Unfit => {
                note_failure(pump, address, "protocol");
                return fail(pump, outbox, Refusal::upstream_unreachable()).await;
            }
            Answered::Not(Interrupt::ClientLeft | Interrupt::ClientLate | Interrupt::Cut) => return Served::Broken,
        }
    }
}

async fn connect(pump: &mut Pump<'_>, address: SocketAddr, timeout: Duration) -> Result<TcpStream, Refusal> {
    let connecting = async {
        let tcp = TcpStream::connect(address).await?;
        tcp.set_nodelay(true)?;
        Ok(tcp)
    };
    let (kind, refusal, error) = match tokio::time::timeout(timeout, connecting).await {
        Ok(Ok(tcp)) => return Ok(tcp),
        Ok(Err(error)) => (kind_of(&error), Refusal::upstream_unreachable(), error),
        Err(_) => (
            "connect_timeout",
            Refusal::upstream_timeout(),
            io::ErrorKind::TimedOut.into(),
        ),
    };
    let exchange = &pump.exchange;
    exchange.parts.metrics.upstream_error(kind);
    tracing::warn!(request_id = %exchange.request_id, upstream = %address, %error, "an upstream cannot be reached");
    Err(refusal)
}

fn kind_of(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connect_refused",
        _ => "unreachable",
    }
}

fn note_failure(pump: &Pump<'_>, address: SocketAddr, kind: &'static str) {
    let exchange = &pump.exchange;
    exchange.parts.metrics.upstream_error(kind);
    tracing::warn!(request_id = %exchange.request_id, upstream = %address, error = kind, "an upstream failed");
}

/// Answers with a refusal, and closes.
async fn fail(pump: &mut Pump<'_>, outbox: &Outbox, refusal: Refusal) -> Served {
    pump.exchange.outcome = refusal.reason;
    pump.exchange.closes = true;
    pump.refuse(&refusal, &outbox.limits).await
}
