//! Rate-limit rules: as their author wrote them, their bounds, and compiled for matching.
//!
//! Counting is not here; `portcullis-limits` counts. The control API validates with [`Rule::validate`], the cache compiles
//! with [`RuleSet::compile`].

#[cfg(test)]
mod tests;

use crate::SchemeId;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fmt;

/// Most entries in one rule's endpoints: each is compared on every request that the rule is asked about.
pub const ENDPOINTS_MAX: usize = 256;
/// Longest endpoint, in bytes.
pub const ENDPOINT_BYTES_MAX: usize = 2048;

const SECOND_US: u64 = 1_000_000;

/// The unit of a window's length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// 1 ms; at most 60 000.
    Millisecond,
    /// 1 s; at most 1 800.
    Second,
    /// 60 s; at most 1 440.
    Minute,
    /// 3 600 s; at most 720.
    Hour,
    /// 24 h; at most 30.
    Day,
    /// A UTC day from midnight to midnight; only 1.
    CalendarDay,
    /// 30 × 24 h, rolling; only 1.
    Month,
    /// A UTC month from its first midnight; only 1.
    CalendarMonth,
}

impl Unit {
    /// The name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Unit::Millisecond => "millisecond",
            Unit::Second => "second",
            Unit::Minute => "minute",
            Unit::Hour => "hour",
            Unit::Day => "day",
            Unit::CalendarDay => "calendar_day",
            Unit::Month => "month",
            Unit::CalendarMonth => "calendar_month",
        }
    }

    /// The longest window in this unit; the shortest is 1.
    #[must_use]
    pub fn duration_max(self) -> i32 {
        match self {
            Unit::Millisecond => 60_000,
            Unit::Second => 1_800,
            Unit::Minute => 1_440,
            Unit::Hour => 720,
            Unit::Day => 30,
            Unit::CalendarDay | Unit::Month | Unit::CalendarMonth => 1,
        }
    }
}

/// Whose requests a rule counts together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// One counter per key, which follows the key through rotations.
    PerKey,
    /// One counter per client address (IPv6 by /64), for all keys under the rule.
    PerIp,
    /// One counter for all keys of the app. What a rule without a mode means.
    PerApp,
    /// One counter per key and client address.
    PerKeyAndIp,
    /// One counter per app and client address.
    PerAppAndIp,
}

impl Mode {
    /// The name on the wire, and the first part of a rule's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Mode::PerKey => "per_key",
            Mode::PerIp => "per_ip",
            Mode::PerApp => "per_app",
            Mode::PerKeyAndIp => "per_key_and_ip",
            Mode::PerAppAndIp => "per_app_and_ip",
        }
    }
}

/// A rule as its author wrote it: what was left out stays left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// The unit of `duration`.
    pub unit: Unit,
    /// The window's length in `unit`s.
    pub duration: i32,
    /// Requests per window; at least 1.
    pub max_requests: i32,
    /// Whose requests count together; absent means [`Mode::PerApp`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// Exact paths, `*`, or prefixes ending in `/*`; absent or empty means every path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<Vec<String>>,
    /// Lower first; absent means 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
}

/// Why a rule is refused. The text names the field, the value and the bound, and is meant for the rule's author.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleFault {
    /// The window is shorter or longer than its unit allows.
    #[error("`duration` is {value}, but with the unit `{}` it must be {}", unit.name(), Bounds(unit.duration_max()))]
    Duration {
        /// The rule's unit.
        unit: Unit,
        /// The rule's duration.
        value: i32,
    },
    /// The limit admits nothing.
    #[error("`max_requests` is {value}, but it must be from 1 to 2147483647")]
    MaxRequests {
        /// The rule's limit.
        value: i32,
    },
    /// Too many endpoints.
    #[error("`endpoints` has {count} entries, but at most {ENDPOINTS_MAX} are allowed")]
    EndpointCount {
        /// How many there are.
        count: usize,
    },
    /// An endpoint that is too long to ever be looked at.
    #[error("`endpoints[{index}]` has {bytes} bytes, but at most {ENDPOINT_BYTES_MAX} are allowed")]
    EndpointLength {
        /// Which one, counted from 0.
        index: usize,
        /// Its length.
        bytes: usize,
    },
    /// An endpoint of another shape than the three that there are.
    #[error(
        "`endpoints[{index}]` is {value:?}, but it must be `*`, a path such as `/v1/invoices`, or a prefix such as `/v1/*`"
    )]
    Endpoint {
        /// Which one, counted from 0.
        index: usize,
        /// The entry.
        value: String,
    },
}

impl RuleFault {
    /// The field of the rule that is at fault.
    #[must_use]
    pub fn field(&self) -> &'static str {
        match self {
            RuleFault::Duration { .. } => "duration",
            RuleFault::MaxRequests { .. } => "max_requests",
            RuleFault::EndpointCount { .. } | RuleFault::EndpointLength { .. } | RuleFault::Endpoint { .. } => {
                "endpoints"
            }
        }
    }
}

/// Writes the durations from 1 to this one.
struct Bounds(i32);

impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            1 => f.write_str("1"),
            max => write!(f, "from 1 to {max}"),
        }
    }
}

impl Rule {
    /// Whether every field is within its bounds; the first that is not, otherwise.
    pub fn validate(&self) -> Result<(), RuleFault> {
        if !(1..=self.unit.duration_max()).contains(&self.duration) {
            return Err(RuleFault::Duration {
                unit: self.unit,
                value: self.duration,
            });
        }
        if self.max_requests < 1 {
            return Err(RuleFault::MaxRequests {
                value: self.max_requests,
            });
        }
        let endpoints = self.endpoints.as_deref().unwrap_or_default();
        if endpoints.len() > ENDPOINTS_MAX {
            return Err(RuleFault::EndpointCount { count: endpoints.len() });
        }
        for (index, endpoint) in endpoints.iter().enumerate() {
            if endpoint.len() > ENDPOINT_BYTES_MAX {
                return Err(RuleFault::EndpointLength {
                    index,
                    bytes: endpoint.len(),
                });
            }
            if EndpointEntry::parse(endpoint).is_none() {
                return Err(RuleFault::Endpoint {
                    index,
                    value: endpoint.clone(),
                });
            }
        }
        Ok(())
    }

    fn window(&self) -> Window {
        let length = u64::try_from(self.duration.clamp(1, self.unit.duration_max())).unwrap_or(1);
        let unit_us = match self.unit {
            Unit::Millisecond => 1_000,
            Unit::Second => SECOND_US,
            Unit::Minute => 60 * SECOND_US,
            Unit::Hour => 3_600 * SECOND_US,
            Unit::Day => 86_400 * SECOND_US,
            Unit::Month => 30 * 86_400 * SECOND_US,
            Unit::CalendarDay => return Window::CalendarDay,
            Unit::CalendarMonth => return Window::CalendarMonth,
        };
        Window::Rolling { us: length * unit_us }
    }
}

/// The window of a compiled rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Window {
    /// Any stretch of this many microseconds.
    Rolling {
        /// Length in microseconds, 1 000 to 30 days.
        us: u64,
    },
    /// From UTC midnight to UTC midnight.
    CalendarDay,
    /// From the first UTC midnight of a month to that of the next.
    CalendarMonth,
}

impl fmt::Display for Window {
    /// The second part of a rule's name: whole seconds where possible, else milliseconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Window::Rolling { us } if us % SECOND_US == 0 => write!(f, "{}s", us / SECOND_US),
            Window::Rolling { us } => write!(f, "{}ms", us / 1_000),
            Window::CalendarDay => f.write_str("calendar_day"),
            Window::CalendarMonth => f.write_str("calendar_month"),
        }
    }
}

/// The rules of one scheme, ready to match.
#[derive(Debug, PartialEq, Eq)]
pub struct RuleSet {
    /// The scheme, or `None` for the gateway's default rules.
    pub scheme_id: Option<SchemeId>,
    /// The rules, lowest priority number first, ties in stored order.
    pub rules: Box<[CompiledRule]>,
}

impl RuleSet {
    /// Compiles the rules of one scheme, given in stored order.
    ///
    /// Rules were validated when they were written. Should one be out of bounds nevertheless, it is read as the strictest rule
    /// near it and never as none: a value goes to its nearest bound, and a list with an endpoint of no known shape holds everywhere.
    #[must_use]
    pub fn compile(scheme_id: Option<SchemeId>, rules: &[Rule]) -> RuleSet {
        let mut ordered: Vec<(usize, &Rule)> = rules.iter().enumerate().collect();
        ordered.sort_by_key(|(_, rule)| rule.priority.unwrap_or(0));
        let mut shared: HashMap<String, u32> = HashMap::new();
        let rules = ordered
            .into_iter()
            .map(|(position, rule)| {
                let mode = rule.mode.unwrap_or(Mode::PerApp);
                let window = rule.window();
                let name = format!("{}-{window}", mode.name());
                let uses = shared.entry(name.clone()).or_default();
                *uses += 1;
                CompiledRule {
                    name: if *uses == 1 {
                        name.into()
                    } else {
                        format!("{name}-{uses}").into()
                    },
                    mode,
                    window,
                    limit: u32::try_from(rule.max_requests).unwrap_or(1).max(1),
                    endpoints: Endpoints::compile(rule.endpoints.as_deref().unwrap_or_default()),
                    position: u16::try_from(position).unwrap_or(u16::MAX),
                }
            })
            .collect();
        RuleSet { scheme_id, rules }
    }
}

/// A rule, ready to match.
#[derive(Debug, PartialEq, Eq)]
pub struct CompiledRule {
    /// The one name used in headers, answers and records: mode and window (`per_key-60s`, `per_app-500ms`,
    /// `per_key-calendar_day`), with an ordinal (`per_key-60s-2`) where two of a scheme would share it.
    pub name: Box<str>,
    /// Whose requests count together.
    pub mode: Mode,
    /// Over what time.
    pub window: Window,
    /// Requests per window, at least 1.
    pub limit: u32,
    /// Paths it holds for.
    pub endpoints: Endpoints,
    /// Index in the stored list. With mode and endpoints it is the identity of the rule's counters across edits.
    pub position: u16,
}

/// The paths a rule holds for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoints {
    /// Every path.
    Every,
    /// Any of these.
    Any(Box<[EndpointPattern]>),
}

/// One entry of a rule's endpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndpointPattern {
    /// This path exactly.
    Exact(Box<str>),
    /// Every path below this one (`/v1/*` holds `/v1/` here and matches `/v1/` and `/v1/x`, not `/v1` and not `/v1x`).
    Below(Box<str>),
}

impl Endpoints {
    fn compile(entries: &[String]) -> Endpoints {
        let mut patterns = Vec::with_capacity(entries.len());
        for entry in entries {
            match EndpointEntry::parse(entry) {
                Some(EndpointEntry::Pattern(pattern)) => patterns.push(pattern),
                Some(EndpointEntry::Every) | None => return Endpoints::Every,
            }
        }
        if patterns.is_empty() {
            Endpoints::Every
        } else {
            Endpoints::Any(patterns.into_boxed_slice())
        }
    }

    /// Whether the rule holds for a request to `path`, which starts with `/` and has no query.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        match self {
            Endpoints::Every => true,
            Endpoints::Any(patterns) => patterns.iter().any(|pattern| pattern.matches(path)),
        }
    }
}

impl EndpointPattern {
    fn matches(&self, path: &str) -> bool {
        match self {
            EndpointPattern::Exact(exact) => path == &**exact,
            EndpointPattern::Below(prefix) => path.starts_with(&**prefix),
        }
    }
}

/// One entry of a rule's endpoints, as read.
enum EndpointEntry {
    Every,
    Pattern(EndpointPattern),
}

impl EndpointEntry {
    /// `None` when the entry has none of the three shapes. A `*` elsewhere, a query or white space would never match a path:
    /// its author meant something that the rule would not do.
    fn parse(entry: &str) -> Option<EndpointEntry> {
        if entry == "*" {
            return Some(EndpointEntry::Every);
        }
        let (path, is_prefix) = match entry.strip_suffix('*') {
            Some(prefix) if prefix.ends_with('/') => (prefix, true),
            Some(_) => return None,
            None => (entry, false),
        };
        let strange = |c: char| matches!(c, '*' | '?' | '#') || c.is_whitespace() || c.is_control();
        if !path.starts_with('/') || path.contains(strange) {
            return None;
        }
        Some(EndpointEntry::Pattern(if is_prefix {
            EndpointPattern::Below(path.into())
        } else {
            EndpointPattern::Exact(path.into())
        }))
    }
}
