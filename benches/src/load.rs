//! Portcullis under load beside other gateways, on one machine and by turns.
//!
//! Decides the order of the measurements and where they are written; each module does one thing. Called by the `compare-gateways`
//! binary, which is also the upstream and the relay when it is asked to be.

mod arguments;
mod cores;
mod generator;
mod histogram;
mod nginx;
mod portcullis;
mod readiness;
mod relay;
mod reply;
mod requests;
mod rotation;
mod server;
mod table;
mod upstream;
mod usage;

use crate::limiters::draws::Spread;
use anyhow::{Context, Result};
use arguments::Arguments;
use cores::Cores;
use requests::{Keys, Order, Requests, Template};
use rotation::Target;
use server::{Foreign, Server, Setup};
use std::io::Write as _;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

/// Keys that every gateway knows.
const KEYS: u32 = 100_000;
/// Connections of the load generator.
const CONNECTIONS: usize = 64;

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
        keys: Arc::new(Keys::generate(usize::try_from(KEYS)?)?),
    };
    progress("starting the servers");
    let base = Rc::new(nginx::bare(&setup).await?);
    let mut servers = Vec::new();
    if arguments.wants("raw relay") {
        servers.push(relay(&setup)?);
    }
    for build in &arguments.builds {
        if arguments.wants(&build.label) {
            servers.push(portcullis::serve(&setup, build, &[]).await?);
        }
    }
    let order = Order::drawn(setup.keys.count().try_into()?, Spread::Uniform);
    let target = |server: &Rc<Server>, order: &Order| Target {
        server: Rc::clone(server),
        name: server.name.clone(),
        requests: Requests::new(Template::get("/v1/things"), &setup.keys, order),
        connections: CONNECTIONS,
        status: 200,
    };
    let servers: Vec<Rc<Server>> = servers.into_iter().map(Rc::new).collect();
    for server in &servers {
        rotation::warm(&target(server, &Order::each(KEYS)))?;
    }
    let targets: Vec<Target> = servers.iter().map(|server| target(server, &order)).collect();
    let measured = rotation::rotate(&target(&base, &order), &targets, arguments.effort, &setup.cores)?;
    drop(upstream);
    let page = table::table(&measured)?;
    write(&arguments.folder.join("mixed.md"), &page)
}

fn relay(setup: &Setup) -> Result<Server> {
    let upstream = setup.upstream.to_string();
    let cores = &setup.cores;
    let (relay, address) = cores.on(cores.gateway, || Foreign::own_role(&[relay::ARGUMENT, &upstream]))?;
    let processes = vec![relay.id()];
    Ok(Server::new(
        "raw relay".to_owned(),
        "copies bytes; the floor",
        address,
        processes,
        Box::new(relay),
    ))
}

fn write(file: &Path, text: &str) -> Result<()> {
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?;
    progress(&format!("wrote {}", file.display()));
    Ok(())
}

/// Says where the program is.
fn progress(what: &str) {
    // Nobody is left to tell when standard error is closed.
    let _ = writeln!(std::io::stderr(), "{what}");
}
