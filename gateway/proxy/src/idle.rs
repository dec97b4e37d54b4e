//! The connections of one worker thread that wait for a request, so that a drain can wake them.
//!
//! To wait for a drain as for any other event would cost each request some locks; this costs it a comparison. Knows only whom to
//! wake. [`crate::connection`] enters itself, [`crate::workers`] wakes.

use slab::Slab;
use std::cell::RefCell;
use std::task::{Context, Waker};

thread_local! {
    static WAITING: RefCell<Slab<Waker>> = const { RefCell::new(Slab::new()) };
}

/// A connection's place among those that wait, on the thread that serves it. Dropping it leaves.
#[derive(Debug, Default)]
pub(crate) struct IdlePlace(Option<usize>);

impl IdlePlace {
    /// Has the task woken by the next [`wake_all`] of this thread.
    pub(crate) fn enter(&mut self, cx: &Context<'_>) {
        WAITING.with_borrow_mut(|waiting| match self.0.and_then(|place| waiting.get_mut(place)) {
            // Does nothing when it is the same task, as it always is.
            Some(waker) => waker.clone_from(cx.waker()),
            None => self.0 = Some(waiting.insert(cx.waker().clone())),
        });
    }
}

impl Drop for IdlePlace {
    fn drop(&mut self) {
        if let Some(place) = self.0 {
            // A thread that ends has no list any more.
            let _ = WAITING.try_with(|waiting| waiting.borrow_mut().try_remove(place));
        }
    }
}

/// Wakes all that entered on this thread.
pub(crate) fn wake_all() {
    WAITING.with_borrow(|waiting| waiting.iter().for_each(|(_, waker)| waker.wake_by_ref()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::task::Poll;

    #[tokio::test]
    async fn who_entered_is_woken_and_who_left_is_forgotten() {
        let mut woken = false;
        let waits = tokio::spawn(async move {
            let mut place = IdlePlace::default();
            poll_fn(|cx| {
                place.enter(cx);
                // Ready at the second call, which only a wake can bring.
                if std::mem::replace(&mut woken, true) {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                }
            })
            .await;
        });
        tokio::task::yield_now().await;
        assert_eq!(WAITING.with_borrow(Slab::len), 1);
        wake_all();
        waits.await.unwrap();
        assert_eq!(WAITING.with_borrow(Slab::len), 0);
    }
}
