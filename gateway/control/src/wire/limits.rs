//! Where rate limits stand, on the wire.

use crate::wire::{self, RateLimitMode};
use jiff::Timestamp;
use portcullis_limits::CounterUsage;
use portcullis_verify::{CompiledRule, EndpointPattern, Endpoints, Mode, Moment};
use serde::Serialize;
use std::net::IpAddr;
use utoipa::ToSchema;

/// Where the rate limits of a key, an app or an address stand now, in the process that answers. Asking charges nothing.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LimitsAnswer {
    /// The key that was asked about.
    pub(crate) key_id: Option<String>,
    /// Its name.
    pub(crate) key_name: Option<String>,
    /// The app that was asked about, or the key's.
    pub(crate) app_slug: Option<String>,
    /// The address that was asked about; IPv6 as the /64 that is counted together.
    pub(crate) address: Option<String>,
    /// When this was so.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) at: Timestamp,
    /// The rules: of a key or an app those that hold for it, in the order in which they are reported elsewhere; besides, and of
    /// an address only, those that count something now.
    pub(crate) limits: Vec<RuleStanding>,
    /// Whether there were too many schemes to show: more than 100 that count something.
    pub(crate) is_cut_short: bool,
}

/// One rule, with the counters that were asked about.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RuleStanding {
    /// The rule's name, as in headers, `blocked_rule` and records.
    pub(crate) rule: String,
    /// The slug of its scheme; null for the gateway's default rules.
    pub(crate) scheme: Option<String>,
    /// Whose requests count together.
    #[schema(value_type = RateLimitMode)]
    pub(crate) mode: Mode,
    /// Requests per window.
    pub(crate) limit: u32,
    /// The window as in the rule's name: `60s`, `500ms`, `calendar_day` or `calendar_month`.
    pub(crate) window: String,
    /// The paths it holds for; empty for every path.
    pub(crate) endpoints: Vec<String>,
    /// The counters, most used first, at most 20. One that tells addresses apart is here only while something counts in it.
    pub(crate) counters: Vec<CounterStanding>,
    /// How many there are.
    pub(crate) counters_total: usize,
    /// Whether subjects of this rule share counters because `limits.counters_max` is reached: some that were asked about may then
    /// be counted in one of those.
    pub(crate) is_overflowing: bool,
}

/// Where one counter stands.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CounterStanding {
    /// The key it counts: the first of its chain of rotations, all of which are counted together.
    pub(crate) key_id: Option<String>,
    /// That key's name.
    pub(crate) key_name: Option<String>,
    /// The app it counts, or that key's.
    pub(crate) app_slug: Option<String>,
    /// The address it counts; IPv6 by /64.
    pub(crate) address: Option<String>,
    /// Requests that count now.
    pub(crate) used: u32,
    /// Requests that would be admitted now; 0 when the rule blocks.
    pub(crate) remaining: u32,
    /// Seconds until the rule admits one more request, rounded up as in `Retry-After`; 0 when it does now.
    pub(crate) next_in_seconds: u64,
    /// When that is; null when it is now.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) next_at: Option<Timestamp>,
    /// Seconds until `remaining` grows, rounded up; 0 when nothing is used.
    pub(crate) frees_in_seconds: u64,
    /// When that is; null when nothing is used.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) frees_at: Option<Timestamp>,
    /// Whether others are counted in it too, because `limits.counters_max` is reached.
    pub(crate) is_shared: bool,
}

/// Whom a counter counts, by names of the caller's deployment.
#[derive(Debug, Clone, Default)]
pub(crate) struct CountedNames {
    pub(crate) key_id: Option<i64>,
    pub(crate) key_name: Option<String>,
    pub(crate) app_slug: Option<String>,
}

impl RuleStanding {
    /// A rule of a scheme, or of the default rules, without counters yet.
    pub(crate) fn of(scheme: Option<String>, rule: &CompiledRule) -> RuleStanding {
        let path = |pattern: &EndpointPattern| match pattern {
            EndpointPattern::Exact(path) => path.to_string(),
            EndpointPattern::Below(path) => format!("{path}*"),
        };
        RuleStanding {
            rule: rule.name.to_string(),
            scheme,
            mode: rule.mode,
            limit: rule.limit,
            window: rule.window.to_string(),
            endpoints: match &rule.endpoints {
                Endpoints::Every => Vec::new(),
                Endpoints::Any(patterns) => patterns.iter().map(path).collect(),
            },
            counters: Vec::new(),
            counters_total: 0,
            is_overflowing: false,
        }
    }

    /// Whether something counts in it now.
    pub(crate) fn is_in_use(&self) -> bool {
        self.is_overflowing || self.counters.iter().any(|counter| counter.used > 0)
    }
}

impl CounterStanding {
    /// A counter of a rule with this limit, as it stood at `now`.
    pub(crate) fn of(counter: &CounterUsage, limit: u32, names: CountedNames, now: Moment) -> CounterStanding {
        let (next_in_us, frees_in_us) = (counter.next_in_us(), counter.grows_in_us);
        CounterStanding {
            key_id: names.key_id.map(wire::id),
            key_name: names.key_name,
            app_slug: names.app_slug,
            address: counter.address.map(address),
            used: limit.saturating_sub(counter.remaining),
            remaining: counter.remaining,
            next_in_seconds: next_in_us.div_ceil(1_000_000),
            next_at: after(now, next_in_us),
            frees_in_seconds: frees_in_us.div_ceil(1_000_000),
            frees_at: after(now, frees_in_us),
            is_shared: counter.is_shared,
        }
    }
}

/// An address as it is counted.
pub(crate) fn address(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => {
            let network = std::net::Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64);
            format!("{network}/64")
        }
    }
}

/// The time so many microseconds from now; `None` for now itself, and for times that no calendar names.
fn after(now: Moment, us: u64) -> Option<Timestamp> {
    let at_us = now.wall_us.checked_add_unsigned(us).filter(|_| us > 0)?;
    Timestamp::from_microsecond(at_us).ok()
}
