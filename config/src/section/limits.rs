//! `[limits]`: where counters live, whether they outlive the process, and which rules hold for keys without a scheme.

use super::{ENTRIES_MAX, HOUR};
use crate::reader::{Field, Reader};
use crate::scalar;
use crate::settings::Limits;
use portcullis_verify::{Mode, Rule, Unit};
use std::time::Duration;

/// Most default rules, as many as a scheme may have.
const RULES_MAX: usize = 32;

const UNITS: [(&str, Unit); 8] = [
    ("millisecond", Unit::Millisecond),
    ("second", Unit::Second),
    ("minute", Unit::Minute),
    ("hour", Unit::Hour),
    ("day", Unit::Day),
    ("calendar_day", Unit::CalendarDay),
    ("month", Unit::Month),
    ("calendar_month", Unit::CalendarMonth),
];

const MODES: [(&str, Mode); 5] = [
    ("per_key", Mode::PerKey),
    ("per_ip", Mode::PerIp),
    ("per_app", Mode::PerApp),
    ("per_key_and_ip", Mode::PerKeyAndIp),
    ("per_app_and_ip", Mode::PerAppAndIp),
];

pub(crate) fn read(section: &mut Reader<'_>, limits: &mut Limits) {
    section.read("store", &mut limits.store, |field| field.parse(store));
    let rules_are_sound = section.read("default_rules", &mut limits.default_rules, |field| {
        field.list(|field| field.table(rule))
    });
    let count = limits.default_rules.len();
    if rules_are_sound && count > RULES_MAX {
        section.fault(
            "default_rules",
            format!("has {count} rules, but at most {RULES_MAX}: each costs every request"),
        );
    }
    section.read("counters_max", &mut limits.counters_max, |field| {
        field.integer(1..=ENTRIES_MAX)
    });
    section.read("legacy_headers", &mut limits.legacy_headers, |field| field.boolean());
    section.read("persist", &mut limits.persist, |field| field.boolean());
    section.read("persist_file", &mut limits.persist_file, |field| {
        field.parse(scalar::path)
    });
    section.read("persist_interval", &mut limits.persist_interval, |field| {
        field.duration(Duration::from_secs(1)..=HOUR)
    });
}

/// The store's URL may hold a password: it is not quoted.
fn store(text: &str) -> Result<String, String> {
    let redis = ["redis://", "rediss://", "valkey://", "valkeys://"]
        .iter()
        .any(|scheme| text.starts_with(scheme));
    match text {
        "local" => Ok(text.to_owned()),
        _ if redis => Err("counters in Redis are not in this version: write \"local\"".to_owned()),
        _ => Err("is not a place for counters: write \"local\"".to_owned()),
    }
}

fn rule(table: &mut Reader<'_>) -> Option<Rule> {
    let i32_bounds = || i64::from(i32::MIN)..=i64::from(i32::MAX);
    let unit = table.required("unit", "\"minute\"", |field| field.choice(&UNITS));
    let duration = table.required("duration", "1", |field| field.integer(i32_bounds()));
    let max_requests = table.required("max_requests", "1000", |field| field.integer(i32_bounds()));
    let (mut mode, mut endpoints, mut priority) = (None, None, None);
    table.read("mode", &mut mode, |field| field.choice(&MODES).map(Some));
    table.read("endpoints", &mut endpoints, |field| field.list(text).map(Some));
    table.read("priority", &mut priority, |field| field.integer(i32_bounds()).map(Some));
    let rule = Rule {
        unit: unit?,
        duration: duration?,
        max_requests: max_requests?,
        mode,
        endpoints,
        priority,
    };
    if let Err(fault) = rule.validate() {
        table.fault(fault.field(), fault.to_string());
        return None;
    }
    Some(rule)
}

fn text(field: Field<'_>) -> Option<String> {
    field.parse(|text| Ok(text.to_owned()))
}
