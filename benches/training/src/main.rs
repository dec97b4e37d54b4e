//! Walks a Portcullis as its users do, so that a profile of it shows what they will need fast.
//!
//! Measures nothing: what is counted is counted inside the program that it starts. `make dist` calls it.
//!
//! usage: train-profile PATH/TO/portcullis          the whole course; every process is asked to end and leaves its profile
//!        train-profile --try PATH/TO/portcullis    a hundredth of it, to see that a build works

mod connection;
mod course;
mod gateway;
mod request;
mod stock;
mod upstream;

use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (program, share) = match arguments[..] {
        [program] => (program, 1),
        ["--try", program] => (program, 100),
        _ => bail!("usage: train-profile [--try] PATH/TO/portcullis"),
    };
    let program = absolute(program)?;
    let runtime = tokio::runtime::Runtime::new().context("the runtime cannot start")?;
    runtime.block_on(course::walk(&program, share))
}

fn absolute(program: &str) -> Result<PathBuf> {
    Path::new(program)
        .canonicalize()
        .with_context(|| format!("{program} is not there"))
}
