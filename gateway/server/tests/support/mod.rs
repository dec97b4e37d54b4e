//! Starts the real binary for end-to-end tests, on free ports, in a temporary folder, and speaks to it over real sockets.
//!
//! Knows nothing of any single promise; one file beside this folder per promise does.
#![allow(dead_code, reason = "each test binary uses its own part")]
#![allow(clippy::panic, reason = "a test ends where what it needs is not there")]
#![allow(unreachable_pub, reason = "shared by many test binaries")]

pub mod control;
pub mod raw;
pub mod upstream;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;
use tempfile::TempDir;

/// The management token that every started server knows.
pub const TOKEN: &str = "test-management-token-0123456789";

/// How long anything may take before a test gives up on it.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The binary under test.
pub fn binary() -> &'static str {
    env!("CARGO_BIN_EXE_portcullis")
}

/// A running `portcullis serve`.
pub struct Server {
    child: Child,
    output: Arc<Output>,
    folder: Arc<TempDir>,
    config: String,
    /// The control API.
    pub control: SocketAddr,
    /// The reverse proxy.
    pub proxy: SocketAddr,
    /// The decision API.
    pub authz: SocketAddr,
    /// Metrics and health.
    pub admin: SocketAddr,
}

/// Everything a process printed, and who waits for it.
#[derive(Default)]
struct Output {
    lines: Mutex<Lines>,
    grown: Condvar,
}

#[derive(Default)]
struct Lines {
    log: Vec<String>,
    printed: String,
    ended: bool,
}

impl Server {
    /// Starts a server whose `[[routes]]` and further settings are `config`, and waits until it is ready.
    ///
    /// Listeners, the store and JSON logs are set here; `config` must not repeat them.
    pub async fn start(config: &str) -> Server {
        Server::start_in(Arc::new(TempDir::new().expect("a temporary folder")), config, &[]).await
    }

    /// The same with further environment variables.
    pub async fn start_with(config: &str, environment: &[(&str, &str)]) -> Server {
        Server::start_in(
            Arc::new(TempDir::new().expect("a temporary folder")),
            config,
            environment,
        )
        .await
    }

    /// Starts a server in a folder that may hold an earlier one's store.
    pub async fn start_in(folder: Arc<TempDir>, config: &str, environment: &[(&str, &str)]) -> Server {
        let server = Server::launch("serve", folder, config, environment);
        server
            .output
            .wait_for_line("ready", |line| field(line, "message").as_deref() == Some("ready"));
        server.found()
    }

    /// Starts a `portcullis gateway` that follows the control API there, and waits until it listens.
    pub async fn gateway(control: SocketAddr, token: &str, config: &str) -> Server {
        let folder = Arc::new(TempDir::new().expect("a temporary folder"));
        let url = format!("http://{control}");
        let environment = [
            ("PORTCULLIS__GATEWAY__CONTROL_URL", url.as_str()),
            ("PORTCULLIS__GATEWAY__CONTROL_TOKEN", token),
        ];
        let server = Server::launch("gateway", folder, config, &environment);
        server
            .output
            .wait_for_line("ready", |line| field(line, "message").as_deref() == Some("ready"));
        let mut gateway = server.found();
        gateway.control = control;
        gateway
    }

    fn launch(role: &str, folder: Arc<TempDir>, config: &str, environment: &[(&str, &str)]) -> Server {
        install_tls();
        let file = folder.path().join("portcullis.toml");
        std::fs::write(&file, config).expect("the configuration is written");
        let mut command = Command::new(binary());
        command
            .args([role, "--config"])
            .arg(&file)
            .current_dir(folder.path())
            .env("PORTCULLIS__CONTROL__LISTEN", "127.0.0.1:0")
            .env("PORTCULLIS__GATEWAY__AUTHZ_LISTEN", "127.0.0.1:0")
            .env("PORTCULLIS__ADMIN__LISTEN", "127.0.0.1:0")
            .env("PORTCULLIS__LOG__FORMAT", "json")
            .env("PORTCULLIS_BOOTSTRAP_TOKEN", TOKEN);
        if !config.contains("listen") {
            command.env("PORTCULLIS__GATEWAY__LISTEN", "127.0.0.1:0");
        }
        command.envs(environment.iter().copied());
        let (child, output) = spawn(command);
        Server {
            child,
            output,
            folder,
            config: config.to_owned(),
            control: SocketAddr::from(([127, 0, 0, 1], 0)),
            proxy: SocketAddr::from(([127, 0, 0, 1], 0)),
            authz: SocketAddr::from(([127, 0, 0, 1], 0)),
            admin: SocketAddr::from(([127, 0, 0, 1], 0)),
        }
    }

    /// The server with the places where it listens.
    fn found(mut self) -> Server {
        let listening = self.listening();
        if let Some(control) = listening.get("control") {
            self.control = control[0];
        }
        self.proxy = listening["proxy"][0];
        self.authz = listening["authz"][0];
        self.admin = listening["admin"][0];
        self
    }

    /// Every listener that was told of, by surface.
    pub fn listening(&self) -> BTreeMap<String, Vec<SocketAddr>> {
        let mut all: BTreeMap<String, Vec<SocketAddr>> = BTreeMap::new();
        for line in self.log_lines() {
            if field(&line, "message").as_deref() == Some("listening") {
                let surface = field(&line, "surface").expect("a surface");
                let address = field(&line, "address")
                    .expect("an address")
                    .parse()
                    .expect("an address");
                all.entry(surface).or_default().push(address);
            }
        }
        all
    }

    /// The control API, spoken to with the server's first management token.
    pub fn api(&self) -> control::Api {
        control::Api::new(self.control, TOKEN)
    }

    /// `http://HOST:PORT` of the reverse proxy.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.proxy)
    }

    /// The folder with the store.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Everything logged so far.
    pub fn log_lines(&self) -> Vec<String> {
        self.output.lock().log.clone()
    }

    /// Everything on standard output so far.
    pub fn printed(&self) -> String {
        self.output.lock().printed.clone()
    }

    /// Waits for a log line.
    pub fn wait_for_log(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        self.output.wait_for_line(what, wanted)
    }

    /// Ends the process as a power cut would, and starts another on the same store.
    pub async fn kill_and_restart(self) -> Server {
        self.kill_and_restart_with(&[]).await
    }

    /// The same with further environment variables.
    pub async fn kill_and_restart_with(mut self, environment: &[(&str, &str)]) -> Server {
        self.child.kill().expect("the process can be killed");
        self.child.wait().expect("the process ends");
        let (folder, config) = (Arc::clone(&self.folder), self.config.clone());
        drop(self);
        Server::start_in(folder, &config, environment).await
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        signal(self.child.id(), "TERM");
    }

    /// Sends SIGTERM and waits for the exit code.
    pub fn stop(mut self) -> i32 {
        signal(self.child.id(), "TERM");
        self.wait()
    }

    /// Waits for the exit code.
    pub fn wait(&mut self) -> i32 {
        self.child.wait().expect("the process ends").code().unwrap_or(-1)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Output {
    fn lock(&self) -> std::sync::MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_for_line(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let mut seen = 0;
        let mut lines = self.lock();
        loop {
            if let Some(line) = lines.log[seen..].iter().find(|line| wanted(line)) {
                return line.clone();
            }
            seen = lines.log.len();
            assert!(
                !lines.ended,
                "the server ended before `{what}`:\n{}",
                lines.log.join("\n")
            );
            let (guard, waited) = self
                .grown
                .wait_timeout(lines, PATIENCE)
                .unwrap_or_else(PoisonError::into_inner);
            lines = guard;
            assert!(
                !waited.timed_out(),
                "the server never said `{what}`:\n{}",
                lines.log.join("\n")
            );
        }
    }
}

fn spawn(mut command: Command) -> (Child, Arc<Output>) {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let output = Arc::new(Output::default());
    let (stderr, stdout) = (child.stderr.take().expect("piped"), child.stdout.take().expect("piped"));
    let sink = Arc::clone(&output);
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            sink.lock().log.push(line);
            sink.grown.notify_all();
        }
        sink.lock().ended = true;
        sink.grown.notify_all();
    });
    let sink = Arc::clone(&output);
    std::thread::spawn(move || {
        let mut reader = BufReader::new(stdout);
        let mut chunk = [0; 1024];
        while let Ok(n @ 1..) = reader.read(&mut chunk) {
            sink.lock().printed.push_str(&String::from_utf8_lossy(&chunk[..n]));
            sink.grown.notify_all();
        }
    });
    (child, output)
}

/// A field of a JSON log line, as text.
pub fn field(line: &str, name: &str) -> Option<String> {
    let value: serde_json::Value = serde_json::from_str(line).ok()?;
    match value.get(name)? {
        serde_json::Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

/// Sends a signal by its name.
pub fn signal(pid: u32, name: &str) {
    let sent = Command::new("kill")
        .arg(format!("-{name}"))
        .arg(pid.to_string())
        .status()
        .expect("kill runs");
    assert!(sent.success(), "kill -{name} {pid}");
}

/// Waits until `look` has an answer.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let waited = tokio::time::timeout(PATIENCE, async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("never happened: {what}"))
}

/// What a finished command of the binary printed, and its exit code.
pub struct Finished {
    /// Exit code.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// Runs the binary to its end.
pub fn run(folder: &Path, arguments: &[&str], environment: &[(&str, &str)], stdin: &str) -> Finished {
    use std::io::Write;
    let mut child = Command::new(binary())
        .args(arguments)
        .current_dir(folder)
        .envs(environment.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    // A command that does not read its input may close it first.
    let _ = child.stdin.take().expect("piped").write_all(stdin.as_bytes());
    let output = child.wait_with_output().expect("the command ends");
    Finished {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// The workspace's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .expect("the workspace root exists")
}

/// A client with keep-alive and no surprises.
pub fn client() -> reqwest::Client {
    install_tls();
    reqwest::Client::builder()
        .no_proxy()
        .timeout(PATIENCE)
        .build()
        .expect("a client")
}

fn install_tls() {
    // Fails only when it is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// A route that opens for the keys of `apps`.
pub fn route(upstream: SocketAddr, apps: &[&str]) -> String {
    format!("[[routes]]\nupstreams = [\"http://{upstream}\"]\napps = {apps:?}\n")
}
