//! What the published crate `wacht` 0.1.0-beta.1 offers for apps and keys, each call made against a real server.
//!
//! The crate is the judge: whatever it cannot read fails here. It revokes and rotates by the older form, with the key's id
//! in the body, and knows no schemes. `gateway/server/tests/published_clients.rs` starts the server and sets the variables
//! that [`connection`] reads.

#[cfg(test)]
mod connection;

#[cfg(test)]
mod apps;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod refusals;
