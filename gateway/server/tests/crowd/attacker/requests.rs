//! Requests, one after another, each with a key of its own.

use super::keys::Forge;
use super::{Counts, Plan};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval};

/// Sends requests for ever, at most one every `every`.
pub(super) async fn send(plan: &Plan, place: usize, counts: &Counts, request: &str, every: Duration, closes: bool) {
    let mut forge = Forge::new();
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut connection = None;
    let mut once = false;
    loop {
        ticks.tick().await;
        if connection.is_none() {
            connection = plan.connect(place, counts).await;
        }
        let Some(stream) = &mut connection else { continue };
        let mut text = request.to_owned();
        for (word, is_sound) in [("{junk}", false), ("{unknown}", true)] {
            if text.contains(word) {
                text = text.replace(word, &forge.key(is_sound));
            }
        }
        counts.sent();
        let answered = stream.write_all(text.as_bytes()).await.is_ok() && answer(stream, counts).await;
        counts.is_in_force(&mut once);
        if !answered {
            counts.shown_out();
        }
        if closes || !answered {
            connection = None;
        }
    }
}

/// Reads one answer. False if the connection is of no further use.
async fn answer(stream: &mut TcpStream, counts: &Counts) -> bool {
    let mut bytes = Vec::with_capacity(2048);
    loop {
        if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return false;
        }
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = |line: &str| line.strip_prefix("content-length: ").and_then(|n| n.parse().ok());
            let wanted: usize = head.to_ascii_lowercase().lines().find_map(length).unwrap_or(0);
            if body.len() >= wanted {
                counts.answered(&bytes);
                return !head.to_ascii_lowercase().contains("connection: close");
            }
        }
    }
}
