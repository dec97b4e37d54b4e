//! Rate-limit rules: as their author wrote them, their bounds, and compiled for matching.
//!
//! Counting is not here; `portcullis-limits` counts. The control API validates with [`Rule::validate`], the cache compiles
//! with [`RuleSet::compile`].

mod endpoints;
mod fault;
#[cfg(test)]
mod tests;

pub use endpoints::{EndpointPattern, Endpoints};
pub use fault::{ENDPOINT_BYTES_MAX, ENDPOINTS_MAX, RuleFault};

use crate::{Derived, SchemeId, SchemeRecord};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fmt;

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

impl Rule {
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
#[derive(Debug)]
pub struct RuleSet {
    /// The scheme, or `None` for the gateway's default rules.
    pub scheme_id: Option<SchemeId>,
    /// They hold for a key by itself, while other rules hold for its app.
    pub is_keys_own: bool,
    /// The rules, lowest priority number first, ties in stored order.
    pub rules: Box<[CompiledRule]>,
    /// What the limiter works out of them on first use.
    pub limiter_view: Derived,
}

impl PartialEq for RuleSet {
    fn eq(&self, other: &RuleSet) -> bool {
        (self.scheme_id, self.is_keys_own, &self.rules) == (other.scheme_id, other.is_keys_own, &other.rules)
    }
}

impl Eq for RuleSet {}

impl RuleSet {
    /// Compiles the rules of a record's scheme.
    #[must_use]
    pub fn of_record(scheme: &SchemeRecord) -> RuleSet {
        RuleSet {
            is_keys_own: scheme.is_keys_own,
            ..RuleSet::compile(Some(scheme.id), &scheme.rules)
        }
    }

    /// Compiles the rules of one scheme that an app has, given in stored order.
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
        RuleSet {
            scheme_id,
            is_keys_own: false,
            rules,
            limiter_view: Derived::default(),
        }
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
