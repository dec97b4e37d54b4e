//! The command line that administers a running control API: `apps`, `keys`, `schemes`, `verify`, and `check`.
//!
//! It decides how requests are typed and answers are shown. It knows the control API by HTTP only and keeps nothing.
//! The `portcullis` binary flattens [`Command`] into its own commands and calls [`run`].

mod apps;
mod argument;
mod check;
mod client;
mod connection;
mod failure;
mod instant;
mod json_text;
mod keys;
mod rule_text;
mod schemes;
mod surroundings;
mod table;
mod verify;

#[cfg(test)]
mod tests;

use std::process::ExitCode;
use surroundings::Surroundings;

/// The administration commands.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Apps: what keys are issued under
    Apps(apps::Apps),
    /// API keys: issue, list, revoke, rotate
    Keys(keys::Keys),
    /// Rate-limit schemes: rules that apps and keys share
    Schemes(schemes::Schemes),
    /// What a gateway would decide about a key, and the true reason; the key comes from standard input
    Verify(verify::Verify),
    /// Every fault of a configuration file, with line and column
    Check(check::Check),
}

/// Runs one command on this process's terminal. Exit codes: 0 ok (for `verify`: the key is good), 1 not, 2 bad usage or
/// configuration.
pub async fn run(command: Command) -> ExitCode {
    let (mut out, mut err, mut input) = (std::io::stdout(), std::io::stderr(), std::io::stdin().lock());
    let mut surroundings = Surroundings::of_process(&mut out, &mut err, &mut input);
    ExitCode::from(execute(command, &mut surroundings).await)
}

/// As [`run`], in given surroundings; the exit code as a number.
async fn execute(command: Command, surroundings: &mut Surroundings<'_>) -> u8 {
    let outcome = match command {
        Command::Apps(apps) => apps.run(surroundings).await,
        Command::Keys(keys) => keys.run(surroundings).await,
        Command::Schemes(schemes) => schemes.run(surroundings).await,
        Command::Verify(verify) => verify.run(surroundings).await,
        Command::Check(check) => check.run(surroundings),
    };
    match outcome {
        Ok(code) => code,
        Err(failure) => {
            surroundings.tell(&failure.to_string());
            failure.exit_code()
        }
    }
}
