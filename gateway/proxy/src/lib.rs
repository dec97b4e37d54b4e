//! The data plane: the reverse proxy. The only user of pingora.
//!
//! A request passes the modules in the order in which they are declared here; nothing goes back up the chain.
//! Who holds a key is decided by `portcullis-verify`; this crate finds the key in the request and does what was decided.

mod listener;

mod proxy_protocol;

mod transport;

mod outgoing;

mod occupancy;

mod handshake;

mod client_stream;

mod workers;

mod idle;

mod connection;

mod fast;

mod http2_connection;

mod cut;

mod flow;

mod exchange;

mod request_log;

mod date;

mod admission;

mod framing;

mod pace;

mod route;

mod credential;

mod upstream_pool;

mod tunnel_socket;

mod forward;

mod watchlist;

mod failure;

mod reply;

mod proxy;

pub use listener::{BindError, BoundListener, bind};
pub use proxy::{Proxy, ProxyError, ProxyParts, ResolvedRoute};
