//! The page of results: machine, method, a table for each load, and the distance to the milestones.
//!
//! Decides how figures are shown; measures nothing. The comparison writes what it returns.

use super::arguments::Arguments;
use super::cores::Cores;
use super::milestones;
use super::portcullis::Build;
use super::scale::Scale;
use super::sections::{Section, Table};
use super::{servers, table};
use crate::limiters::figures::{span, thousands};
use crate::machine::machine;
use anyhow::Result;
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// All that was measured.
pub(crate) struct Page<'a> {
    pub(crate) date: &'a str,
    pub(crate) arguments: &'a Arguments,
    pub(crate) cores: Cores,
    pub(crate) tables: &'a [Table],
    /// Files of plots, with what they show.
    pub(crate) plots: &'a [(String, &'static str)],
}

impl Page<'_> {
    /// The page in Markdown.
    pub(crate) fn write(&self) -> Result<String> {
        let mut page = head(
            "Gateways under load",
            self.date,
            &servers::versions(&self.arguments.builds),
        )?;
        self.method(&mut page)?;
        page.push_str(&milestones::section(self.tables, &self.arguments.builds)?);
        for (file, shown) in self.plots {
            writeln!(page, "![{shown}]({file})\n")?;
        }
        page.push_str("| target | does |\n|---|---|\n");
        let mut told = BTreeSet::new();
        for target in self.tables.iter().flat_map(|table| &table.measured) {
            if told.insert(&target.name) {
                writeln!(page, "| {} | {} |", target.name, target.does)?;
            }
        }
        page.push('\n');
        let mut last = None;
        for table in self.tables {
            if last.replace(table.section) != Some(table.section) {
                writeln!(page, "## {}\n\n{}\n", table.section.title(), table.section.meaning())?;
            }
            writeln!(page, "**{}**\n\n{}", table.caption, table::table(&table.measured)?)?;
        }
        Ok(page)
    }

    fn method(&self, page: &mut String) -> Result<()> {
        let Cores {
            gateway,
            generator,
            upstream,
        } = self.cores;
        let shared = if gateway == generator {
            "everything shares one core, so that requests per second mean nothing here"
        } else if generator == upstream {
            "generator and upstream share the other"
        } else {
            "generator and upstream have one each"
        };
        let effort = self.arguments.effort;
        writeln!(
            page,
            "The server under test has core {gateway} alone with one worker; {shared} (cores {generator} and {upstream}). All servers stay up on \
             their own ports; slices of {:.1} s rotate through them, {} rounds, with the base before and after each three. Each gateway has \
             seen every key once before. A slice in which others used more than {:.0} % of these cores was taken again, up to {} times, and \
             the least disturbed kept. Compare lines of one table with each other, not with another day's.\n",
            effort.slice_us as f64 / 1e6,
            effort.rounds,
            effort.foreign_max * 100.0,
            effort.repeats
        )?;
        page.push_str(
            "Figures are medians; brackets hold the lowest and the highest. CPU is what the kernel counts for the server's processes, \
             over the requests of the slice; the split into user and system is by its ticks of 10 ms. *Ratio to the base* compares requests per second \
             with the mean of the neighbouring slices of the base. *Per core-second* compares requests per second of processor time in \
             the same way: it holds where the generator's core is the one that is full, too. Latencies are those of a closed loop: each \
             connection sends its next request when its last is answered. Memory is the proportional set of the processes.\n\n\
             Equal work: the same 100 000 keys, a limit per key, per address and per app that none reaches, identity headers to the upstream, \
             the key stripped. The run asks each gateway for that before it measures it. Portcullis alone hashes its keys, tells the caller of its limits, \
             counts strictly, and can revoke a key while it runs.\n\n",
        );
        Ok(())
    }
}

impl Section {
    fn title(self) -> &'static str {
        match self {
            Section::Mixed => "Keys drawn at random from 100 000",
            Section::OneKey => "One key",
            Section::Junk => "Junk",
            Section::Bodies => "Bodies",
            Section::Connections => "Connections",
            Section::Keys => "Population",
            Section::Workers => "Workers",
            Section::Scale => "Scale",
        }
    }

    fn meaning(self) -> &'static str {
        match self {
            Section::Mixed => "What a gateway with many customers meets, and what the milestones are read from.",
            Section::OneKey => "The same request again and again: flatters whatever keeps the last key near.",
            Section::Junk => {
                "Keys that open nothing. Most servers refuse faster than the generator asks: look at the requests per core-second. An address \
                 that guesses keys of a good checksum too often is answered 429 by Portcullis."
            }
            Section::Bodies => {
                "Answers of other lengths, and requests with bodies; MB/s is what the generator read, heads included."
            }
            Section::Connections => {
                "One connection shows the time of a single request, 1 024 show what idle neighbours cost."
            }
            Section::Workers => {
                "Two workers use both cores, on which generator and upstream run too, so that requests per second say nothing of them. Requests per \
                 core-second do: two workers that each serve nine tenths of what one alone does are worth 1.8, where they have cores to themselves."
            }
            Section::Keys => "One gateway that holds a million keys and their counters, of which so many are sent.",
            Section::Scale => "",
        }
    }
}

/// The page of what grows with keys and connections.
pub(crate) fn of_scale(date: &str, builds: &[Build], measured: &[(String, Scale)]) -> Result<String> {
    let versions: Vec<String> = builds.iter().map(servers::version_of).collect();
    let mut page = head("Memory and start-up", date, &versions)?;
    for (build, scale) in measured {
        write_scale(&mut page, build, scale)?;
    }
    Ok(page)
}

fn head(title: &str, date: &str, versions: &[String]) -> Result<String> {
    let mut page = format!("# {title}, {date}\n\n{}\n\n", machine());
    for version in versions {
        writeln!(page, "- {version}")?;
    }
    page.push('\n');
    Ok(page)
}

fn write_scale(page: &mut String, build: &str, scale: &Scale) -> Result<()> {
    writeln!(page, "## {build}\n")?;
    page.push_str(
        "Growth of the resident set by each key: of a preloaded gateway, which holds all from the start, and after each was used once under three \
         limits; and of one that held none, and looked each up when it was first used. The use of a key makes its own counter; address and app \
         are the same for all.\n\n",
    );
    page.push_str(
        "| keys | preloaded, bytes per key | preloaded and used, bytes per key | cached and used, bytes per key | preloaded and used, resident set, MB |\n\
         |---:|---:|---:|---:|---:|\n",
    );
    for keys in &scale.per_key {
        writeln!(
            page,
            "| {} | {:.0} | {:.0} | {:.0} | {:.0} |",
            thousands(keys.keys),
            keys.held_bytes,
            keys.used_bytes,
            keys.cached_bytes,
            keys.resident_bytes / 1e6
        )?;
    }
    page.push_str("\nGrowth by each idle connection that has been answered once.\n\n| kind | connections | bytes per connection |\n|---|---:|---:|\n");
    for connections in &scale.per_connection {
        writeln!(
            page,
            "| {} | {} | {:.0} |",
            connections.kind, connections.connections, connections.bytes
        )?;
    }
    let [low, middle, high] = span(&scale.first_answer);
    writeln!(
        page,
        "\nFrom the start of the process to its first answer of a key, with nothing cached: {middle:.0} ms ({low:.0}–{high:.0}), {} times.\n",
        scale.first_answer.len()
    )?;
    Ok(())
}
