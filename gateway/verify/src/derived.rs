//! What another crate works out of a value of this one, kept beside it.
//!
//! Knows nothing of either; records keep what they were used for in one, rule sets the limiter's view of them.

use std::any::Any;
use std::sync::OnceLock;

/// A slot for a value that another crate computes once and keeps beside what it was computed from.
#[derive(Default)]
pub struct Derived(OnceLock<Box<dyn Any + Send + Sync>>);

impl Derived {
    /// The value, computed by the first caller. `None` if the slot already holds a value of another type.
    pub fn get_or_init<T: Any + Send + Sync>(&self, compute: impl FnOnce() -> T) -> Option<&T> {
        self.0.get_or_init(|| Box::new(compute())).downcast_ref()
    }
}

impl std::fmt::Debug for Derived {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.get().is_some() {
            "Derived(set)"
        } else {
            "Derived(empty)"
        })
    }
}
