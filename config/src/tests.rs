//! Tables over whole files: what is legal, what is not, and the words in which it is said.

mod environment;
mod faults;
mod reference;

use crate::{Faults, Settings, parse};
use std::path::Path;

fn read_with(text: &str, variables: &[(&str, &str)]) -> Result<Settings, Faults> {
    let environment = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    parse(Path::new("p.toml"), text.as_bytes(), environment)
}

fn read(text: &str) -> Result<Settings, Faults> {
    read_with(text, &[])
}

/// Holds the faults of a file against their printed lines, all of them and in order.
fn check(text: &str, expected: &[&str]) {
    let found = match read(text) {
        Ok(_) => Vec::new(),
        Err(faults) => faults.0.iter().map(ToString::to_string).collect(),
    };
    assert_eq!(found, expected, "in:\n{text}");
}

/// As [`check`] for one key, of whose line only the message is given.
fn check_value(section: &str, assignment: &str, expected: &str) {
    let key = assignment.split('=').next().unwrap().trim();
    let column = assignment.find('=').unwrap() + 3;
    let line = format!("p.toml:2:{column}: {section}.{key}: {expected}");
    let expected: &[&str] = if expected.is_empty() { &[] } else { &[&line] };
    check(&format!("[{section}]\n{assignment}\n"), expected);
}
