//! What can be typed after `portcullis`.
//!
//! Only shapes and help texts; `main` dispatches, `portcullis-cli` owns the administration commands.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::net::SocketAddr;
use std::path::PathBuf;

/// How the first tokens come to be.
const FIRST_START: &str = "At the first start PORTCULLIS_BOOTSTRAP_TOKEN becomes the first management token; without it one is generated and printed once.\nPORTCULLIS_BOOTSTRAP_GATEWAY_TOKEN, when set, becomes the first gateway token. Both are 16 to 512 visible ASCII characters.";

/// The API-key gateway: issues keys, verifies one on every request, keeps strict limits, forwards or refuses.
#[derive(Debug, Parser)]
#[command(
    name = "portcullis",
    version = crate::build::VERSION,
    long_version = crate::build::LONG,
    propagate_version = true,
    after_help = "Start here:\n  portcullis serve                 control API on :7070, gateway on :7080, SQLite in ./portcullis.db\n  portcullis check --config FILE   every fault of a configuration file, with line and column\n\nEvery setting can also come from the environment as PORTCULLIS__SECTION__KEY.\nExit codes: 0 ok, 1 runtime failure, 2 bad configuration or usage."
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Everything in one process: control API, reverse proxy and decision API on one store
    #[command(after_help = FIRST_START)]
    Serve(Role),
    /// The control API only
    #[command(after_help = FIRST_START)]
    Control(Role),
    /// The gateway only, following a control API elsewhere (gateway.control_url, gateway.control_token)
    Gateway(Role),
    /// A tiny upstream that answers with the request it received, as JSON
    Echo(Echo),
    /// Tenants: create, list, set the plan; works on the store itself
    Deployments {
        #[command(flatten)]
        role: Role,
        #[command(subcommand)]
        command: DeploymentsCommand,
    },
    /// Management and gateway tokens: create, list, revoke; works on the store itself
    Tokens {
        #[command(flatten)]
        role: Role,
        #[command(subcommand)]
        command: TokensCommand,
    },
    #[command(flatten)]
    Administer(portcullis_cli::Command),
}

/// What every role takes.
#[derive(Debug, Args)]
pub(crate) struct Role {
    /// Configuration file (TOML). Without one the defaults hold
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Echo {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:3000")]
    pub(crate) listen: SocketAddr,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DeploymentsCommand {
    /// Create a deployment; it starts on the growth plan
    #[command(after_help = "Example:\n  portcullis deployments create acme --config portcullis.toml")]
    Create {
        /// Its name: lower-case letters, digits, `-` and `_`
        name: String,
        #[arg(long, value_enum, default_value = "table")]
        output: Output,
    },
    /// List all deployments
    List {
        #[arg(long, value_enum, default_value = "table")]
        output: Output,
    },
    /// Set the plan of a deployment; only `growth` may create apps
    SetPlan {
        /// Its name or id
        deployment: String,
        #[arg(value_enum)]
        plan: PlanName,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokensCommand {
    /// Create a token and print it once
    #[command(
        after_help = "Examples:\n  portcullis tokens create --deployment acme --name ci --config portcullis.toml\n  portcullis tokens create --kind gateway --name edge --config portcullis.toml\n  portcullis tokens create --kind gateway --name partners --app partner-api --config portcullis.toml"
    )]
    Create {
        /// The deployment's name or id
        #[arg(long, default_value = "default")]
        deployment: String,
        /// What the token may do
        #[arg(long, value_enum, default_value = "management")]
        kind: KindName,
        /// A name to recognise it by
        #[arg(long, default_value = "unnamed")]
        name: String,
        /// For a gateway: the slug of an app whose keys it may know; repeat it. Without any, every app of the deployment
        #[arg(long = "app", value_name = "SLUG")]
        apps: Vec<String>,
        #[arg(long, value_enum, default_value = "table")]
        output: Output,
    },
    /// List a deployment's tokens, without their secrets
    List {
        /// The deployment's name or id
        #[arg(long, default_value = "default")]
        deployment: String,
        #[arg(long, value_enum, default_value = "table")]
        output: Output,
    },
    /// Revoke a token; it is refused from the next call on
    Revoke {
        /// The deployment's name or id
        #[arg(long, default_value = "default")]
        deployment: String,
        /// The token's id, as `list` shows it
        id: i64,
    },
}

/// How a result is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people
    Table,
    /// For scripts
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PlanName {
    /// May not create apps
    Free,
    /// May
    Growth,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum KindName {
    /// May call the control API for its deployment
    Management,
    /// May watch, fill and report as a gateway of its deployment
    Gateway,
}
