//! The program that is walked, as a process in a temporary folder.
//!
//! Decides how it is set up; sends it nothing but the wish to end. Called by [`crate::course`].

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::mpsc;

/// The management token.
pub(crate) const TOKEN: &str = "training-management-token-0123456789";
/// The gateway token.
pub(crate) const GATEWAY_TOKEN: &str = "training-gateway-token-0123456789abcdef";
/// How long it may take to start, and to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where a process listens. What its role has not is the address that nobody listens at, with port 0.
#[derive(Debug, Clone)]
pub(crate) struct Addresses {
    /// The control API.
    pub(crate) control: SocketAddr,
    /// The reverse proxy without TLS, with TLS, and for HTTP/2 without TLS.
    pub(crate) proxy: [SocketAddr; 3],
    /// The decision API.
    pub(crate) authz: SocketAddr,
    /// Metrics and health.
    pub(crate) admin: SocketAddr,
}

/// A running process; killed if it is dropped before it was asked to end.
pub(crate) struct Gateway {
    child: Child,
    _folder: TempDir,
    /// Where it listens.
    pub(crate) at: Addresses,
}

/// The file of this name among the certificates of the proxy's tests.
pub(crate) fn certificate(file: &str) -> String {
    format!(
        "{}/../../gateway/proxy/tests/certificates/{file}",
        env!("CARGO_MANIFEST_DIR")
    )
}

impl Gateway {
    /// Starts `portcullis serve` in front of an upstream. With `fast_path` off everything goes through pingora-proxy.
    ///
    /// # Errors
    /// When it does not come up.
    pub(crate) async fn serve(program: &Path, upstream: SocketAddr, fast_path: bool) -> Result<Gateway> {
        let settings = [
            ("PORTCULLIS__CONTROL__LISTEN", "127.0.0.1:0".to_owned()),
            ("PORTCULLIS__CONTROL__STORE", "sqlite://portcullis.db".to_owned()),
            ("PORTCULLIS_BOOTSTRAP_TOKEN", TOKEN.to_owned()),
            ("PORTCULLIS_BOOTSTRAP_GATEWAY_TOKEN", GATEWAY_TOKEN.to_owned()),
            ("PORTCULLIS__GATEWAY__FAST_PATH", fast_path.to_string()),
        ];
        Gateway::start(program, "serve", upstream, &settings).await
    }

    /// Starts `portcullis gateway`, which follows the control API of another process and holds every key.
    ///
    /// # Errors
    /// When it does not come up.
    pub(crate) async fn follow(program: &Path, upstream: SocketAddr, control: SocketAddr) -> Result<Gateway> {
        let settings = [
            ("PORTCULLIS__GATEWAY__CONTROL_URL", format!("http://{control}")),
            ("PORTCULLIS__GATEWAY__CONTROL_TOKEN", GATEWAY_TOKEN.to_owned()),
            ("PORTCULLIS__GATEWAY__PRELOAD", "true".to_owned()),
        ];
        Gateway::start(program, "gateway", upstream, &settings).await
    }

    async fn start(program: &Path, role: &str, upstream: SocketAddr, settings: &[(&str, String)]) -> Result<Gateway> {
        let folder = TempDir::new().context("cannot make a temporary folder")?;
        let file = folder.path().join("portcullis.toml");
        std::fs::write(&file, config(upstream))?;
        let mut child = Command::new(program)
            .args([role, "--config"])
            .arg(&file)
            .current_dir(folder.path())
            .env("PORTCULLIS__LOG__FORMAT", "json")
            .envs(settings.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("{} cannot be started", program.display()))?;
        let stderr = child.stderr.take().context("standard error is piped")?;
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut gateway = Gateway {
            child,
            _folder: folder,
            at: Addresses {
                control: nowhere,
                proxy: [nowhere; 3],
                authz: nowhere,
                admin: nowhere,
            },
        };
        let mut lines = told(stderr);
        tokio::time::timeout(PATIENCE, gateway.is_ready(&mut lines))
            .await
            .context("the process is not ready in time")??;
        Ok(gateway)
    }

    /// Takes down where it listens until it says that it is ready. In the order of the configuration.
    async fn is_ready(&mut self, lines: &mut mpsc::UnboundedReceiver<String>) -> Result<()> {
        let mut proxies = self.at.proxy.iter_mut();
        let mut last = String::new();
        while let Some(line) = lines.recv().await {
            let told: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
            let address = told["address"].as_str().and_then(|text| text.parse().ok());
            match (told["message"].as_str(), told["surface"].as_str(), address) {
                (Some("listening"), Some("control"), Some(address)) => self.at.control = address,
                (Some("listening"), Some("authz"), Some(address)) => self.at.authz = address,
                (Some("listening"), Some("admin"), Some(address)) => self.at.admin = address,
                (Some("listening"), Some("proxy"), Some(address)) => {
                    *proxies.next().context("more listeners than were asked for")? = address;
                }
                (Some("ready"), ..) => return Ok(()),
                _ => {}
            }
            last = line;
        }
        bail!("the process ended before it was ready; its last words: {last}")
    }

    /// Asks it to end, and waits: it writes its profile last.
    ///
    /// # Errors
    /// When it does not end, or not well.
    pub(crate) async fn end(mut self) -> Result<()> {
        let pid = i32::try_from(self.child.id())
            .ok()
            .and_then(Pid::from_raw)
            .context("a process has an id")?;
        kill_process(pid, Signal::TERM)?;
        let ended = tokio::time::timeout(PATIENCE, async {
            loop {
                if let Some(status) = self.child.try_wait()? {
                    return anyhow::Ok(status);
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        let status = ended.await.context("the process does not end when asked to")??;
        ensure!(status.success(), "the process ended with {status}");
        Ok(())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It has ended already, then.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The lines that it logs, read to the end so that it never has to wait for us.
fn told(stderr: ChildStderr) -> mpsc::UnboundedReceiver<String> {
    let (sender, receiver) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            // Nobody listens any more once it was ready.
            let _ = sender.send(line);
        }
    });
    receiver
}

fn config(upstream: SocketAddr) -> String {
    let rule = |mode: &str| {
        format!(
            "[[limits.default_rules]]\nunit = \"minute\"\nduration = 1\nmax_requests = 2_000_000_000\nmode = \"{mode}\"\n"
        )
    };
    let route = |path: &str, app: &str, more: &str| {
        format!("[[routes]]\npath = \"{path}\"\nupstreams = [\"http://{upstream}\"]\napps = [\"{app}\"]\n{more}\n")
    };
    [
        format!(
            "[gateway]\nlisten = [\"127.0.0.1:0\", {{ address = \"127.0.0.1:0\", tls = {{ cert = \"{}\", key = \"{}\" }} }}, \
             {{ address = \"127.0.0.1:0\", h2c = true }}]\nauthz_listen = \"127.0.0.1:0\"\n\
             [admin]\nlisten = \"127.0.0.1:0\"\n",
            certificate("server.pem"),
            certificate("server.key")
        ),
        ["per_key", "per_ip", "per_app"].map(rule).concat(),
        route("/", "open", ""),
        route("/users", "open", "permissions = [\"users:read\"]"),
        route("/limited", "limited", ""),
    ]
    .concat()
}
