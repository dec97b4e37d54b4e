//! Rate-limit schemes and their rules on the wire.

use crate::bounds;
use crate::fault::{Broken, Fault, Faults};
use crate::field::{Field, FromJson};
use crate::wire;
use jiff::Timestamp;
use portcullis_store::entity::{NewScheme, Scheme, SchemePatch};
use portcullis_verify::{Mode, Rule, Unit};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// Most rules of one scheme: each costs every request under it.
const RULES_MAX: usize = 32;

/// A rate-limit scheme: rules that apps and keys share.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RateLimitScheme {
    /// Its id, a 64-bit integer.
    id: String,
    /// The deployment it belongs to.
    deployment_id: String,
    /// Its name in paths and references.
    slug: String,
    /// Its name for people.
    name: String,
    /// Free text.
    description: Option<String>,
    /// Its rules as they were written: what was left out stays left out.
    #[schema(value_type = Vec<RateLimit>)]
    rules: Vec<Rule>,
    /// When it was created.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When it was last changed.
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

impl From<Scheme> for RateLimitScheme {
    fn from(scheme: Scheme) -> Self {
        RateLimitScheme {
            id: wire::id(scheme.id),
            deployment_id: wire::id(scheme.deployment_id),
            slug: scheme.slug,
            name: scheme.name,
            description: scheme.description,
            rules: scheme.rules,
            created_at: scheme.created_at,
            updated_at: scheme.updated_at,
        }
    }
}

/// The schemes of a deployment.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RateLimitSchemeList {
    /// How many there are.
    pub(crate) total: usize,
    /// All of them.
    pub(crate) schemes: Vec<RateLimitScheme>,
}

/// The unit of a window's length.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RateLimitUnit {
    Millisecond,
    Second,
    Minute,
    Hour,
    Day,
    CalendarDay,
    Month,
    CalendarMonth,
}

impl From<RateLimitUnit> for Unit {
    fn from(unit: RateLimitUnit) -> Self {
        match unit {
            RateLimitUnit::Millisecond => Unit::Millisecond,
            RateLimitUnit::Second => Unit::Second,
            RateLimitUnit::Minute => Unit::Minute,
            RateLimitUnit::Hour => Unit::Hour,
            RateLimitUnit::Day => Unit::Day,
            RateLimitUnit::CalendarDay => Unit::CalendarDay,
            RateLimitUnit::Month => Unit::Month,
            RateLimitUnit::CalendarMonth => Unit::CalendarMonth,
        }
    }
}

/// Whose requests a rule counts together.
#[expect(clippy::enum_variant_names, reason = "the names on the wire start so")]
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RateLimitMode {
    PerKey,
    PerIp,
    PerApp,
    PerKeyAndIp,
    PerAppAndIp,
}

impl From<RateLimitMode> for Mode {
    fn from(mode: RateLimitMode) -> Self {
        match mode {
            RateLimitMode::PerKey => Mode::PerKey,
            RateLimitMode::PerIp => Mode::PerIp,
            RateLimitMode::PerApp => Mode::PerApp,
            RateLimitMode::PerKeyAndIp => Mode::PerKeyAndIp,
            RateLimitMode::PerAppAndIp => Mode::PerAppAndIp,
        }
    }
}

/// One rule: at most `max_requests` in any window of `duration` units.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub(crate) struct RateLimit {
    /// The unit of `duration`.
    #[schema(value_type = RateLimitUnit, required = true)]
    unit: Field<RateLimitUnit>,
    /// At most 60 000 milliseconds, 1 800 seconds, 1 440 minutes, 720 hours or 30 days; 1 for the other units.
    #[schema(value_type = i32, required = true, minimum = 1)]
    duration: Field<i32>,
    /// Requests per window.
    #[schema(value_type = i32, required = true, minimum = 1)]
    max_requests: Field<i32>,
    /// Whose requests count together; `per_app` when left out.
    #[schema(value_type = Option<RateLimitMode>)]
    mode: Field<RateLimitMode>,
    /// The paths it holds for: exact ones, `*`, or prefixes ending in `/*`; every path when left out or empty.
    #[schema(value_type = Option<Vec<String>>, max_items = 256)]
    endpoints: Field<Vec<String>>,
    /// Rules with lower numbers come first; 0 when left out.
    #[schema(value_type = Option<i32>)]
    priority: Field<i32>,
}

impl FromJson for RateLimit {
    fn from_json(value: Value) -> Result<Self, Vec<Broken>> {
        if !value.is_object() {
            return Err(Broken::whole("must be an object"));
        }
        serde_json::from_value(value).map_err(|_| Broken::whole("must be an object"))
    }
}

impl RateLimit {
    /// The rule at `index` of its scheme; notes in `faults` all that is wrong with it.
    fn validate(self, index: usize, faults: &mut Faults) -> Option<Rule> {
        let at = |field: &str| format!("rules[{index}].{field}");
        let unit = faults.required(&at("unit"), self.unit, Ok);
        let duration = faults.required(&at("duration"), self.duration, Ok);
        let max_requests = faults.required(&at("max_requests"), self.max_requests, Ok);
        let mode = faults.optional(&at("mode"), self.mode, Ok);
        let endpoints = faults.optional(&at("endpoints"), self.endpoints, Ok);
        let priority = faults.optional(&at("priority"), self.priority, Ok);
        let rule = Rule {
            unit: unit?.into(),
            duration: duration?,
            max_requests: max_requests?,
            mode: mode.map(Mode::from),
            endpoints,
            priority,
        };
        if let Err(fault) = rule.validate() {
            faults.refuse(format!("In `rules[{index}]`, {fault}."));
        }
        Some(rule)
    }
}

/// The rules of a scheme, in the caller's order; notes in `faults` all that is wrong with them.
fn rules(list: Vec<RateLimit>, faults: &mut Faults) -> Vec<Rule> {
    if list.is_empty() || list.len() > RULES_MAX {
        faults.refuse(format!("`rules` must have 1 to {RULES_MAX} entries."));
        return Vec::new();
    }
    list.into_iter()
        .enumerate()
        .filter_map(|(index, rule)| rule.validate(index, faults))
        .collect()
}

/// A new scheme.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub(crate) struct CreateRateLimitSchemeRequest {
    /// Its name in paths and references.
    #[schema(value_type = String, required = true, pattern = "^[a-z0-9][a-z0-9_-]{0,63}$")]
    slug: Field<String>,
    /// Its name for people.
    #[schema(value_type = String, required = true, min_length = 1, max_length = 255)]
    name: Field<String>,
    /// Free text.
    #[schema(value_type = Option<String>, max_length = 2000)]
    description: Field<String>,
    /// Its rules.
    #[schema(value_type = Vec<RateLimit>, required = true, min_items = 1, max_items = 32)]
    rules: Field<Vec<RateLimit>>,
}

impl CreateRateLimitSchemeRequest {
    /// What the store takes, or all that is wrong.
    pub(crate) fn validate(self) -> Result<NewScheme, Vec<Fault>> {
        let mut faults = Faults::default();
        let slug = faults.required("slug", self.slug, bounds::slug);
        let name = faults.required("name", self.name, bounds::name);
        let description = faults
            .optional("description", self.description, bounds::description)
            .flatten();
        let rules = faults
            .required("rules", self.rules, Ok)
            .map(|list| rules(list, &mut faults));
        let scheme = slug.zip(name).zip(rules).map(|((slug, name), rules)| NewScheme {
            slug,
            name,
            description,
            rules,
        });
        faults.or(scheme)
    }
}

/// Changes to a scheme. What is left out, or null, stays; an empty description clears it.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub(crate) struct UpdateRateLimitSchemeRequest {
    /// Its name for people.
    #[schema(value_type = Option<String>, min_length = 1, max_length = 255)]
    name: Field<String>,
    /// Free text.
    #[schema(value_type = Option<String>, max_length = 2000)]
    description: Field<String>,
    /// All of its rules from now on; what was used under them still counts where mode, endpoints and position match.
    #[schema(value_type = Option<Vec<RateLimit>>, min_items = 1, max_items = 32)]
    rules: Field<Vec<RateLimit>>,
}

impl UpdateRateLimitSchemeRequest {
    /// What the store takes, or all that is wrong.
    pub(crate) fn validate(self) -> Result<SchemePatch, Vec<Fault>> {
        let mut faults = Faults::default();
        let patch = SchemePatch {
            name: faults.optional("name", self.name, bounds::name),
            description: faults.optional("description", self.description, bounds::description),
            rules: faults
                .optional("rules", self.rules, Ok)
                .map(|list| rules(list, &mut faults)),
        };
        faults.or(Some(patch))
    }
}
