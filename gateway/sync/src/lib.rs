//! Between the control API and its gateways: what they say to each other, and the gateway's end of it.
//!
//! Knows nothing of SQL, of routes, or of what a change means for a request: the verifier does. The control API serves the other
//! end with the same messages; the server's wiring puts a gateway together.

mod backoff;
mod breaker;
pub mod follower;
pub mod journal;
mod key_reader;
pub mod key_table;
pub mod lines;
pub mod link;
pub mod message;
pub mod preload;
pub mod remote_source;
#[cfg(test)]
mod scripted_reader;
pub mod snapshot;
pub mod usage_sink;

pub use follower::{Follower, FollowerHandle, FollowerParts, FollowerStatus, Identity, Phase};
pub use journal::Journal;
pub use key_table::KeyTable;
pub use link::{Link, LinkError, LinkSetupError};
pub use preload::{PreloadProgress, Preloader};
pub use remote_source::{RemoteSource, RemoteSourceSettings, RemoteSourceStats};
pub use usage_sink::ControlUsageSink;
