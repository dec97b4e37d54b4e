//! A running server that is measured: what it is called, where it listens, and whose processor time counts.
//!
//! Decides how foreign programs are started and ended; knows nothing of their configuration. Each peer's module writes that.

use super::cores::Cores;
use super::requests::Keys;
use super::transport::Endpoint;
use super::usage::family;
use crate::process::until;
use anyhow::{Context, Result, bail};
use std::any::Any;
use std::cell::Cell;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

/// What every server is set up over.
pub(crate) struct Setup {
    /// Who runs where.
    pub(crate) cores: Cores,
    /// Where configurations and stores are written.
    pub(crate) folder: PathBuf,
    /// The API behind the gateways.
    pub(crate) upstream: SocketAddr,
    /// The keys that open it.
    pub(crate) keys: Arc<Keys>,
}

impl Setup {
    /// How many keys open it.
    pub(crate) fn key_count(&self) -> u32 {
        u32::try_from(self.keys.count()).unwrap_or(u32::MAX)
    }

    /// The same for servers that know other keys, in a folder of their own.
    pub(crate) fn with_keys(&self, keys: &Arc<Keys>, folder: &str) -> Setup {
        Setup {
            cores: self.cores,
            folder: self.folder.join(folder),
            upstream: self.upstream,
            keys: Arc::clone(keys),
        }
    }
}

/// A server, which ends with this.
pub(crate) struct Server {
    /// What the tables call it.
    pub(crate) name: String,
    /// What it does for each request, in short.
    pub(crate) does: &'static str,
    /// Where it listens, and how.
    pub(crate) endpoint: Endpoint,
    /// Whose processor time and memory count.
    pub(crate) processes: Vec<u32>,
    is_used: Cell<bool>,
    /// The processes themselves, which end when they are dropped.
    _running: Box<dyn Any>,
}

impl Server {
    /// A server that listens already.
    pub(crate) fn new(
        name: String,
        does: &'static str,
        address: SocketAddr,
        processes: Vec<u32>,
        running: Box<dyn Any>,
    ) -> Server {
        Server {
            name,
            does,
            endpoint: Endpoint::plain(address),
            processes,
            is_used: Cell::new(false),
            _running: running,
        }
    }

    /// Whether this is asked for the first time.
    pub(crate) fn first_use(&self) -> bool {
        !self.is_used.replace(true)
    }

    /// Keeps something else running as long as this.
    pub(crate) fn beside(mut self, other: impl Any) -> Server {
        self._running = Box::new((self._running, other));
        self
    }

    /// The same, when it speaks TLS.
    pub(crate) fn over_tls(mut self) -> Result<Server> {
        self.endpoint = Endpoint::tls(self.endpoint.address)?;
        Ok(self)
    }

    /// Starts a foreign program on the gateway's core, and waits until it listens.
    pub(crate) async fn foreign(
        setup: &Setup,
        name: &str,
        does: &'static str,
        address: SocketAddr,
        command: &mut Command,
    ) -> Result<Server> {
        let mut foreign = setup.cores.on(setup.cores.gateway, || Foreign::start(command))?;
        until(&format!("{name} listens"), async || {
            if let Some(ended) = foreign.child.try_wait()? {
                bail!("{name} ended: {ended}");
            }
            Ok(TcpStream::connect(address).ok())
        })
        .await?;
        let processes = family(foreign.child.id());
        Ok(Server::new(
            name.to_owned(),
            does,
            address,
            processes,
            Box::new(foreign),
        ))
    }
}

/// A foreign program, which ends with this.
pub(crate) struct Foreign {
    child: Child,
}

impl Foreign {
    fn start(command: &mut Command) -> Result<Foreign> {
        let program = command.get_program().to_owned();
        let child = command.stdin(Stdio::null()).spawn();
        let child = child.with_context(|| format!("cannot start {}", Path::new(&program).display()))?;
        Ok(Foreign { child })
    }

    /// Starts this program in another role, which tells its address first.
    pub(crate) fn own_role(arguments: &[&str]) -> Result<(Foreign, SocketAddr)> {
        let program = std::env::current_exe().context("cannot find this program")?;
        let mut foreign = Foreign::start(Command::new(program).args(arguments).stdout(Stdio::piped()))?;
        let stdout = foreign.child.stdout.take().context("standard output is piped")?;
        let mut address = String::new();
        BufReader::new(stdout).read_line(&mut address)?;
        Ok((foreign, address.trim().parse()?))
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        // Its children would outlive a killed parent; it has ended already, then, when there is none.
        for process in family(self.child.id()) {
            if let Some(process) = i32::try_from(process).ok().and_then(rustix::process::Pid::from_raw) {
                let _ = rustix::process::kill_process(process, rustix::process::Signal::KILL);
            }
        }
        let _ = self.child.wait();
    }
}

/// An address that was free a moment ago.
pub(crate) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
