//! What this build is: version, commit, how it was optimised, and what is in it.
//!
//! Decides nothing; the build script of this crate found most of it out. [`crate::arguments`] has it printed.

/// The version of the package.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What `--version` prints after the name; `-V` prints [`VERSION`] alone.
pub(crate) const LONG: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    "\ncommit     ",
    env!("PORTCULLIS_BUILD_COMMIT"),
    "\nbuild      ",
    env!("PORTCULLIS_BUILD_KIND"),
    "\ncompiler   ",
    env!("PORTCULLIS_BUILD_RUSTC"),
    "\ntarget     ",
    env!("PORTCULLIS_BUILD_TARGET"),
    "\nallocator  mimalloc",
    "\nprotocols  HTTP/1.1, HTTP/2, TLS 1.2 and 1.3 (rustls with ring), PROXY protocol v1 and v2",
    "\nstores     SQLite, PostgreSQL",
);
