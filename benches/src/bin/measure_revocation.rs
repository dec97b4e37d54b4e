//! Measures how fast a revocation reaches a fleet, and writes `benches/results/DATE-revocation.md` with its plot; progress goes to
//! standard error. Needs the release binary beside itself: `cargo build --release --bin portcullis`.
//!
//! `--quick` tries the whole course on little, and writes to `target/revocation-quick/` instead: its figures mean nothing.

use anyhow::Result;

// The allocator of the gateway's own binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    portcullis_benches::revocation::run(&arguments)
}
