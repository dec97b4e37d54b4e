//! `portcullis check`: reads the configuration as a role would, and tells every fault at once.

use crate::failure::Failure;
use crate::surroundings::Surroundings;
use clap::Args;
use portcullis_config::Settings;
use std::path::PathBuf;

/// Reads a configuration file and the environment's settings without starting anything.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  portcullis check --config portcullis.toml\n  portcullis check          the environment over the defaults"
)]
pub struct Check {
    /// Configuration file (TOML). Without one the defaults hold
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Check {
    pub(crate) fn run(self, surroundings: &mut Surroundings<'_>) -> Result<u8, Failure> {
        let name = self
            .config
            .as_ref()
            .map_or_else(|| "the configuration".to_owned(), |file| file.display().to_string());
        match portcullis_config::load(self.config.as_deref(), surroundings.settings()) {
            Ok(settings) => {
                for (index, _) in settings
                    .routes
                    .iter()
                    .enumerate()
                    .filter(|(_, route)| route.apps.is_empty())
                {
                    surroundings.tell(&format!("note: routes[{index}] names no app, so no key opens it"));
                }
                surroundings.print(&summary(&name, &settings))?;
                Ok(0)
            }
            Err(faults) => {
                surroundings.show(&faults.to_string());
                let plural = if faults.0.len() == 1 { "" } else { "s" };
                surroundings.tell(&format!("{name} has {} fault{plural}", faults.0.len()));
                Ok(2)
            }
        }
    }
}

/// `portcullis.toml is good: 2 routes, gateway on 127.0.0.1:7080, …`.
fn summary(name: &str, settings: &Settings) -> String {
    let routes = match settings.routes.len() {
        0 => "no routes (nothing is let through)".to_owned(),
        1 => "1 route".to_owned(),
        count => format!("{count} routes"),
    };
    let gateway: Vec<String> = settings
        .gateway
        .listen
        .iter()
        .map(|listener| listener.address.to_string())
        .collect();
    format!(
        "{name} is good: {routes}, gateway on {}, control API on {}, decision API on {}, admin on {}",
        gateway.join(" and "),
        settings.control.listen,
        settings.gateway.authz_listen,
        settings.admin.listen
    )
}
