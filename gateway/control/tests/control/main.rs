//! The control API over real sockets, on a real SQLite file: one file per promise.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test ends where what it needs is not there"
)]

mod fleet;
mod gateway;
mod gateway_calls;
mod server;

mod applied;
mod apps;
mod bodies;
mod bootstrap;
mod errors;
mod idempotency;
mod keys;
mod limits;
mod openapi;
mod postgres;
mod published_clients;
mod schemes;
mod secrets;
mod tenants;
mod tokens;
mod verify;
mod watch;
