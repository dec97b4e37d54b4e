//! Control APIs, gateways and the links between them, all on this machine: built, broken and mended.
//!
//! Says to the history what it breaks and mends; decides nothing about when. Scenarios do.

use super::dice::Dice;
use super::fault_proxy::Link;
use super::history::{Event, Recorder};
use super::places::{Place, Places};
use super::process::Process;
use super::setup::{GATEWAY_TOKEN, Setup};
use crate::support;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::net::TcpListener;

/// The management token of every control API.
pub const TOKEN: &str = support::TOKEN;

/// A running fleet.
pub struct Cluster {
    /// What it is made of.
    pub setup: Setup,
    /// Where it is.
    pub places: Arc<Places>,
    /// The way of each gateway to a control API.
    pub links: Vec<Link>,
    controls: Vec<Option<Process>>,
    gateways: Vec<Option<Process>>,
    lives: Vec<u32>,
    stands_still: Vec<bool>,
    upstream: SocketAddr,
    recorder: Arc<Recorder>,
    folder: TempDir,
}

impl Cluster {
    /// Starts all of it. Gateways listen, but need not have heard of anything yet.
    pub async fn start(setup: Setup, recorder: Arc<Recorder>, dice: &Dice) -> Cluster {
        let places = Arc::new(Places::new(setup.controls, setup.gateways.len()));
        let mut cluster = Cluster {
            places,
            links: Vec::new(),
            controls: (0..setup.controls).map(|_| None).collect(),
            gateways: setup.gateways.iter().map(|_| None).collect(),
            lives: vec![0; setup.gateways.len()],
            stands_still: vec![false; setup.gateways.len()],
            upstream: start_upstream().await,
            recorder,
            folder: TempDir::new().expect("a temporary folder"),
            setup,
        };
        for number in 0..cluster.setup.controls {
            cluster.start_control(number).await;
        }
        for number in 0..cluster.setup.gateways.len() {
            let control = cluster.places.controls()[number % cluster.setup.controls];
            cluster.links.push(Link::start(control, dice.fork()).await);
            cluster.start_gateway(number).await;
        }
        cluster
    }

    /// The folder of all files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts a control API, and leads to it the links that have none that is up.
    pub async fn start_control(&mut self, number: usize) {
        let folder = self.own_folder(&format!("control-{number}"));
        let store = match &self.setup.store {
            Some(url) => url.clone(),
            None => format!("sqlite://{}", self.store_file().display()),
        };
        let config = format!("[control]\nstore = {store:?}\n{}\n", self.setup.control_settings);
        let mut command = role("control", &folder, &config);
        command
            .env("PORTCULLIS__CONTROL__LISTEN", "127.0.0.1:0")
            .env("PORTCULLIS_BOOTSTRAP_TOKEN", TOKEN)
            .env("PORTCULLIS_BOOTSTRAP_GATEWAY_TOKEN", GATEWAY_TOKEN);
        let process = Process::start(command, &format!("control API {number}"), Arc::clone(&self.recorder));
        let address = process.listening("control").await;
        self.controls[number] = Some(process);
        self.places.set_control(number, Some(address));
        self.recorder.fault(format!("control API {number} runs on {address}"));
        if self.setup.controls == 1 {
            for link in &self.links {
                link.lead_to(address);
            }
        }
    }

    /// Ends a control API as in a power cut. Links that led to it lead nowhere.
    pub fn kill_control(&mut self, number: usize) {
        self.recorder.fault(format!("control API {number} is killed"));
        self.places.set_control(number, None);
        if let Some(mut process) = self.controls[number].take() {
            process.kill();
        }
        self.recorder.fault(format!("control API {number} is dead"));
    }

    /// Ends a control API in good order.
    pub async fn end_control(&mut self, number: usize) {
        self.recorder.fault(format!("control API {number} is asked to end"));
        self.places.set_control(number, None);
        if let Some(mut process) = self.controls[number].take() {
            process.end().await;
        }
        self.recorder.fault(format!("control API {number} has ended"));
    }

    /// A control API's process.
    pub fn control(&self, number: usize) -> &Process {
        self.controls[number].as_ref().expect("it runs")
    }

    /// Leads a gateway to another control API, if that one is up.
    pub fn lead(&self, gateway: usize, control: usize) {
        if let Some(address) = self.places.control(control) {
            self.recorder
                .fault(format!("gateway {gateway} is led to control API {control}"));
            self.links[gateway].lead_to(address);
        }
    }

    /// Starts a gateway, on the files of its earlier lives.
    pub async fn start_gateway(&mut self, number: usize) {
        let folder = self.own_folder(&format!("gateway-{number}"));
        let config = self
            .setup
            .gateway_config(number, self.links[number].address, self.upstream);
        let command = role("gateway", &folder, &config);
        let process = Process::start(command, &format!("gateway {number}"), Arc::clone(&self.recorder));
        let place = Place {
            proxy: process.listening("proxy").await,
            admin: process.listening("admin").await,
            life: self.lives[number],
        };
        self.gateways[number] = Some(process);
        self.places.set_gateway(number, Some(place));
        self.recorder
            .fault(format!("gateway {number} runs, life {}", place.life));
    }

    /// Ends a gateway as in a power cut.
    pub fn kill_gateway(&mut self, number: usize) {
        self.recorder.fault(format!("gateway {number} is killed"));
        self.places.set_gateway(number, None);
        if let Some(mut process) = self.gateways[number].take() {
            process.kill();
            self.lives[number] += 1;
        }
        self.stands_still[number] = false;
    }

    /// Stops a gateway as a whole, its sockets left open.
    pub fn stop_gateway(&mut self, number: usize) {
        self.gateway(number).stand_still();
        self.stands_still[number] = true;
        self.recorder.fault(format!("gateway {number} stands still"));
    }

    /// Lets a gateway go on.
    pub fn proceed_gateway(&mut self, number: usize) {
        if std::mem::take(&mut self.stands_still[number]) {
            self.recorder.fault(format!("gateway {number} goes on"));
            self.gateway(number).proceed();
        }
    }

    /// Whether a gateway stands still.
    pub fn gateway_stands_still(&self, number: usize) -> bool {
        self.stands_still[number]
    }

    /// Whether a control API runs.
    pub fn control_runs(&self, number: usize) -> bool {
        self.controls[number].is_some()
    }

    /// A gateway's process.
    pub fn gateway(&self, number: usize) -> &Process {
        self.gateways[number].as_ref().expect("it runs")
    }

    /// Whether a gateway runs.
    pub fn gateway_runs(&self, number: usize) -> bool {
        self.gateways[number].is_some()
    }

    /// A gateway's snapshot file.
    pub fn snapshot_file(&self, number: usize) -> PathBuf {
        self.folder().join(format!("gateway-{number}")).join("gateway.snapshot")
    }

    /// The SQLite file.
    pub fn store_file(&self) -> PathBuf {
        self.folder().join("portcullis.db")
    }

    /// Copies the store aside. No process may have it open.
    pub fn back_up(&self) {
        copy_store(self.folder(), &self.own_folder("backup"));
        let at = self.recorder.now();
        self.recorder.note(Event::BackedUp { at });
    }

    /// Puts the copy in the store's place as an operator would, into the same files or `anew`. What else lies beside the database
    /// stays. No process may have it open.
    pub fn restore(&self, anew: bool) {
        if anew {
            std::fs::remove_file(self.store_file()).expect("the store is there");
        }
        copy_store(&self.own_folder("backup"), self.folder());
        let at = self.recorder.now();
        self.recorder.note(Event::Restored { at });
    }

    /// Mends everything: links pass, who stands still goes on, who is down is started.
    pub async fn heal(&mut self) {
        self.recorder.fault("all is mended");
        for number in 0..self.controls.len() {
            if self.controls[number].is_none() {
                self.start_control(number).await;
            }
        }
        for (number, link) in self.links.iter().enumerate() {
            link.heal();
            if self.setup.controls > 1 {
                self.lead(number, number % self.setup.controls);
            }
        }
        for number in 0..self.gateways.len() {
            self.proceed_gateway(number);
            if self.gateways[number].is_none() {
                self.start_gateway(number).await;
            }
        }
    }

    /// What all processes logged last, for whoever has to read why a run failed.
    pub fn newest_lines(&self, count: usize) -> String {
        let mut all = String::new();
        let running = self.controls.iter().map(|process| ("control API", process));
        let running = running.chain(self.gateways.iter().map(|process| ("gateway", process)));
        for (number, (role, process)) in running.enumerate() {
            if let Some(process) = process {
                let _ = writeln!(all, "-- {role} (process {number}):\n{}", process.newest_lines(count));
            }
        }
        all
    }

    fn own_folder(&self, name: &str) -> PathBuf {
        let folder = self.folder().join(name);
        std::fs::create_dir_all(&folder).expect("a folder");
        folder
    }
}

/// A role of the binary in a folder of its own.
fn role(name: &str, folder: &Path, config: &str) -> Command {
    let file = folder.join("portcullis.toml");
    std::fs::write(&file, config).expect("the configuration is written");
    let mut command = Command::new(support::binary());
    command
        .args([name, "--config"])
        .arg(&file)
        .current_dir(folder)
        .env("PORTCULLIS__ADMIN__LISTEN", "127.0.0.1:0")
        .env("PORTCULLIS__LOG__FORMAT", "json");
    if name == "gateway" {
        command
            .env("PORTCULLIS__GATEWAY__LISTEN", "127.0.0.1:0")
            .env("PORTCULLIS__GATEWAY__AUTHZ_LISTEN", "127.0.0.1:0");
    }
    command
}

/// Copies the database and its write-ahead log, where there is one. One that lies beside what is written over goes: it would be read
/// into the copy.
fn copy_store(from: &Path, to: &Path) {
    for name in ["portcullis.db-wal", "portcullis.db-shm"] {
        let _ = std::fs::remove_file(to.join(name));
    }
    for name in ["portcullis.db", "portcullis.db-wal"] {
        if from.join(name).exists() {
            std::fs::copy(from.join(name), to.join(name)).expect("the store is copied");
        }
    }
}

/// An upstream that answers `ok` and remembers nothing.
async fn start_upstream() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let service = hyper::service::service_fn(|_| async {
                    Ok::<_, Infallible>(http::Response::new(http_body_util::Full::new(
                        bytes::Bytes::from_static(b"ok"),
                    )))
                });
                // A gateway that was killed broke it off.
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(hyper_util::rt::TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    address
}
