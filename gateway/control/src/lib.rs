//! The control API: apps, keys, schemes and tokens over JSON and HTTP.
//!
//! It decides who may administer what, and validates all that is written; the store keeps it, the tailer makes it hold. It
//! knows nothing of the proxy. The server's wiring builds [`ControlParts`] and calls [`serve`].

mod auth;
mod body;
pub mod bootstrap;
mod bounds;
mod change;
mod envelope;
mod error;
mod error_code;
mod fault;
mod field;
mod idempotency;
mod openapi;
mod path;
mod router;
mod routes;
mod serve;
pub mod tailer;
pub mod token;
mod wire;

pub use bootstrap::{Bootstrap, BootstrapError, bootstrap};
pub use error_code::ErrorCode;
pub use router::{ControlParts, openapi, router};
pub use serve::serve;
pub use tailer::{TailerEnded, TailerHandle};
