//! Compares gateways under load and writes `benches/results/DATE-load.md` with its plots; progress goes to standard error. Measures the
//! release binary beside itself: `cargo build --release --bin portcullis`. `--help` lists what can be chosen.
//!
//! `--quick` tries the course on little, and writes to `target/load-quick/` instead: its figures mean nothing.

use anyhow::Result;

// The allocator of the gateway's own binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[cfg(target_os = "linux")]
fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    portcullis_benches::load::run(&arguments)
}

#[cfg(not(target_os = "linux"))]
fn main() -> Result<()> {
    anyhow::bail!("the comparison reads processor time as Linux tells it, and runs there only")
}
