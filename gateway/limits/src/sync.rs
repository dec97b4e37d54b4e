//! The locks and atomic numbers that counters are shared under.
//!
//! Decides which implementation they have: spin's and the processor's own, or, under the feature `shuttle`, those of a
//! model checker that decides which thread goes next. Knows nothing of what is locked; everything that threads share uses it.
//!
//! A request takes a lock per rule and holds it for tens of nanoseconds, so that locking itself is a tenth of a charge. spin's is
//! given back by a plain write, where a lock that may have to wake somebody needs a second atomic one. Whoever finds it taken
//! gives way to other threads, so that a holder who was interrupted goes on.

#[cfg(not(feature = "shuttle"))]
pub(crate) use spin::mutex::SpinMutexGuard as MutexGuard;
#[cfg(not(feature = "shuttle"))]
pub(crate) use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// A lock that is held for a moment.
#[cfg(not(feature = "shuttle"))]
pub(crate) type Mutex<T> = spin::mutex::SpinMutex<T, spin::relax::Yield>;

#[cfg(feature = "shuttle")]
pub(crate) use shuttle::sync::MutexGuard;
#[cfg(feature = "shuttle")]
pub(crate) use shuttle::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// A lock that the model checker schedules. Nothing panics while it is held, so that nobody asks whether it is poisoned.
#[cfg(feature = "shuttle")]
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(shuttle::sync::Mutex<T>);

#[cfg(feature = "shuttle")]
impl<T> Mutex<T> {
    /// Waits until nobody else holds the lock.
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
