//! `portcullis limits show`: which limit blocks, and when the next request passes.
//!
//! Decides what was asked about from the shape of one argument, and puts the answer in words for somebody who was just woken. A
//! secret in its place is refused, and not repeated.

use crate::argument::slug;
use crate::connection::Connection;
use crate::failure::Failure;
use crate::instant::{self, exact};
use crate::surroundings::Surroundings;
use crate::table;
use clap::{Args, Subcommand};
use portcullis_config::PresentedKey;
use reqwest::Method;
use serde::Deserialize;
use std::ffi::OsString;
use std::net::{IpAddr, Ipv6Addr};

/// Where rate limits stand now.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
        portcullis limits show 1764\n  \
        portcullis limits show internal-api\n  \
        portcullis limits show 203.0.113.7\n  \
        portcullis limits show internal-api --output json\n\n\
        The management token comes from PORTCULLIS_TOKEN, or from a file named with --token-file.")]
pub struct Limits {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    command: LimitsCommand,
}

#[derive(Debug, Subcommand)]
enum LimitsCommand {
    /// Show what is used, what is left and when it frees up; asking charges nothing
    ///
    /// A whole number is a key's id, an IPv4 or IPv6 address (or its /64) is a client's address, anything else is an app's slug.
    /// A rotated key is counted together with the one that replaced it. Shown are the counters of the process that answers, the
    /// gateway's of `portcullis serve`.
    Show {
        /// A key's id, an app's slug, or a client's address; never a secret
        // Neither a parser nor a count of clap's, whose messages would repeat a secret.
        #[arg(value_name = "KEY|APP|IP", num_args = 1.., required = true)]
        whose: Vec<OsString>,
    },
}

/// What the argument names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    Key(String),
    App(String),
    Address(String),
}

#[derive(Deserialize)]
struct Answer {
    key_id: Option<String>,
    key_name: Option<String>,
    app_slug: Option<String>,
    address: Option<String>,
    at: String,
    limits: Vec<RuleStanding>,
    #[serde(default)]
    is_cut_short: bool,
}

#[derive(Deserialize)]
struct RuleStanding {
    rule: String,
    scheme: Option<String>,
    limit: u64,
    #[serde(default)]
    endpoints: Vec<String>,
    counters: Vec<CounterStanding>,
    counters_total: u64,
    #[serde(default)]
    is_overflowing: bool,
}

#[derive(Deserialize)]
struct CounterStanding {
    key_id: Option<String>,
    key_name: Option<String>,
    app_slug: Option<String>,
    address: Option<String>,
    used: u64,
    remaining: u64,
    next_in_seconds: u64,
    frees_in_seconds: u64,
    #[serde(default)]
    is_shared: bool,
}

impl Limits {
    pub(crate) async fn run(self, surroundings: &mut Surroundings<'_>) -> Result<u8, Failure> {
        let LimitsCommand::Show { whose } = &self.command;
        let [whose] = whose.as_slice() else {
            return Err(Failure::usage(
                "`portcullis limits show` takes one argument: a key's id, an app's slug, or an address",
            ));
        };
        let whose = Whose::read(whose.to_str().unwrap_or_default())?;
        let query = match &whose {
            Whose::Key(id) => ("key_id", id.as_str()),
            Whose::App(slug) => ("app_slug", slug.as_str()),
            Whose::Address(address) => ("address", address.as_str()),
        };
        let client = self.connection.client(surroundings)?;
        let answer = client.call(Method::GET, &["limits"], &[query], None).await?;
        if self.connection.as_json() {
            surroundings.print(&answer.indented())?;
        } else {
            surroundings.print(&text(answer.read()?))?;
        }
        Ok(0)
    }
}

impl Whose {
    /// Reads the argument, which the message does not repeat.
    pub(crate) fn read(text: &str) -> Result<Whose, Failure> {
        if PresentedKey::parse(text.as_bytes()).is_ok() {
            return Err(Failure::usage(
                "this is the secret of a key, and it is in the shell's history now: consider rotating it. Name the key by \
                 its id, as `portcullis keys list APP` shows it",
            ));
        }
        if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
            return match text.parse::<i64>() {
                Ok(id) if id > 0 => Ok(Whose::Key(id.to_string())),
                _ => Err(Failure::usage(
                    "a number is taken for a key's id, and no key has this one: ids are positive 64-bit integers",
                )),
            };
        }
        let is_network = |text: &str| {
            text.strip_suffix("/64")
                .is_some_and(|v6| v6.parse::<Ipv6Addr>().is_ok())
        };
        if text.parse::<IpAddr>().is_ok() || is_network(text) {
            return Ok(Whose::Address(text.to_owned()));
        }
        slug(text).map(Whose::App).map_err(|_| {
            Failure::usage(
                "the argument is none of what limits are kept for: a key's id (a whole number), an app's slug (a-z, 0-9, \
                 `-` and `_`), or an IPv4 or IPv6 address. If a secret was typed, it is in the shell's history now: consider \
                 rotating it, and name the key by its id",
            )
        })
    }
}

/// The whole answer: who, what blocks, and every counter.
fn text(answer: Answer) -> String {
    let key = answer.key_id.as_deref().map(|id| named(id, answer.key_name.as_deref()));
    let mut text = table::facts(vec![
        ("Key", key),
        ("App", answer.app_slug.clone()),
        ("Address", answer.address.clone()),
        ("At", Some(exact(&answer.at))),
        ("Says", Some(summary(&answer))),
    ]);
    let rows: Vec<Vec<String>> = answer.limits.iter().flat_map(rows).collect();
    if !rows.is_empty() {
        text.push('\n');
        text.push_str(&table::grid(&["RULE", "SCHEME", "COUNTS", "USED", "NOW"], rows));
    }
    if answer.is_cut_short {
        text.push_str("\nThere are further schemes that count something; these are the first.\n");
    }
    text
}

/// A line for each counter of a rule; its paths stand under the first.
fn rows(rule: &RuleStanding) -> Vec<Vec<String>> {
    let used = |used: u64| format!("{used} of {}", rule.limit);
    let mut rows: Vec<[String; 3]> = Vec::new();
    for counter in &rule.counters {
        let mut state = state(counter);
        if counter.is_shared {
            state.push_str("; shared with others, since limits.counters_max is reached");
        }
        rows.push([whom(counter), used(counter.used), state]);
    }
    let further = rule
        .counters_total
        .saturating_sub(u64::try_from(rows.len()).unwrap_or(u64::MAX));
    if further > 0 {
        rows.push([format!("{further} more, less used"), String::new(), String::new()]);
    }
    if rule.is_overflowing {
        let state = "further ones share counters, since limits.counters_max is reached";
        rows.push(["others".to_owned(), String::new(), state.to_owned()]);
    }
    if rows.is_empty() {
        rows.push(["nobody".to_owned(), used(0), "nothing used".to_owned()]);
    }
    let scheme = rule.scheme.as_deref().unwrap_or("default");
    let with_rule = |(index, row): (usize, [String; 3])| {
        let mut name = rule.rule.clone();
        if index == 0 {
            name.extend(rule.endpoints.iter().map(|path| format!("\n  on {path}")));
        }
        [name, scheme.to_owned()].into_iter().chain(row).collect()
    };
    rows.into_iter().enumerate().map(with_rule).collect()
}

/// What blocks, in one sentence or two.
fn summary(answer: &Answer) -> String {
    let blocking = || {
        let counters = answer.limits.iter().flat_map(|rule| {
            let of_rule = rule.counters.iter().map(move |counter| (rule, counter));
            of_rule.filter(|(_, counter)| counter.remaining == 0)
        });
        counters.map(|(rule, counter)| (is_partial(answer, rule, counter), rule, counter))
    };
    // What blocks every request comes first, then what blocks longest.
    let worst = blocking().max_by_key(|(is_partial, _, counter)| (!is_partial, counter.next_in_seconds));
    let Some((is_partial, rule, counter)) = worst else {
        return match answer.limits.is_empty() {
            true => "no limit counts anything here".to_owned(),
            false => "no limit blocks".to_owned(),
        };
    };
    let wait = instant::span(counter.next_in_seconds);
    let which = match &rule.scheme {
        Some(scheme) => format!("{} (scheme {scheme})", rule.rule),
        None => format!("{} (default rules)", rule.rule),
    };
    let mut text = if is_partial {
        format!(
            "blocked in part by {which}, for {}: next request in {wait}",
            part(rule, counter)
        )
    } else {
        format!("blocked by {which}: next request in {wait}")
    };
    let others = blocking().count() - 1;
    if others > 0 {
        let counters = if others == 1 { "counter is" } else { "counters are" };
        text.push_str(&format!("; {others} more {counters} full"));
    }
    text
}

/// Whether a counter that is full blocks only some of the requests that were asked about.
fn is_partial(answer: &Answer, rule: &RuleStanding, counter: &CounterStanding) -> bool {
    let tells_address_apart = counter.address.is_some() && answer.address.is_none();
    let tells_key_apart = answer.key_id.is_none()
        && (counter.key_id.is_some() || counter.app_slug.is_some() && answer.app_slug.is_none());
    !rule.endpoints.is_empty() || tells_address_apart || tells_key_apart
}

/// The requests that such a counter blocks.
fn part(rule: &RuleStanding, counter: &CounterStanding) -> String {
    let mut part = whom(counter);
    if !rule.endpoints.is_empty() {
        part.push_str(" on ");
        part.push_str(&rule.endpoints.join(", "));
    }
    part
}

fn state(counter: &CounterStanding) -> String {
    if counter.remaining == 0 {
        return format!("full, next request in {}", instant::span(counter.next_in_seconds));
    }
    match counter.frees_in_seconds {
        0 => "nothing used".to_owned(),
        seconds => format!("{} left, more in {}", counter.remaining, instant::span(seconds)),
    }
}

fn whom(counter: &CounterStanding) -> String {
    let who = match (&counter.key_id, &counter.app_slug) {
        (Some(id), _) => Some(format!("key {}", named(id, counter.key_name.as_deref()))),
        (None, Some(app)) => Some(format!("app {app}")),
        (None, None) => None,
    };
    match (who, &counter.address) {
        (Some(who), Some(address)) => format!("{who} from {address}"),
        (Some(who), None) => who,
        (None, Some(address)) => address.clone(),
        (None, None) => "everybody".to_owned(),
    }
}

fn named(id: &str, name: Option<&str>) -> String {
    name.map_or_else(|| id.to_owned(), |name| format!("{id} ({name})"))
}
