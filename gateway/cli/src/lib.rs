//! The command line that administers a running control API: `apps`, `keys`, `schemes`, `limits`, `gateways`, `verify`, and
//! `check`.
//!
//! It decides how requests are typed and answers are shown. It knows the control API by HTTP only and keeps nothing.
//! The `portcullis` binary flattens [`Command`] into its own commands and calls [`run`].

mod apps;
mod argument;
mod check;
mod client;
mod connection;
mod failure;
mod gateways;
mod instant;
mod json_text;
mod keys;
mod limits;
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
    ///
    /// An app bounds what its keys may do (permissions, resources), names the limits that hold for them (a scheme), and can
    /// stop them all at once.
    Apps(apps::Apps),
    /// API keys: issue, list, revoke, rotate
    ///
    /// A key belongs to one app. Its secret is shown once, when it is created or rotated; only a hash of it is kept.
    Keys(keys::Keys),
    /// Rate-limit schemes: rules that apps and keys share
    ///
    /// A key's own scheme holds for it, else its app's, else the gateway's default rules. No window ever admits more than
    /// its rule says.
    Schemes(schemes::Schemes),
    /// Where rate limits stand: what is used, what is left, when it frees up
    ///
    /// For a key, an app or a client's address: which rule blocks, and when the next request passes.
    Limits(limits::Limits),
    /// The gateways that follow the control API: version, how far behind, when last seen
    ///
    /// A revocation is enforced by a gateway once it has applied it. One that hears nothing stops trusting what it holds after
    /// its `stale_max`.
    Gateways(gateways::Gateways),
    /// What a gateway would decide about a key, and the true reason; the key comes from standard input
    ///
    /// Asks the control API; asking charges nothing. A caller of the gateway is only told `key_invalid`; this tells whether
    /// the key is malformed, unknown, revoked or expired, or its app inactive.
    ///
    /// Exit codes: 0 the key is good, 1 it is not (or the API could not be asked), 2 bad usage.
    Verify(verify::Verify),
    /// Every fault of a configuration file, with line and column
    ///
    /// Reads the file and the settings of the environment (PORTCULLIS__SECTION__KEY) as `serve` would, without starting
    /// anything. Every fault is printed as FILE:LINE:COLUMN: KEY: MESSAGE.
    ///
    /// Exit codes: 0 it is good, 2 it is not.
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
        Command::Limits(limits) => limits.run(surroundings).await,
        Command::Gateways(gateways) => gateways.run(surroundings).await,
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
