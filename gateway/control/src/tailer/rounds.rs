//! The rounds in which the change log is read, numbered, so that a question can wait for a round that began after it.
//!
//! Knows nothing of what a round reads. The tailer begins and completes rounds; whoever must know that the log was read after a
//! certain moment takes a mark at that moment and waits for a later round.

use portcullis_verify::Version;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{Notify, watch};

/// A round that read the log to its head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Round {
    /// Greater than that of every round that began before.
    pub(crate) number: u64,
    /// The head of the log when it was read, after the round had begun.
    pub(crate) head: Version,
}

/// The count of rounds. A round with a number above a mark began after the mark was taken.
#[derive(Debug)]
pub(crate) struct Rounds {
    begun: AtomicU64,
    completed: watch::Sender<Round>,
    asked: Notify,
}

impl Rounds {
    pub(crate) fn new() -> Rounds {
        let none = Round {
            number: 0,
            head: super::NOTHING_YET,
        };
        Rounds {
            begun: AtomicU64::new(0),
            completed: watch::Sender::new(none),
            asked: Notify::new(),
        }
    }

    /// Begins a round, before the log is read for it.
    pub(crate) fn begin(&self) -> u64 {
        self.begun.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// Says that all changes up to `head` were handed on, and that `head` was read in this round. Rounds that fail, and those
    /// that leave more to be read, are not completed.
    pub(crate) fn complete(&self, round: Round) {
        self.completed.send_replace(round);
    }

    /// The number of the last round that has begun: any later one reads the log after now.
    pub(crate) fn mark(&self) -> u64 {
        self.begun.load(Ordering::SeqCst)
    }

    /// Asks for a round soon.
    pub(crate) fn ask(&self) {
        self.asked.notify_one();
    }

    /// Waits until a round is asked for.
    pub(crate) async fn asked(&self) {
        self.asked.notified().await;
    }

    /// The last completed round, and word of every later one.
    pub(crate) fn completed(&self) -> watch::Receiver<Round> {
        self.completed.subscribe()
    }

    /// Waits for a round that begins after now. `None` when there will be none.
    pub(crate) async fn next(&self) -> Option<Round> {
        let mark = self.mark();
        self.ask();
        let mut completed = self.completed();
        let round = completed.wait_for(|round| round.number > mark).await;
        round.ok().map(|round| *round)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_a_round_that_began_later_answers() {
        let rounds = Rounds::new();
        let head = Version { epoch: 1, revision: 5 };
        let under_way = rounds.begin();
        let mark = rounds.mark();
        rounds.complete(Round {
            number: under_way,
            head,
        });
        assert!(
            rounds.completed().borrow().number <= mark,
            "what was read before the mark is no answer to it"
        );
        let next = rounds.begin();
        rounds.complete(Round { number: next, head });
        assert!(rounds.completed().borrow().number > mark);
    }
}
