//! The data plane: the reverse proxy. The only user of pingora.
//!
//! A request passes the modules in the order in which they are declared here; nothing goes back up the chain.
//! Who holds a key is decided by `portcullis-verify`; this crate finds the key in the request and does what was decided.

mod client_stream;
mod connection;
mod credential;
mod exchange;
mod flow;
mod forward;
mod framing;
mod listener;
mod proxy;
mod proxy_protocol;
mod reply;
mod route;
mod transport;
mod upstream_pool;

pub use listener::{BindError, BoundListener, bind};
pub use proxy::{Proxy, ProxyError, ProxyParts, ResolvedRoute};
