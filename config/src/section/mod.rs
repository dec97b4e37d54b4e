//! What each section of the file asks for: its keys, their types and their bounds.
//!
//! One file per section. They read through [`Reader`]; what concerns two sections is in [`crate::cross_check`].

mod authz;
mod control;
mod gateway;
mod limits;
mod listener;
mod log;
mod protection;
mod route;
pub(crate) mod upstream;

use crate::reader::Reader;
use crate::settings::Settings;
use std::time::Duration;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// Most entries a table in memory may be told to hold: past this it is a slip of the finger.
const ENTRIES_MAX: i64 = 100_000_000;
const INSTANT: Duration = Duration::from_millis(10);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);

/// Reads the whole file.
pub(crate) fn settings(reader: &mut Reader<'_>) -> Settings {
    let mut settings = Settings::default();
    reader.section("control", |section| control::read(section, &mut settings.control));
    reader.section("gateway", |section| gateway::read(section, &mut settings.gateway));
    reader.section("authz", |section| authz::read(section, &mut settings.authz));
    reader.section("admin", |section| control::read_admin(section, &mut settings.admin));
    reader.section("limits", |section| limits::read(section, &mut settings.limits));
    reader.section("cache", |section| protection::read_cache(section, &mut settings.cache));
    reader.section("failures", |section| {
        protection::read_failures(section, &mut settings.failures)
    });
    reader.section("log", |section| log::read(section, &mut settings.log));
    reader.read("routes", &mut settings.routes, route::read_all);
    settings
}
