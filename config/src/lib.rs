//! All that an operator can set: settings, their file and environment, and every fault at once.
//!
//! It decides what a legal configuration is. It knows nothing of what the settings do, opens no socket and no store.
//! The server's roles and `portcullis check` call [`load`]; everyone else reads [`settings`].
//!
//! The way of a setting: text → [`document`] → overlay of the [`environment`] → [`reader`] and [`section`] → [`cross_check`].

mod cross_check;
mod default;
mod document;
mod environment;
mod fault;
mod load;
mod reader;
mod scalar;
mod section;
pub mod settings;
mod suggestion;

#[cfg(test)]
mod tests;

pub use environment::process_environment;
pub use fault::{Fault, Faults, Origin};
pub use load::{load, parse};
pub use settings::Settings;

// What settings are made of, the clock, and what a key looks like, so that the command line needs no edge to the engine.
pub use portcullis_verify::{Clock, Mode, PermissionExpression, PresentedKey, Rule, Unit};
