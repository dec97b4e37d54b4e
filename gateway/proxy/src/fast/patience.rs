//! One timer for all that a connection waits for.
//!
//! A timer that is set anew for each wait would cost more than the wait. This one is left to fire early and then set to what is
//! waited for by that time, so that a busy connection touches it a few times a second. Decides nothing about what a late
//! wait means.

use crate::flow::between;
use portcullis_verify::Moment;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until};

/// Further away than anything is waited for.
const FAR: Duration = Duration::from_secs(30 * 24 * 3600);

/// The time by which timers fire. No request is decided by it.
#[expect(
    clippy::disallowed_methods,
    reason = "a timer is set by its runtime's own time, which tests can pause"
)]
pub(crate) fn timer_now() -> Instant {
    Instant::now()
}

/// A timer that is seldom set.
pub(crate) struct Patience {
    sleep: Pin<Box<Sleep>>,
    /// When it fires.
    fires: Instant,
    /// One time by both clocks: the timers' and the one that requests are decided by.
    anchor: (Instant, Moment),
    /// The time as it was last told.
    told: Instant,
}

impl Patience {
    /// A timer that nobody waits for yet, made at `now`. Must be made on a tokio runtime.
    pub(crate) fn new(now: Moment) -> Patience {
        let told = timer_now();
        let fires = told + FAR;
        Patience {
            sleep: Box::pin(sleep_until(fires)),
            fires,
            anchor: (told, now),
            told,
        }
    }

    /// Tells the time to who has not read it, as so long after a moment: it was read for something else.
    pub(crate) fn tell(&mut self, since: Moment, elapsed: Duration) {
        let (instant, moment) = self.anchor;
        self.told = instant + between(moment, since) + elapsed;
    }

    /// The time as it was last told.
    pub(crate) fn told(&self) -> Instant {
        self.told
    }

    /// Ready once `deadline` has passed.
    pub(crate) fn poll(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        if deadline < self.fires {
            self.set(deadline);
        }
        while self.sleep.as_mut().poll(cx).is_ready() {
            if timer_now() >= deadline {
                return Poll::Ready(());
            }
            self.set(deadline);
        }
        Poll::Pending
    }

    fn set(&mut self, fires: Instant) {
        self.sleep.as_mut().reset(fires);
        self.fires = fires;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    const MOMENT: Moment = Moment {
        monotonic_us: 5_000_000,
        wall_us: 0,
    };

    #[tokio::test(start_paused = true)]
    async fn the_time_that_was_told_is_the_timers() {
        let mut patience = Patience::new(MOMENT);
        let start = patience.told();
        let later = Moment {
            monotonic_us: MOMENT.monotonic_us + 1_500,
            wall_us: -7,
        };
        patience.tell(later, Duration::from_micros(20));
        assert_eq!(patience.told() - start, Duration::from_micros(1_520));
    }

    #[tokio::test(start_paused = true)]
    async fn every_wait_ends_at_its_own_time() {
        let mut patience = Patience::new(MOMENT);
        let start = timer_now();
        // Sooner, later and sooner again than what the timer is set to.
        for (after, expected) in [(100, 100), (5_000, 5_100), (20, 5_120), (20, 5_140), (60_000, 65_140)] {
            let deadline = timer_now() + Duration::from_millis(after);
            poll_fn(|cx| patience.poll(deadline, cx)).await;
            let elapsed = (timer_now() - start).as_millis();
            assert!((expected..expected + 10).contains(&elapsed), "{elapsed} for {expected}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_is_given_up_does_not_end_the_next_one_early() {
        let mut patience = Patience::new(MOMENT);
        let start = timer_now();
        let near = start + Duration::from_millis(50);
        poll_fn(|cx| {
            assert!(patience.poll(near, cx).is_pending());
            Poll::Ready(())
        })
        .await;
        let far = start + Duration::from_secs(9);
        poll_fn(|cx| patience.poll(far, cx)).await;
        assert!(timer_now() >= far);
    }
}
