//! Connections that are held: opened, and then hardly or never used.

use super::{Counts, Plan, Reads};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long somebody who was shown out waits before he comes again.
const COMES_AGAIN: Duration = Duration::from_millis(500);

/// Holds a connection for ever; `drip` is sent every so many milliseconds, 0 is never.
pub(super) async fn hold(
    plan: &Plan,
    place: usize,
    counts: &Counts,
    opening: &[u8],
    (drip, every_ms): (&[u8], u64),
    reads: Reads,
) {
    let mut once = false;
    loop {
        if let Some(mut stream) = plan.connect(place, counts).await
            && stream.write_all(opening).await.is_ok()
        {
            counts.sent();
            if reads != Reads::Awaited {
                counts.is_in_force(&mut once);
            }
            if reads == Reads::Nothing {
                until_write_fails(&mut stream, drip, every_ms).await;
            } else {
                until_shown_out(&mut stream, counts, drip, every_ms, &mut once).await;
            }
            counts.shown_out();
        }
        counts.is_in_force(&mut once);
        tokio::time::sleep(COMES_AGAIN).await;
    }
}

async fn until_shown_out(stream: &mut TcpStream, counts: &Counts, drip: &[u8], every_ms: u64, once: &mut bool) {
    let mut chunk = [0; 1024];
    let mut is_answered = false;
    loop {
        let pause = async {
            match every_ms {
                0 => std::future::pending().await,
                _ => tokio::time::sleep(Duration::from_millis(every_ms)).await,
            }
        };
        tokio::select! {
            read = stream.read(&mut chunk) => match read {
                Ok(0) | Err(_) => return,
                Ok(length) => if !std::mem::replace(&mut is_answered, true) {
                    counts.answered(&chunk[..length]);
                    counts.is_in_force(once);
                },
            },
            () = pause => if stream.write_all(drip).await.is_err() {
                return;
            },
        }
    }
}

async fn until_write_fails(stream: &mut TcpStream, drip: &[u8], every_ms: u64) {
    loop {
        tokio::time::sleep(Duration::from_millis(every_ms.max(200))).await;
        // Nothing to drip: whether the other side is still there shows in the socket's error alone.
        let gone = if drip.is_empty() {
            !matches!(stream.take_error(), Ok(None))
        } else {
            stream.write_all(drip).await.is_err()
        };
        if gone {
            return;
        }
    }
}
