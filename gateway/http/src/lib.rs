//! What the proxy and the decision API share of HTTP.
//!
//! It reads what a request says of its sender and its path, and spells what the engine decided as headers and bodies.
//! It decides nothing about keys and opens no socket; `portcullis-proxy` and `portcullis-authz` call it.

pub mod client_address;
pub mod identity_headers;
pub mod rate_limit_headers;
pub mod refusal;
pub mod request_id;
pub mod request_path;

mod wire;

pub use refusal::Refusal;
pub use request_id::RequestId;
pub use request_path::{AmbiguousPath, RequestPath};
