//! Gives every thread cells of its own to count in, so that two threads that count never wait for each other's cache line.
//!
//! Decides which cells a thread writes to, and knows nothing of what is counted in them; whoever reads adds all of them up.
//! Only [`super::recording`] uses it.
//!
//! A lane belongs to one living thread at a time. Its owner therefore adds with a load and a store, which cost a tenth of an atomic
//! addition, and nothing is lost: nobody else writes there. A lane that its thread gave back when it ended goes to another under the
//! lock of the pool, which carries over what was counted. Threads beyond [`LANES_MAX`] share one more lane and add atomically.

use parking_lot::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

#[cfg(test)]
mod tests;

/// Threads with a lane of their own.
pub(super) const LANES_MAX: usize = 64;

/// The lanes that no thread has. They are numbered for the whole process: a thread has the same number in every set of lanes.
static POOL: Mutex<Pool> = Mutex::new(Pool {
    returned: Vec::new(),
    fresh: 0,
});

struct Pool {
    returned: Vec<usize>,
    fresh: usize,
}

/// A thread's hold on its lane, until the thread ends. `None`: all were taken.
struct Hold(Option<usize>);

impl Hold {
    fn take() -> Hold {
        let mut pool = POOL.lock();
        Hold(pool.returned.pop().or_else(|| {
            let fresh = pool.fresh;
            (fresh < LANES_MAX).then(|| {
                pool.fresh += 1;
                fresh
            })
        }))
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        POOL.lock().returned.extend(self.0);
    }
}

thread_local! {
    static HOLD: Hold = Hold::take();
}

/// The number of this thread's own lane. `None` for one that has none, or is ending.
#[inline]
pub(super) fn own() -> Option<usize> {
    HOLD.try_with(|hold| hold.0).ok().flatten()
}

/// Cells for every thread.
#[derive(Debug)]
pub(super) struct Lanes<T> {
    own: Box<[OnceLock<Arc<T>>]>,
    shared: Arc<T>,
}

impl<T: Default> Lanes<T> {
    pub(super) fn new() -> Lanes<T> {
        Lanes {
            own: (0..LANES_MAX).map(|_| OnceLock::new()).collect(),
            shared: Arc::default(),
        }
    }

    /// The cells that this thread writes to. They are made when it first asks.
    #[inline]
    pub(super) fn here(&self) -> Here<'_, T> {
        match own().and_then(|lane| Some((lane, self.own.get(lane)?))) {
            Some((lane, cells)) => Here {
                cells: cells.get_or_init(Arc::default),
                lane: Some(lane),
            },
            None => Here {
                cells: &self.shared,
                lane: None,
            },
        }
    }

    /// The sum of one cell over all lanes. Counts wrap.
    pub(super) fn sum(&self, cell: impl Fn(&T) -> &AtomicU64) -> u64 {
        let own = self.own.iter().filter_map(OnceLock::get);
        own.chain([&self.shared])
            .fold(0, |sum, cells| sum.wrapping_add(cell(cells).load(Ordering::Relaxed)))
    }
}

/// The cells of the thread that asked for them.
#[derive(Debug)]
pub(super) struct Here<'a, T> {
    /// Where it counts.
    pub(super) cells: &'a Arc<T>,
    /// The number of its own lane.
    pub(super) lane: Option<usize>,
}

impl<T> Here<'_, T> {
    /// Adds to a cell, which must be one of [`Here::cells`].
    #[inline]
    pub(super) fn add(&self, cell: &AtomicU64, by: u64) {
        if self.lane.is_some() {
            cell.store(cell.load(Ordering::Relaxed).wrapping_add(by), Ordering::Relaxed);
        } else {
            cell.fetch_add(by, Ordering::Relaxed);
        }
    }
}
