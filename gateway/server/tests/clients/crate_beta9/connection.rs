//! Where the server under test is, and who calls it.
//!
//! Decides nothing about answers. Every test of this package calls it.

use std::sync::atomic::{AtomicU32, Ordering};
use wacht::{WachtClient, WachtConfig};

/// The environment variable `name`, which the starter of this suite sets.
fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: run this suite through `cargo test -p portcullis --test published_clients`")
    })
}

/// The crate's configuration for `token`, pointed at the server under test.
pub(crate) fn config(token: &str) -> WachtConfig {
    let mut config = WachtConfig::new(token, "http://127.0.0.1:1");
    config.base_url = variable("PORTCULLIS_TEST_CONTROL_URL");
    config
}

/// A client that calls with `token`.
pub(crate) fn client_with(token: &str) -> WachtClient {
    WachtClient::new(config(token)).expect("the crate accepts the configuration")
}

/// A client of the deployment under test, which is on the growth plan.
pub(crate) fn client() -> WachtClient {
    client_with(&token())
}

/// The management token of the deployment under test.
pub(crate) fn token() -> String {
    variable("PORTCULLIS_TEST_TOKEN")
}

/// A client of a deployment on the free plan.
pub(crate) fn client_on_free_plan() -> WachtClient {
    client_with(&variable("PORTCULLIS_TEST_FREE_TOKEN"))
}

/// Base URL of the decision API.
pub(crate) fn authz_url() -> String {
    variable("PORTCULLIS_TEST_AUTHZ_URL")
}

/// A slug that no other test of this run uses.
pub(crate) fn fresh(stem: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{stem}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}
