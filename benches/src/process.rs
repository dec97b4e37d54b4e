//! Processes of the release binary, and what the kernel and their logs tell of them.
//!
//! Decides how they are started and ended; knows nothing of what is measured. Called by the measurements that need real processes.

use anyhow::{Context, Result, bail, ensure};
use portcullis_verify::Clock;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The management token.
pub(crate) const TOKEN: &str = "bench-management-token-0123456789";
/// The gateway token.
pub(crate) const GATEWAY_TOKEN: &str = "bench-gateway-token-0123456789abcdef";
/// How long anything may take before a measurement is given up.
const PATIENCE: Duration = Duration::from_secs(300);

/// What is started.
pub(crate) struct Launch<'a> {
    /// The binary.
    pub(crate) binary: &'a Path,
    /// Its first argument.
    pub(crate) role: &'a str,
    /// Where it runs and finds its configuration; made when it is not there.
    pub(crate) folder: &'a Path,
    /// Its configuration file.
    pub(crate) config: String,
    /// Settings from the environment, which win over the file.
    pub(crate) variables: Vec<(&'a str, String)>,
}

/// A running process, which ends with this.
pub(crate) struct Process {
    child: Child,
    log: Arc<Mutex<Log>>,
}

/// What a process has told of itself.
#[derive(Default)]
struct Log {
    listening: Vec<(String, SocketAddr)>,
    last_line: String,
    has_ended: bool,
}

impl Process {
    /// Starts it, on the processors that this thread may use.
    pub(crate) fn start(launch: &Launch<'_>) -> Result<Process> {
        std::fs::create_dir_all(launch.folder)?;
        let file = launch.folder.join("portcullis.toml");
        std::fs::write(&file, &launch.config)?;
        let mut child = Command::new(launch.binary)
            .args([launch.role, "--config"])
            .arg(&file)
            .current_dir(launch.folder)
            .env("PORTCULLIS__LOG__FORMAT", "json")
            .env("PORTCULLIS_BOOTSTRAP_TOKEN", TOKEN)
            .env("PORTCULLIS_BOOTSTRAP_GATEWAY_TOKEN", GATEWAY_TOKEN)
            .envs(launch.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", launch.binary.display()))?;
        let log = Arc::new(Mutex::new(Log::default()));
        let sink = Arc::clone(&log);
        let stderr = child.stderr.take().context("standard error is piped")?;
        std::thread::spawn(move || {
            let log = || sink.lock().unwrap_or_else(PoisonError::into_inner);
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                log().listening.extend(told(&line));
                log().last_line = line;
            }
            log().has_ended = true;
        });
        Ok(Process { child, log })
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it listens for `surface`.
    pub(crate) async fn listening(&self, surface: &str) -> Result<SocketAddr> {
        until(&format!("a process listens for {surface}"), async || {
            let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
            ensure!(!log.has_ended, "it ended: {}", log.last_line);
            let mut listening = log.listening.iter();
            Ok(listening.find(|(name, _)| name == surface).map(|(_, address)| *address))
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
