//! The `portcullis` binary: reads what was asked, loads the settings, hands over to a role, turns its end into an exit code.
//!
//! Decides nothing about keys or requests. Exit codes: 0 ok, 1 runtime failure, 2 bad configuration or usage.

mod admin;
mod arguments;
mod build;
mod control_plane;
mod echo;
mod file_limit;
mod key_usage;
mod logging;
mod news;
mod remote_plane;
mod roles;
mod saved_limits;
mod shutdown;
mod tenants;
mod wiring;

use arguments::{Arguments, Command};
use clap::Parser;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Fails only if a provider is installed already, and then there is one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match Arguments::parse().command {
        Command::Administer(command) => on_runtime(None, portcullis_cli::run(command)),
        Command::Echo(echo) => on_runtime(None, async move { outcome(echo::run(echo.listen).await) }),
        Command::Serve(role) => with_settings(&role, roles::serve),
        Command::Control(role) => with_settings(&role, roles::control),
        Command::Gateway(role) => with_settings(&role, roles::gateway),
        Command::Deployments { role, command } => with_store_settings(&role, move |s| tenants::deployments(s, command)),
        Command::Tokens { role, command } => with_store_settings(&role, move |s| tenants::tokens(s, command)),
    }
}

/// Runs a long-lived role with its settings and logs.
fn with_settings<F>(role: &arguments::Role, run: impl FnOnce(portcullis_config::Settings) -> F) -> ExitCode
where
    F: Future<Output = anyhow::Result<()>>,
{
    match load(role.config.as_deref()) {
        Ok(settings) => {
            let workers = settings.gateway.workers;
            if let Err(error) = logging::start(&settings.log) {
                return complain(&error, ExitCode::from(2));
            }
            on_runtime(workers, async move { outcome(run(settings).await) })
        }
        Err(code) => code,
    }
}

/// Runs a short command against the store named in the settings, without logs.
fn with_store_settings<F>(role: &arguments::Role, run: impl FnOnce(portcullis_config::Settings) -> F) -> ExitCode
where
    F: Future<Output = anyhow::Result<()>>,
{
    match load(role.config.as_deref()) {
        Ok(settings) => on_runtime(Some(1), async move { outcome(run(settings).await) }),
        Err(code) => code,
    }
}

fn load(file: Option<&Path>) -> Result<portcullis_config::Settings, ExitCode> {
    portcullis_config::load(file, portcullis_config::process_environment())
        .map_err(|faults| complain(&faults, ExitCode::from(2)))
}

fn on_runtime(workers: Option<usize>, run: impl Future<Output = ExitCode>) -> ExitCode {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if let Some(workers) = workers {
        builder.worker_threads(workers);
    }
    match builder.enable_all().build() {
        Ok(runtime) => {
            let code = runtime.block_on(run);
            runtime.shutdown_background();
            code
        }
        Err(error) => complain(&format_args!("the runtime cannot start: {error}"), ExitCode::FAILURE),
    }
}

fn outcome(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let code = if error.is::<roles::BadSetup>() {
                ExitCode::from(2)
            } else {
                ExitCode::FAILURE
            };
            complain(&format_args!("{error:#}"), code)
        }
    }
}

fn complain(what: &dyn std::fmt::Display, code: ExitCode) -> ExitCode {
    // Nobody is left to tell when standard error is closed.
    let _ = writeln!(std::io::stderr(), "portcullis: {what}");
    code
}
