//! `[cache]` and `[failures]`: what keeps look-ups from reaching the source too often.

use super::{ENTRIES_MAX, HOUR, INSTANT, MINUTE};
use crate::reader::Reader;
use crate::settings::{Cache, Failures};
use std::time::Duration;

pub(crate) fn read_cache(section: &mut Reader<'_>, cache: &mut Cache) {
    section.read("keys_max", &mut cache.keys_max, |field| field.integer(1..=ENTRIES_MAX));
    section.read("unknown_keys_max", &mut cache.unknown_keys_max, |field| {
        field.integer(1..=ENTRIES_MAX)
    });
    section.read("unknown_ttl", &mut cache.unknown_ttl, |field| {
        field.duration(Duration::from_millis(1)..=HOUR)
    });
    section.read("fills_max", &mut cache.fills_max, |field| field.integer(1..=65_536));
    section.read("fill_timeout", &mut cache.fill_timeout, |field| {
        field.duration(INSTANT..=MINUTE)
    });
}

pub(crate) fn read_failures(section: &mut Reader<'_>, failures: &mut Failures) {
    section.read("burst", &mut failures.burst, |field| field.integer(1..=1_000_000));
    section.read("per_minute", &mut failures.per_minute, |field| {
        field.integer(1..=1_000_000)
    });
    section.read("addresses_max", &mut failures.addresses_max, |field| {
        field.integer(1..=ENTRIES_MAX)
    });
}
