//! A control API and gateways as processes of the release binary, in a temporary folder.
//!
//! Decides how they are set up; measures nothing.

use super::caller::Caller;
use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use portcullis_verify::Clock;
use serde_json::json;
use std::convert::Infallible;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::TcpListener;

/// The management token.
const TOKEN: &str = "bench-management-token-0123456789";
/// The gateway token.
pub(crate) const GATEWAY_TOKEN: &str = "bench-gateway-token-0123456789abcdef";
/// The one app.
pub(crate) const APP: &str = "bench";
/// How long anything may take before a measurement is given up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

/// A running process, which ends with this.
pub(crate) struct Process {
    child: Child,
    listening: Arc<Mutex<Vec<(String, SocketAddr)>>>,
}

/// A running fleet.
pub(crate) struct Fleet {
    folder: TempDir,
    control: Option<Process>,
    /// The control API.
    pub(crate) address: SocketAddr,
    upstream: SocketAddr,
    gateways: Vec<Process>,
    last_proxy: Option<SocketAddr>,
}

impl Fleet {
    /// Starts a control API with one app and no gateway.
    pub(crate) async fn start() -> Result<Fleet> {
        let folder = TempDir::new().context("cannot make a temporary folder")?;
        let mut fleet = Fleet {
            folder,
            control: None,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            upstream: start_upstream().await?,
            gateways: Vec::new(),
            last_proxy: None,
        };
        fleet.start_control().await?;
        let app = json!({"app_slug": APP, "name": APP, "key_prefix": "sk"});
        fleet.api().must("/api-auth/apps", &app).await?;
        Ok(fleet)
    }

    /// Starts the control API, on the store that is there.
    pub(crate) async fn start_control(&mut self) -> Result<()> {
        let config = format!(
            "[control]\nstore = \"sqlite://{}\"\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n",
            self.store().display()
        );
        let process = Process::start("control", &self.folder.path().join("control"), &config)?;
        self.address = process.listening("control").await?;
        self.control = Some(process);
        Ok(())
    }

    /// Ends the control API.
    pub(crate) fn stop_control(&mut self) {
        self.control = None;
    }

    /// The control API's process id.
    pub(crate) fn control_pid(&self) -> Result<u32> {
        Ok(self
            .control
            .as_ref()
            .context("the control API does not run")?
            .child
            .id())
    }

    /// The SQLite file.
    pub(crate) fn store(&self) -> PathBuf {
        self.folder.path().join("portcullis.db")
    }

    /// A connection to the control API.
    pub(crate) fn api(&self) -> Caller {
        Caller::new(self.address, TOKEN)
    }

    /// Starts a gateway; gives its proxy and its metrics. It need not be ready.
    pub(crate) async fn start_gateway(&mut self, preload: bool) -> Result<(SocketAddr, SocketAddr)> {
        let config = format!(
            "[gateway]\nlisten = [\"127.0.0.1:0\"]\nauthz_listen = \"127.0.0.1:0\"\ncontrol_url = \"http://{}\"\n\
             control_token = \"{GATEWAY_TOKEN}\"\npreload = {preload}\n[admin]\nlisten = \"127.0.0.1:0\"\n[cache]\n\
             keys_max = 2000000\n[limits]\ndefault_rules = []\n[[routes]]\nupstreams = [\"http://{}\"]\napps = [\"{APP}\"]\n",
            self.address, self.upstream
        );
        let folder = self.folder.path().join(format!("gateway-{}", self.gateways.len()));
        let process = Process::start("gateway", &folder, &config)?;
        let (proxy, admin) = (process.listening("proxy").await?, process.listening("admin").await?);
        self.gateways.push(process);
        self.last_proxy = Some(proxy);
        Ok((proxy, admin))
    }

    /// The process id of the gateway that was started last.
    pub(crate) fn last_gateway_pid(&self) -> Result<u32> {
        Ok(self.gateways.last().context("no gateway runs")?.child.id())
    }

    /// The proxy of the gateway that was started last.
    pub(crate) fn last_proxy(&self) -> Result<SocketAddr> {
        self.last_proxy.context("no gateway runs")
    }

    /// Ends the gateway that was started last.
    pub(crate) fn stop_last_gateway(&mut self) {
        self.gateways.pop();
    }
}

impl Process {
    fn start(role: &str, folder: &Path, config: &str) -> Result<Process> {
        std::fs::create_dir_all(folder)?;
        let file = folder.join("portcullis.toml");
        std::fs::write(&file, config)?;
        let binary = std::env::current_exe()?.with_file_name("portcullis");
        let mut child = Command::new(&binary)
            .args([role, "--config"])
            .arg(&file)
            .current_dir(folder)
            .env("PORTCULLIS__LOG__FORMAT", "json")
            .env("PORTCULLIS_BOOTSTRAP_TOKEN", TOKEN)
            .env("PORTCULLIS_BOOTSTRAP_GATEWAY_TOKEN", GATEWAY_TOKEN)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", binary.display()))?;
        let listening = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&listening);
        let stderr = child.stderr.take().context("standard error is piped")?;
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if let Some(told) = told(&line) {
                    sink.lock().unwrap_or_else(PoisonError::into_inner).push(told);
                }
            }
        });
        Ok(Process { child, listening })
    }

    async fn listening(&self, surface: &str) -> Result<SocketAddr> {
        until(&format!("a process listens for {surface}"), async || {
            let told = self.listening.lock().unwrap_or_else(PoisonError::into_inner);
            Ok(told
                .iter()
                .find(|(name, _)| name == surface)
                .map(|(_, address)| *address))
        })
        .await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It has ended already, then.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Surface and address, when a log line tells of a listener.
fn told(line: &str) -> Option<(String, SocketAddr)> {
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    if line["message"] != "listening" {
        return None;
    }
    let surface = line["surface"].as_str()?.to_owned();
    Some((surface, line["address"].as_str()?.parse().ok()?))
}

/// Looks until there is an answer, or gives up.
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    let begun = now_us();
    loop {
        if let Some(found) = look().await? {
            return Ok(found);
        }
        if Duration::from_micros(now_us() - begun) > PATIENCE {
            bail!("it never happened: {what}");
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Monotonic microseconds.
pub(crate) fn now_us() -> u64 {
    Clock::system().now().monotonic_us
}

/// Milliseconds from one time to a later one.
pub(crate) fn milliseconds(from_us: u64, to_us: u64) -> f64 {
    Duration::from_micros(to_us.saturating_sub(from_us)).as_secs_f64() * 1e3
}

/// The resident set of a process in bytes.
pub(crate) fn resident_bytes(pid: u32) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    Ok(kib.context("the kernel tells no resident set")? * 1024.0)
}

async fn start_upstream() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let service = hyper::service::service_fn(|_| async {
                    Ok::<_, Infallible>(http::Response::new(Full::new(Bytes::from_static(b"ok"))))
                });
                // A gateway that ended broke it off.
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    Ok(address)
}
