//! The page of results: every table, and under each what it measures and what it does not.
//!
//! Decides how figures are shown; measures nothing.

use super::Effort;
use super::latency::Revocations;
use super::preload::Preloaded;
use super::watchers::Watched;
use crate::machine::machine;
use anyhow::Result;
use std::fmt::Write as _;

/// All that was measured.
pub(crate) struct Measured<'a> {
    pub(crate) date: &'a str,
    pub(crate) effort: Effort,
    pub(crate) quiet: &'a Revocations,
    pub(crate) loaded: &'a Revocations,
    pub(crate) preload: &'a Preloaded,
    pub(crate) watchers: &'a Watched,
}

impl Measured<'_> {
    /// The page in Markdown.
    pub(crate) fn page(&self) -> Result<String> {
        let mut page = format!(
            "# How fast a revocation reaches a fleet, {}\n\n{}\n\n",
            self.date,
            machine()
        );
        writeln!(
            page,
            "The control API on SQLite, {} gateways, their upstream and whoever measures are all on this one machine, over loopback. \
             {} revocations of each kind.\n",
            self.effort.gateways, self.effort.revocations
        )?;
        self.latency(&mut page)?;
        self.preload(&mut page)?;
        self.watchers(&mut page)?;
        Ok(page)
    }

    fn latency(&self, page: &mut String) -> Result<()> {
        page.push_str("## From the control API's answer to the first refusal: milliseconds\n\n");
        page.push_str("| | load, requests/s | p50 | p99 | longest | bar for p99 |\n|---|---:|---:|---:|---:|---:|\n");
        for (name, measured, bar) in [("quiet", self.quiet, 25), ("under load", self.loaded, 100)] {
            let load = measured.load_per_second;
            writeln!(
                page,
                "| each gateway, {name} | {load:.0} | {} | {bar} |",
                measured.each.cells()
            )?;
            writeln!(
                page,
                "| the last gateway, {name} | {load:.0} | {} | |",
                measured.last.cells()
            )?;
            writeln!(
                page,
                "| still let through, {name} | {load:.0} | {} | |",
                measured.exposed.cells()
            )?;
        }
        writeln!(
            page,
            "\nEach gateway is asked with the key all the time, two milliseconds after its last answer, so that a figure is up to so much \
             and one request too long; the {} connections that ask are a load of their own. *Still let through* is how long after the \
             answer the last request was sent that any gateway admitted; 0 where none was.\n\n\
             ![share of gateways by time]({}-revocation.svg)\n",
            self.effort.gateways, self.date
        )?;
        page.push_str("## The calls themselves: milliseconds\n\n| | p50 | p99 | longest |\n|---|---:|---:|---:|\n");
        for (name, measured) in [("quiet", self.quiet), ("under load", self.loaded)] {
            writeln!(page, "| revoke, {name} | {} |", measured.call.cells())?;
            writeln!(
                page,
                "| revoke and wait for the fleet, {name} | {} |",
                measured.fleet_call.cells()
            )?;
        }
        page.push('\n');
        Ok(())
    }

    fn preload(&self, page: &mut String) -> Result<()> {
        let Preloaded {
            keys,
            seconds,
            seconds_empty,
            bytes_per_key,
        } = self.preload;
        writeln!(
            page,
            "## Holding every key\n\n| keys | seconds until ready | with no keys | bytes per key |\n|---:|---:|---:|---:|\n\
             | {keys} | {seconds:.1} | {seconds_empty:.1} | {bytes_per_key:.0} |\n\n\
             From the start of a gateway's process until `/readyz` is 200; growth of its resident set.\n"
        )?;
        Ok(())
    }

    fn watchers(&self, page: &mut String) -> Result<()> {
        let watched = self.watchers;
        writeln!(
            page,
            "## Many watchers of one control API\n\n\
             {} watchers, each with an HTTP/2 connection of its own and a ping every {} s, all welcome after {:.1} s: \
             {:.1} KiB of the control API's resident set each.\n\n\
             | milliseconds, {} revocations | p50 | p99 | longest |\n|---|---:|---:|---:|\n\
             | from the call until a watcher has read of it | {} |\n\
             | until the last watcher has | {} |\n\
             | revoke and wait for the fleet | {} |\n\n\
             The watchers run on the same cores as the control API, so that these times are theirs as much as its.",
            watched.watchers,
            self.effort.ping_every.as_secs(),
            watched.seconds,
            watched.bytes_per_watcher / 1024.0,
            self.effort.fan_outs,
            watched.each.cells(),
            watched.last.cells(),
            watched.fleet_call.cells()
        )?;
        Ok(())
    }
}
