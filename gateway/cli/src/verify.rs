//! `portcullis verify`: what a gateway would decide about a key, and the true reason.
//!
//! The key comes from standard input only: an argument would be seen by every process of the machine and kept in the
//! shell's history. A key that comes as an argument anyway is refused, and not repeated.

use crate::connection::Connection;
use crate::failure::Failure;
use crate::instant::exact_and_relative;
use crate::surroundings::Surroundings;
use crate::table;
use clap::Args;
use jiff::Timestamp;
use reqwest::Method;
use serde::Deserialize;
use serde_json::json;
use std::ffi::OsString;
use std::io::{BufRead, Read};
use zeroize::Zeroizing;

/// Longest input that is read: far above any key.
const INPUT_BYTES_MAX: u64 = 16 << 10;

/// What a gateway would decide about a key, and the true reason.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
        portcullis verify < key.txt\n  \
        printf %s \"$KEY\" | portcullis verify\n  \
        printf %s \"$KEY\" | portcullis verify --output json\n\n\
        The management token comes from PORTCULLIS_TOKEN, or from a file named with --token-file.")]
pub struct Verify {
    #[command(flatten)]
    connection: Connection,
    /// Takes whatever should not have been typed, so that the parser does not repeat it in a message of its own.
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true, num_args = 0..)]
    refused: Vec<OsString>,
}

#[derive(Deserialize)]
struct Verdict {
    decision: String,
    reason: Option<String>,
    status: Option<u16>,
    message: Option<String>,
    key_id: Option<String>,
    key_name: Option<String>,
    app_slug: Option<String>,
    #[serde(default)]
    permissions: Vec<String>,
    expires_at: Option<String>,
    revoked_at: Option<String>,
    revoked_reason: Option<String>,
    #[serde(default)]
    rate_limits: Vec<RuleState>,
}

#[derive(Deserialize)]
struct RuleState {
    rule: String,
    limit: u64,
    remaining: u64,
}

impl Verify {
    pub(crate) async fn run(self, surroundings: &mut Surroundings<'_>) -> Result<u8, Failure> {
        if !self.refused.is_empty() {
            return Err(Failure::usage(
                "`portcullis verify` takes no argument but its options: the key comes from standard input, as in \
                 `portcullis verify < key.txt`. If a key was typed as an argument, it is in the shell's history now: \
                 consider rotating it",
            ));
        }
        let client = self.connection.client(surroundings)?;
        let key = read_key(surroundings)?;
        let body = json!({ "key": key.as_str() });
        let answer = client.call(Method::POST, &["verify"], &[], Some(&body)).await?;
        let verdict: Verdict = answer.read()?;
        let allowed = verdict.decision == "allow";
        if self.connection.as_json() {
            surroundings.print(&answer.indented())?;
        } else {
            surroundings.print(&facts(verdict, surroundings.now()))?;
        }
        Ok(if allowed { 0 } else { 1 })
    }
}

fn read_key(surroundings: &mut Surroundings<'_>) -> Result<Zeroizing<String>, Failure> {
    let mut bytes = Zeroizing::new(Vec::new());
    let read = if surroundings.input_is_terminal() {
        surroundings.tell("paste the key and press Enter; it will be visible here");
        surroundings.input().take(INPUT_BYTES_MAX).read_until(b'\n', &mut bytes)
    } else {
        surroundings.input().take(INPUT_BYTES_MAX).read_to_end(&mut bytes)
    };
    read.map_err(|error| Failure::usage(format!("standard input cannot be read: {error}")))?;
    if u64::try_from(bytes.len()) == Ok(INPUT_BYTES_MAX) {
        return Err(Failure::usage("standard input holds more than any key"));
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| Failure::usage("standard input holds no text, so no key"))?;
    // The line end is the file's or the terminal's; everything else is part of what is asked about.
    let line = text.strip_suffix('\n').unwrap_or(text);
    let key = line.strip_suffix('\r').unwrap_or(line);
    if key.is_empty() {
        return Err(Failure::usage("standard input is empty: it should hold the key"));
    }
    Ok(Zeroizing::new(key.to_owned()))
}

fn facts(verdict: Verdict, now: Timestamp) -> String {
    let rules = verdict.rate_limits.iter().map(|state| {
        let RuleState { rule, limit, remaining } = state;
        format!("{rule}: {remaining} of {limit} left")
    });
    let status = verdict.status.map(|status| match status {
        200 => "200: let through".to_owned(),
        status => status.to_string(),
    });
    table::facts(vec![
        ("Decision", Some(verdict.decision)),
        ("Reason", verdict.reason),
        ("Says", verdict.message),
        ("Caller gets", status),
        ("Key", verdict.key_id),
        ("Name", verdict.key_name),
        ("App", verdict.app_slug),
        ("Permissions", Some(verdict.permissions.join(", "))),
        ("Expires", verdict.expires_at.map(|at| exact_and_relative(&at, now))),
        ("Revoked", verdict.revoked_at.map(|at| exact_and_relative(&at, now))),
        ("Because", verdict.revoked_reason),
        ("Limits", Some(rules.collect::<Vec<_>>().join("\n"))),
    ])
}
