//! Why a command did not do what it was asked, in sentences for the person who typed it.
//!
//! Says what happened and what to do next. Never holds a token or a key.

use std::fmt;

/// Why a command failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// What was typed, or the environment, cannot work: exit code 2.
    Usage(String),
    /// The control API could not be reached or refused, or the person did: exit code 1. One sentence a line.
    Runtime(Vec<String>),
    /// What was to be shown could not be written: exit code 1.
    Output(std::io::Error),
}

impl Failure {
    pub(crate) fn usage(message: impl Into<String>) -> Failure {
        Failure::Usage(message.into())
    }

    pub(crate) fn runtime(message: impl Into<String>) -> Failure {
        Failure::Runtime(vec![message.into()])
    }

    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Failure::Usage(_) => 2,
            Failure::Runtime(_) | Failure::Output(_) => 1,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Usage(message) => f.write_str(message),
            Failure::Runtime(messages) => f.write_str(&messages.join("\n")),
            Failure::Output(error) => write!(f, "the output cannot be written: {error}"),
        }
    }
}
