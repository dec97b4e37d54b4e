//! What the caller of the comparison asks for.
//!
//! Decides the defaults; measures nothing.

use super::portcullis::Build;
use super::rotation::Effort;
use super::sections::Section;
use anyhow::{Context, Result, ensure};
use clap::{Parser, ValueEnum};
use std::path::{Path, PathBuf};

/// Compares gateways under load.
#[derive(Parser)]
#[command(name = "compare-gateways")]
struct Typed {
    /// Tries the whole course on little; figures mean nothing, and go to target/load-quick/.
    #[arg(long)]
    quick: bool,
    /// Turns of each target.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of a slice.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// How often a slice that others disturbed is taken again.
    #[arg(long, default_value_t = 2)]
    repeats: usize,
    /// Only these targets, beside nginx bare: whole names or beginnings of them.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Only these parts.
    #[arg(long, value_enum, value_delimiter = ',')]
    section: Vec<Section>,
    /// In the section of scale, only these numbers of keys.
    #[arg(long, value_delimiter = ',')]
    keys: Vec<u32>,
    /// A further build of portcullis to measure beside this one. Repeatable.
    #[arg(long, value_name = "LABEL=PATH")]
    portcullis: Vec<String>,
    /// Where results are written, instead of benches/results/.
    #[arg(long)]
    folder: Option<PathBuf>,
}

/// What is measured, and where it is written.
pub(crate) struct Arguments {
    pub(crate) effort: Effort,
    only: Vec<String>,
    sections: Vec<Section>,
    pub(crate) scale_keys: Vec<u32>,
    pub(crate) is_quick: bool,
    pub(crate) builds: Vec<Build>,
    pub(crate) folder: PathBuf,
}

impl Arguments {
    /// Reads the arguments; asked for help, it ends the process with it.
    pub(crate) fn parse(arguments: &[String]) -> Result<Arguments> {
        let program = std::iter::once("compare-gateways".to_owned());
        let typed = match Typed::try_parse_from(program.chain(arguments.iter().cloned())) {
            Ok(typed) => typed,
            Err(told) => told.exit(),
        };
        typed.resolve()
    }

    /// The parts that are asked for, in their order.
    pub(crate) fn sections(&self) -> impl Iterator<Item = Section> {
        let all = Section::value_variants().iter().copied();
        all.filter(|section| self.sections.is_empty() || self.sections.contains(section))
    }

    /// Whether a target of this name is asked for.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| name.starts_with(only.as_str()))
    }
}

impl Typed {
    fn resolve(self) -> Result<Arguments> {
        ensure!(
            self.rounds > 0 && self.seconds >= 0.1,
            "a slice takes at least a tenth of a second, and there is at least one"
        );
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let own = std::env::current_exe()?.with_file_name("portcullis");
        let mut builds = Vec::new();
        if own.exists() {
            builds.push(Build {
                label: "portcullis".to_owned(),
                binary: own,
            });
        }
        for typed in &self.portcullis {
            let (label, path) = typed.split_once('=').context("a build is given as LABEL=PATH")?;
            let binary = std::fs::canonicalize(path).with_context(|| format!("there is no {path}"))?;
            builds.push(Build {
                label: label.to_owned(),
                binary,
            });
        }
        ensure!(
            !builds.is_empty(),
            "there is no portcullis beside this program: `cargo build --release --bin portcullis`, or --portcullis LABEL=PATH"
        );
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| here.join("../target"), PathBuf::from);
        let folder = if self.quick {
            target.join("load-quick")
        } else {
            here.join("results")
        };
        let (rounds, seconds) = if self.quick {
            (1, 0.2)
        } else {
            (self.rounds, self.seconds)
        };
        Ok(Arguments {
            effort: Effort {
                rounds,
                slice_us: u64::try_from(std::time::Duration::from_secs_f64(seconds).as_micros())?,
                repeats: if self.quick { 0 } else { self.repeats },
                foreign_max: 0.05,
            },
            only: self.only,
            sections: self.section,
            scale_keys: self.keys,
            is_quick: self.quick,
            builds,
            folder: self.folder.unwrap_or(folder),
        })
    }
}
