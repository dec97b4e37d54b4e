//! Portcullis under load beside other gateways, on one machine and by turns.
//!
//! Decides the order of the measurements and where they are written; each module does one thing. Called by the `compare-gateways`
//! binary, which is also the upstream and the relay when it is asked to be.

mod arguments;
mod cores;
mod envoy;
mod generator;
mod haproxy;
mod histogram;
mod http2;
mod milestones;
mod nginx;
mod page;
mod peers;
mod plot;
mod portcullis;
mod readiness;
mod relay;
mod reply;
mod requests;
mod rotation;
mod scale;
mod sections;
mod server;
mod servers;
mod table;
mod transport;
mod upstream;
mod usage;

use anyhow::{Context, Result};
use arguments::Arguments;
use cores::Cores;
use page::Page;
use requests::Keys;
use scale::Sizes;
use sections::{Course, Section, Table};
use server::{Foreign, Setup};
use servers::Servers;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

/// Keys that every gateway knows; fewer when the course is only tried.
const KEYS: usize = 100_000;
const KEYS_WHEN_QUICK: usize = 2_000;

/// Compares, or is the upstream or the relay.
///
/// # Errors
/// When an argument is not known, a program is missing, one does not do what it is asked, or a result cannot be written.
pub fn run(arguments: &[String]) -> Result<()> {
    match arguments {
        [role] if role == upstream::ARGUMENT => return upstream::serve(),
        [role, upstream] if role == relay::ARGUMENT => return relay::serve(upstream.parse()?),
        _ => {}
    }
    let arguments = Arguments::parse(arguments)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(compare(&arguments))
}

async fn compare(arguments: &Arguments) -> Result<()> {
    let cores = Cores::take()?;
    let (upstream, upstream_address) = cores.on(cores.upstream, || Foreign::own_role(&[upstream::ARGUMENT]))?;
    let temporary = tempfile::tempdir().context("cannot make a temporary folder")?;
    let setup = Setup {
        cores,
        folder: temporary.path().to_owned(),
        upstream: upstream_address,
        keys: Arc::new(Keys::generate(if arguments.is_quick { KEYS_WHEN_QUICK } else { KEYS })?),
    };
    let date = crate::machine::date()?;
    let mut course = Course::new(Servers::new(setup, arguments), arguments);
    let mut scale = Vec::new();
    for section in arguments.sections() {
        course.measure(section).await?;
        if section == Section::Scale {
            let sizes = Sizes::of(arguments.is_quick, &arguments.scale_keys);
            for build in arguments.builds.iter().filter(|build| arguments.wants(&build.label)) {
                let measured = scale::measure(&course.servers.setup, build, &sizes).await?;
                scale.push((build.label.clone(), measured));
            }
        }
    }
    drop(upstream);
    std::fs::create_dir_all(&arguments.folder)?;
    if !scale.is_empty() {
        let page = page::of_scale(&date, &arguments.builds, &scale)?;
        write(&arguments.folder.join(format!("{date}-scale.md")), &page)?;
    }
    if course.tables.is_empty() {
        return Ok(());
    }
    let page = Page {
        date: &date,
        arguments,
        cores,
        tables: &course.tables,
        plots: &draw(&course.tables, arguments, &date)?,
    };
    write(&arguments.folder.join(format!("{date}-load.md")), &page.write()?)
}

/// Draws what was measured, and gives the files' names with what they show.
fn draw(tables: &[Table], arguments: &Arguments, date: &str) -> Result<Vec<(String, &'static str)>> {
    let own: Vec<String> = arguments.builds.iter().map(|build| build.label.clone()).collect();
    let mut plots = Vec::new();
    for (section, name, title) in [
        (Section::Mixed, "mixed", "Keys drawn at random from 100 000"),
        (Section::OneKey, "one-key", "One key again and again"),
        (Section::Junk, "junk", "Refusing keys of wrong checksums"),
    ] {
        if let Some(table) = tables.iter().find(|table| table.section == section) {
            let file = format!("{date}-load-{name}.svg");
            plot::bars(title, &table.measured, &own, &arguments.folder.join(&file))?;
            plots.push((file, title));
        }
    }
    Ok(plots)
}

fn write(file: &Path, text: &str) -> Result<()> {
    std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?;
    progress(&format!("wrote {}", file.display()));
    Ok(())
}

/// Says where the program is.
fn progress(what: &str) {
    // Nobody is left to tell when standard error is closed.
    let _ = writeln!(std::io::stderr(), "{what}");
}
