//! Where log lines go and which: standard error, human or JSON, filtered by the `[log]` settings.
//!
//! Other people's crates are never logged below info: their debug lines print raw requests, keys included.

use portcullis_config::settings::{Log, LogFormat};
use std::io::IsTerminal;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::{FilterExt, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// Installs the process-wide subscriber.
///
/// # Errors
/// When the level is no `tracing` filter, or a subscriber is installed already.
pub(crate) fn start(log: &Log) -> anyhow::Result<()> {
    let wanted = EnvFilter::try_new(&log.level)
        .map_err(|error| anyhow::anyhow!("log.level: `{}` is no log filter: {error}", log.level))?;
    let foreign_capped =
        filter_fn(|metadata| metadata.target().starts_with("portcullis") || *metadata.level() <= LevelFilter::INFO);
    let filter = wanted.and(foreign_capped);
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let lines = match log.format {
        LogFormat::Human => lines.with_target(false).boxed(),
        LogFormat::Json => lines
            .json()
            .flatten_event(true)
            // The control API's lines, causes of failures included, have their request's id in its span.
            .with_current_span(true)
            .with_span_list(false)
            .boxed(),
    };
    tracing_subscriber::registry()
        .with(lines.with_filter(filter))
        .try_init()?;
    Ok(())
}
