//! The control API: apps, keys, schemes and tokens over JSON and HTTP.
//!
//! It decides who may administer what, and validates all that is written; the store keeps it, the tailer makes it hold, here and,
//! through those who watch, at the gateways elsewhere. It knows nothing of the proxy. The server's wiring builds
//! [`ControlParts`] and calls [`serve`].

mod auth;
mod body;
pub mod bootstrap;
mod bounds;
mod change;
mod connection;
mod envelope;
mod error;
mod error_code;
mod fault;
mod field;
mod gateways;
mod housekeeping;
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
pub use gateways::GatewayBounds;
pub use router::{ControlParts, openapi};
pub use serve::{serve, serve_within};
pub use tailer::{TailerEnded, TailerHandle, TailerParts};
