//! Where the control API is, who calls, and how answers are shown: what every command that calls it takes.
//!
//! A token is never an argument, since arguments are seen by every process of the machine.

use crate::client::Client;
use crate::failure::Failure;
use crate::surroundings::Surroundings;
use clap::{Args, ValueEnum};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The options of every command that calls the control API.
#[derive(Debug, Args)]
pub(crate) struct Connection {
    /// The control API
    #[arg(
        long,
        value_name = "URL",
        env = "PORTCULLIS_URL",
        hide_env_values = true,
        default_value = "http://127.0.0.1:7070",
        global = true,
        help_heading = "Connection"
    )]
    url: String,
    /// Read the management token from this file instead of PORTCULLIS_TOKEN
    #[arg(long, value_name = "FILE", global = true, help_heading = "Connection")]
    token_file: Option<PathBuf>,
    /// How results are printed: `table` for people, `json` as the API answers
    #[arg(
        long,
        value_enum,
        default_value = "table",
        global = true,
        help_heading = "Connection"
    )]
    output: Output,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people
    Table,
    /// For scripts: the API's JSON
    Json,
}

impl Connection {
    /// A client for the control API.
    pub(crate) fn client(&self, surroundings: &Surroundings<'_>) -> Result<Client, Failure> {
        Client::new(&self.url, &self.token(surroundings)?)
    }

    /// Whether results are printed as JSON.
    pub(crate) fn as_json(&self) -> bool {
        self.output == Output::Json
    }

    fn token(&self, surroundings: &Surroundings<'_>) -> Result<Zeroizing<String>, Failure> {
        let (token, source) = match &self.token_file {
            Some(file) => (read_token(file)?, file.display().to_string()),
            None => match surroundings.token() {
                Some(token) => (
                    Zeroizing::new(
                        token
                            .into_string()
                            .map_err(|_| Failure::usage("PORTCULLIS_TOKEN is not text"))?,
                    ),
                    "PORTCULLIS_TOKEN".to_owned(),
                ),
                None => {
                    return Err(Failure::usage(
                        "there is no management token: set PORTCULLIS_TOKEN, or name a file with --token-file. \
                         `portcullis serve` printed one at its first start; `portcullis tokens create` makes more",
                    ));
                }
            },
        };
        let token = Zeroizing::new(token.trim().to_owned());
        if token.is_empty() {
            return Err(Failure::usage(format!(
                "{source} is empty: it should hold a management token"
            )));
        }
        if !token.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Failure::usage(format!(
                "{source} does not hold a token: a space, a line end or a character that is not ASCII is in it"
            )));
        }
        Ok(token)
    }
}

fn read_token(file: &Path) -> Result<Zeroizing<String>, Failure> {
    std::fs::read_to_string(file)
        .map(Zeroizing::new)
        .map_err(|error| Failure::usage(format!("--token-file {}: {error}", file.display())))
}
