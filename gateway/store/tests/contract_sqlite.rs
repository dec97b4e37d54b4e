//! The contract suite on SQLite, each test in a file of its own.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that fails says so by panicking"
)]

#[path = "contract/suite.rs"]
mod suite;

use suite::*;

/// A new database, gone with this.
struct Place {
    url: String,
    _folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Place {
        let folder = tempfile::tempdir().unwrap();
        Place {
            url: format!("sqlite://{}/store.db", folder.path().display()),
            _folder: folder,
        }
    }

    fn url(&self) -> &str {
        &self.url
    }
}
