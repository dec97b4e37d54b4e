//! What the published crate `wacht` 0.1.0-beta.9 offers for apps, keys and schemes, each call made against a real server.
//!
//! The crate is the judge: whatever it cannot read fails here. It knows nothing of how the server works inside.
//! `gateway/server/tests/published_clients.rs` starts the server and sets the variables that [`connection`] reads.

#[cfg(test)]
mod connection;

#[cfg(test)]
mod apps;
#[cfg(test)]
mod decision;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod schemes;
