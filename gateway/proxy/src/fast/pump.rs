//! Moves the bytes of one exchange between client and upstream, and ends every wait that has to end.
//!
//! Each wait is for one thing and watches three more: the client may leave, the time may be over, the exchange may be cut. What
//! the bytes mean it does not know. [`super::forward`] and [`super::answer`] call it.

use super::Served;
use super::buffers::Buffer;
use super::exchange::Exchange;
use super::patience::{Patience, timer_now};
use super::request_head::Method;
use crate::client_stream::ClientStream;
use crate::cut::Cut;
use crate::date;
use portcullis_http::Refusal;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::io::poll_read_buf;

/// How old an exchange is when it enters the watch list, whose rounds are farther apart.
const WATCHED_FROM: Duration = Duration::from_millis(200);

/// How much one exchange may send before others have their turn: whoever reads along fast could keep its thread for long.
const TURN_BYTES: usize = 64 * 1024;

/// Why a wait ended without what was waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Interrupt {
    /// The client closed its connection, or it broke.
    ClientLeft,
    /// The client took too long.
    ClientLate,
    /// The upstream closed its connection, or it broke.
    UpstreamLeft,
    /// The upstream took too long to say something.
    UpstreamSilent,
    /// The upstream took too long to take something.
    UpstreamFull,
    /// The key no longer opens the route.
    Cut,
}

/// The two ends of an exchange.
pub(super) struct Pump<'a> {
    /// The client's connection.
    pub(super) client: &'a mut ClientStream,
    patience: &'a mut Patience,
    /// What is known of the exchange.
    pub(super) exchange: Exchange<'a>,
    /// When it enters the watch list; unset before the first wait, and `None` once it is on it.
    watch_at: WatchAt,
    /// Bytes sent in this turn.
    sent: usize,
    cut: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

enum WatchAt {
    Unset,
    At(Instant),
    Never,
}

impl<'a> Pump<'a> {
    /// The two ends of an exchange that begins. It is not watched before it has waited for a while.
    pub(super) fn new(client: &'a mut ClientStream, patience: &'a mut Patience, exchange: Exchange<'a>) -> Pump<'a> {
        Pump {
            client,
            patience,
            exchange,
            watch_at: WatchAt::Unset,
            sent: 0,
            cut: None,
        }
    }

    /// Reads more from the upstream, behind what is in `inbox`. Answers with the number of bytes; 0 is the end.
    pub(super) async fn read(
        &mut self,
        tcp: &mut TcpStream,
        inbox: &mut Vec<u8>,
        silence_max: Duration,
    ) -> Result<usize, Interrupt> {
        let mut deadline = None;
        poll_fn(|cx| {
            match poll_read_buf(Pin::new(tcp), cx, inbox) {
                Poll::Ready(Ok(bytes)) => return Poll::Ready(Ok(bytes)),
                Poll::Ready(Err(_)) => return Poll::Ready(Err(Interrupt::UpstreamLeft)),
                Poll::Pending => {}
            }
            if self.client.poll_left(cx).is_ready() {
                return Poll::Ready(Err(Interrupt::ClientLeft));
            }
            self.poll_interrupt(cx, &mut deadline, silence_max, Interrupt::UpstreamSilent)
        })
        .await
    }

    /// Writes all of `bytes` to the upstream.
    pub(super) async fn send(
        &mut self,
        tcp: &mut TcpStream,
        mut bytes: &[u8],
        silence_max: Duration,
    ) -> Result<(), Interrupt> {
        let mut deadline = None;
        poll_fn(|cx| {
            while !bytes.is_empty() {
                match Pin::new(&mut *tcp).poll_write(cx, bytes) {
                    Poll::Ready(Ok(written @ 1..)) => {
                        bytes = bytes.get(written..).unwrap_or_default();
                        deadline = None;
                    }
                    Poll::Ready(_) => return Poll::Ready(Err(Interrupt::UpstreamLeft)),
                    Poll::Pending => {
                        return self.poll_interrupt(cx, &mut deadline, silence_max, Interrupt::UpstreamFull);
                    }
                }
            }
            Poll::Ready(Ok(()))
        })
        .await
    }

    /// Writes all of `bytes` to the client. After many, others have their turn first.
    pub(super) async fn answer(&mut self, mut bytes: &[u8]) -> Result<(), Interrupt> {
        if self.sent >= TURN_BYTES {
            self.sent = 0;
            tokio::task::yield_now().await;
        }
        self.sent += bytes.len();
        let silence_max = self.exchange.parts.limits.write_timeout;
        let mut deadline = None;
        let answered = poll_fn(|cx| {
            while !bytes.is_empty() {
                match self.client.poll_send(cx, bytes) {
                    Poll::Ready(Ok(written @ 1..)) => {
                        bytes = bytes.get(written..).unwrap_or_default();
                        deadline = None;
                    }
                    Poll::Ready(_) => return Poll::Ready(Err(Interrupt::ClientLeft)),
                    Poll::Pending => {
                        return self.poll_interrupt(cx, &mut deadline, silence_max, Interrupt::ClientLate);
                    }
                }
            }
            // TLS keeps what it could not send yet.
            match ready!(self.client.poll_sent(cx)) {
                Ok(()) => Poll::Ready(Ok(())),
                Err(_) => Poll::Ready(Err(Interrupt::ClientLeft)),
            }
        })
        .await;
        if answered == Err(Interrupt::ClientLate) {
            self.exchange.parts.metrics.turned_away("slow_reader");
            self.client.reset_on_close();
        }
        answered
    }

    /// Records the exchange. The time that is read for it is told to the connection's timer.
    pub(super) fn end(&mut self) {
        let elapsed = self.exchange.end();
        self.patience.tell(self.exchange.started, elapsed);
    }

    /// Has the exchange cut at any age when its key no longer opens its route.
    pub(super) fn is_a_stream(&mut self) {
        self.watch();
        self.exchange.is_a_stream();
    }

    /// Answers with a refusal. `limits` are header lines.
    pub(super) async fn refuse(&mut self, refusal: &Refusal, limits: &[u8]) -> Served {
        let (mut fields, mut out) = (Buffer::new(), Buffer::new());
        fields.extend_from_slice(limits);
        date::write(self.exchange.parts.now(), &mut fields);
        let Exchange {
            request_id,
            method,
            closes,
            ..
        } = &self.exchange;
        refusal.write_http1(request_id, &fields, *closes, *method == Method::Head, &mut out);
        let closes = *closes;
        if self.answer(&out).await.is_err() {
            return Served::Broken;
        }
        self.exchange.status = Some(refusal.status.as_u16());
        if closes { Served::Closing } else { Served::Kept }
    }

    /// What ends a wait. `deadline` is set at the first call of each wait.
    fn poll_interrupt<T>(
        &mut self,
        cx: &mut Context<'_>,
        deadline: &mut Option<Instant>,
        silence_max: Duration,
        late: Interrupt,
    ) -> Poll<Result<T, Interrupt>> {
        let deadline = *deadline.get_or_insert_with(|| {
            // The first wait of most exchanges is their last, and begins when they do.
            let now = match self.watch_at {
                WatchAt::Unset => self.patience.told(),
                WatchAt::At(_) | WatchAt::Never => timer_now(),
            };
            if let WatchAt::Unset = self.watch_at {
                self.watch_at = WatchAt::At(now + WATCHED_FROM);
            }
            now + silence_max
        });
        loop {
            let until = match self.watch_at {
                WatchAt::At(at) => at.min(deadline),
                WatchAt::Unset | WatchAt::Never => deadline,
            };
            if self.patience.poll(until, cx).is_pending() {
                break;
            }
            if until == deadline {
                return Poll::Ready(Err(late));
            }
            self.watch();
        }
        if let Some(cut) = &mut self.cut
            && cut.as_mut().poll(cx).is_ready()
        {
            self.exchange.parts.metrics.stream_cut();
            return Poll::Ready(Err(Interrupt::Cut));
        }
        Poll::Pending
    }

    fn watch(&mut self) {
        self.watch_at = WatchAt::Never;
        if self.cut.is_none() {
            self.cut = self.exchange.watch().map(until_made);
        }
    }
}

fn until_made(cut: Arc<Cut>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move { cut.until_made().await })
}
