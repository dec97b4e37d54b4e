//! Between the control API and its gateways: what they say to each other, and the gateway's end of it.
//!
//! Knows nothing of SQL, of routes, or of what a change means for a request: the verifier does. The control API serves the other
//! end with the same messages; the server's wiring puts a gateway together.

pub mod journal;
pub mod key_table;
pub mod lines;
pub mod link;
pub mod message;

pub use journal::Journal;
pub use key_table::KeyTable;
pub use link::{Link, LinkError, LinkSetupError};
