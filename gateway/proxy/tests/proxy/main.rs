//! The reverse proxy over real sockets: raw clients in front, small upstreams behind, keys in memory.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod client;
mod gateway;
mod upstream;

mod alike;
mod answers;
mod connections;
mod credentials;
mod cuts;
mod framing;
mod headers;
mod http2;
mod limits;
mod log;
mod protocols;
mod refusals;
mod streaming;
mod upstreams;
mod usage;
