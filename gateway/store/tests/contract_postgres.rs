//! The contract suite on PostgreSQL, each test in a database of its own on one server.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that fails says so by panicking"
)]

#[path = "contract/suite.rs"]
mod suite;

use portcullis_postgres_server::PostgresServer;
use std::sync::OnceLock;
use suite::*;

static SERVER: OnceLock<PostgresServer> = OnceLock::new();

/// A new database.
struct Place {
    url: String,
}

impl Place {
    fn new() -> Place {
        Place {
            url: SERVER.get_or_init(PostgresServer::start).create_database(),
        }
    }

    fn url(&self) -> &str {
        &self.url
    }
}
