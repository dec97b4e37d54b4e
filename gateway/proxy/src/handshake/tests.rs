use super::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::Notify;

#[tokio::test]
async fn a_client_that_is_waited_for_holds_no_turn() {
    let turns = Arc::new(Turns::of_workers(1));
    let answer = Arc::new(Notify::new());
    let silent = {
        let (turns, answer) = (Arc::clone(&turns), Arc::clone(&answer));
        tokio::spawn(async move { turns.take(answer.notified()).await })
    };
    for _ in 0..10 {
        turns.take(std::future::ready(())).await;
    }
    answer.notify_one();
    silent.await.unwrap();
}

#[tokio::test]
async fn a_newcomer_waits_for_steps_and_not_for_all_of_the_storm() {
    let turns = Arc::new(Turns::of_workers(1));
    let done = Arc::new(AtomicUsize::new(0));
    let storm: Vec<_> = (0..100)
        .map(|_| {
            let (turns, done) = (Arc::clone(&turns), Arc::clone(&done));
            tokio::spawn(async move {
                turns.take(std::future::ready(())).await;
                done.fetch_add(1, Ordering::Relaxed);
            })
        })
        .collect();
    // Everybody is queued; somebody without a handshake gets the processor between any two steps.
    for _ in 0..3 {
        tokio::task::yield_now().await;
    }
    assert!(
        done.load(Ordering::Relaxed) < 10,
        "a request waited for the whole storm"
    );
    for handshake in storm {
        handshake.await.unwrap();
    }
    assert_eq!(done.load(Ordering::Relaxed), 100);
}
