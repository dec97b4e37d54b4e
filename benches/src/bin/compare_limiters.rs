//! Compares limiters and writes `benches/results/DATE-limits.md` with its plots; progress goes to standard error.
//!
//! `--quick` tries the whole course on little data, and writes to `target/limits-quick/` instead: its figures mean nothing.

use anyhow::Result;

// The allocator of the gateway's own binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    portcullis_benches::limiters::run(&arguments)
}
