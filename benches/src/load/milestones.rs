//! How far Portcullis is from what it was aimed at, read from the tables.
//!
//! Decides the milestones and how they are held against figures; measures nothing.

use super::peers;
use super::portcullis::{Build, Mode};
use super::rotation::{Measured, Slice};
use super::sections::{Section, Table};
use crate::limiters::figures::span;
use anyhow::Result;
use std::fmt::Write as _;

struct Milestone {
    section: Section,
    against: &'static str,
    at_least: f64,
    is_a_must: bool,
}

const fn must(section: Section, against: &'static str, at_least: f64) -> Milestone {
    Milestone {
        section,
        against,
        at_least,
        is_a_must: true,
    }
}

const MILESTONES: [Milestone; 7] = [
    must(Section::Mixed, peers::HAPROXY_MAP, 1.25),
    must(Section::Mixed, peers::NGINX_LUA, 1.4),
    must(Section::Mixed, peers::ENVOY_KEYS, 2.5),
    must(Section::Mixed, peers::NGINX_MAP, 0.9),
    Milestone {
        section: Section::Mixed,
        against: peers::NGINX_MAP,
        at_least: 1.0,
        is_a_must: false,
    },
    Milestone {
        section: Section::Mixed,
        against: peers::NGINX_BARE,
        at_least: 1.0,
        is_a_must: false,
    },
    must(Section::Junk, peers::HAPROXY_MAP, 1.0),
];

/// The section of the page; empty when nothing was measured that a milestone is read from.
pub(crate) fn section(tables: &[Table], builds: &[Build]) -> Result<String> {
    let mut rows = String::new();
    for build in builds {
        for milestone in &MILESTONES {
            for table in tables.iter().filter(|table| table.section == milestone.section) {
                let of = |name: &str| table.measured.iter().find(|measured| measured.name == name);
                let (Some(own), Some(peer)) = (of(&build.name(Mode::Proxy)), of(milestone.against)) else {
                    continue;
                };
                let per_core = Ratio::of(own, peer, |slice| slice.core_ratio);
                let per_second = Ratio::of(own, peer, |slice| slice.ratio);
                writeln!(
                    rows,
                    "| {} | {}, {} | {:.2}{} | {} | {} | {} |",
                    build.label,
                    milestone.against,
                    table.caption,
                    milestone.at_least,
                    if milestone.is_a_must { "" } else { " (goal)" },
                    per_core.spelled(),
                    per_second.spelled(),
                    if per_core.middle >= milestone.at_least {
                        "yes"
                    } else {
                        "no"
                    }
                )?;
            }
        }
    }
    if rows.is_empty() {
        return Ok(rows);
    }
    Ok(format!(
        "## Milestones\n\nRequests per core-second of Portcullis, as a proxy with three limits, against a peer's; both by their neighbouring \
         slices of the base.\n\n| build | against | aimed at | per core-second | per second | reached |\n|---|---|---:|---:|---:|---|\n{rows}\n"
    ))
}

struct Ratio {
    low: f64,
    middle: f64,
    high: f64,
}

impl Ratio {
    /// Round by round. The base has no ratio to itself: it is 1.
    fn of(own: &Measured, peer: &Measured, figure: fn(&Slice) -> f64) -> Ratio {
        let peers = peer
            .slices
            .iter()
            .map(|slice| Some(figure(slice)).filter(|ratio| ratio.is_finite()).unwrap_or(1.0));
        let ratios: Vec<f64> = own
            .slices
            .iter()
            .zip(peers)
            .map(|(slice, peer)| figure(slice) / peer)
            .collect();
        let [low, middle, high] = span(&ratios);
        Ratio { low, middle, high }
    }

    fn spelled(&self) -> String {
        format!("{:.2} ({:.2}–{:.2})", self.middle, self.low, self.high)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(name: &str, core_ratios: &[f64]) -> Measured {
        let slice = |&core_ratio: &f64| Slice {
            per_second: 1.0,
            cpu_us: 1.0,
            user_us: 0.5,
            system_us: 0.5,
            p50_us: 1,
            p99_us: 1,
            p999_us: 1,
            megabytes_per_second: 1.0,
            memory_bytes: 1,
            busy: 1.0,
            foreign: 0.0,
            ratio: core_ratio,
            core_ratio,
        };
        Measured {
            name: name.to_owned(),
            does: "",
            slices: core_ratios.iter().map(slice).collect(),
        }
    }

    #[test]
    fn a_milestone_is_reached_by_the_median_of_the_rounds() {
        let check = |own: &[f64], expected: &str| {
            let tables = [Table {
                section: Section::Mixed,
                caption: "x".to_owned(),
                measured: vec![
                    measured(peers::NGINX_BARE, &[f64::NAN, f64::NAN, f64::NAN, f64::NAN]),
                    measured("ours", own),
                    measured(peers::HAPROXY_MAP, &[0.5, 0.5, 0.5]),
                ],
            }];
            let builds = [Build {
                label: "ours".to_owned(),
                binary: "ours".into(),
            }];
            let text = section(&tables, &builds).expect("it is written");
            assert!(text.contains(expected), "{text}");
        };
        check(
            &[0.5, 0.7, 0.9],
            "| ours | haproxy static map, x | 1.25 | 1.40 (1.00–1.80) | 1.40 (1.00–1.80) | yes |",
        );
        check(
            &[0.5, 0.6, 0.9],
            "| ours | haproxy static map, x | 1.25 | 1.20 (1.00–1.80) | 1.20 (1.00–1.80) | no |",
        );
        check(
            &[0.5, 0.6, 0.9],
            "| ours | nginx bare, x | 1.00 (goal) | 0.60 (0.50–0.90) | 0.60 (0.50–0.90) | no |",
        );
    }

    #[test]
    fn without_a_table_there_is_no_section() {
        assert_eq!(section(&[], &[]).expect("it is written"), "");
    }
}
