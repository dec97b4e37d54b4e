//! Rate-limit rules: as their author wrote them, their bounds, and compiled for matching.
//!
//! Counting is not here; `portcullis-limits` counts. The control API validates with [`Rule::validate`], the cache compiles
//! with [`RuleSet::compile`].

use crate::SchemeId;
use serde::{Deserialize, Serialize};

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

/// The rules of one scheme, ready to match.
#[derive(Debug, PartialEq, Eq)]
pub struct RuleSet {
    /// The scheme, or `None` for the gateway's default rules.
    pub scheme_id: Option<SchemeId>,
    /// The rules, lowest priority number first, ties in stored order.
    pub rules: Box<[CompiledRule]>,
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
    /// Every path below this one (`/v1/*` holds `/v1/` here and matches `/v1/x`, not `/v1` and not `/v1x`).
    Below(Box<str>),
}
