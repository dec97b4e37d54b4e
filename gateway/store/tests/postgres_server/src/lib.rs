//! A PostgreSQL server of their own for tests: started in a temporary folder, killed and started again at will, and gone
//! with the test.
//!
//! Knows nothing of what is stored. It uses the PostgreSQL that is installed (PATH, or where Debian puts it) and needs
//! no rights: as root it runs the server as `nobody`, since PostgreSQL refuses root.

#![expect(
    clippy::panic,
    reason = "a test that cannot have its server fails, and says so by panicking"
)]

mod installed;
mod watchdog;

use installed::Installed;
use std::ffi::OsStr;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use watchdog::Watchdog;

/// Who the tests are to the server: its superuser.
pub const USER: &str = "portcullis";
/// The password of [`USER`], for tests that look for it where it must not be.
pub const PASSWORD: &str = "hunter2-of-the-database";

/// A running server. It ends when this is dropped and when the process that started it ends, however that happens, and
/// takes its files along.
///
/// All calls block until they are done, and panic with the server's log when they cannot be.
///
/// ```no_run
/// let server = portcullis_postgres_server::PostgresServer::start();
/// let url = server.create_database();
/// assert!(url.starts_with("postgres://"));
/// ```
#[derive(Debug)]
pub struct PostgresServer {
    installed: Installed,
    folder: PathBuf,
    port: u16,
    settings: Vec<String>,
    databases: AtomicU32,
    running: Mutex<Option<Watchdog>>,
}

impl PostgresServer {
    /// Starts a server that does not wait for the disk: what it answered does not survive a kill of the machine, which no
    /// test can try, but does survive a kill of the server.
    #[must_use]
    pub fn start() -> PostgresServer {
        PostgresServer::start_with(&["fsync=off", "full_page_writes=off"])
    }

    /// Starts a server as it is installed, with every commit synced.
    #[must_use]
    pub fn start_durable() -> PostgresServer {
        PostgresServer::start_with(&[])
    }

    /// Starts a server that speaks TLS to who wants it, with this certificate and key (PEM). It is at 127.0.0.2, too.
    #[must_use]
    pub fn start_with_tls(certificate: &str, key: &str) -> PostgresServer {
        let everywhere = "listen_addresses=127.0.0.1,127.0.0.2";
        let mut server = PostgresServer::prepare(&["fsync=off", "full_page_writes=off", "ssl=on", everywhere]);
        for (name, setting, pem) in [
            ("tls.pem", "ssl_cert_file", certificate),
            ("tls.key", "ssl_key_file", key),
        ] {
            let file = server.folder.join(name);
            server.installed.write(&file, pem);
            server.settings.push(format!("{setting}={}", file.display()));
        }
        server.create();
        server
    }

    /// Starts a server with these settings beside those that tests need.
    #[must_use]
    pub fn start_with(settings: &[&str]) -> PostgresServer {
        let server = PostgresServer::prepare(settings);
        server.create();
        server
    }

    /// Makes the files of a new server, and starts it.
    fn create(&self) {
        let (data, password_file) = (self.data(), self.folder.join("password"));
        self.installed.write(&password_file, PASSWORD);
        self.installed.run(
            "initdb",
            &[
                OsStr::new("--no-sync"),
                OsStr::new("--no-instructions"),
                OsStr::new("--encoding=UTF8"),
                OsStr::new("--locale=C"),
                OsStr::new("--auth=password"),
                OsStr::new("--username"),
                OsStr::new(USER),
                OsStr::new("--pwfile"),
                password_file.as_os_str(),
                OsStr::new("--pgdata"),
                data.as_os_str(),
            ],
        );
        self.restart();
    }

    /// Starts a second server that follows this one and can only be read, as a replica does.
    #[must_use]
    pub fn standby(&self) -> PostgresServer {
        let standby = PostgresServer::prepare(&["hot_standby=on"]);
        let data = standby.data();
        let primary = self.url("postgres");
        standby.installed.run(
            "pg_basebackup",
            &[
                OsStr::new("--write-recovery-conf"),
                OsStr::new("--checkpoint=fast"),
                OsStr::new("--no-sync"),
                OsStr::new("--dbname"),
                OsStr::new(&primary),
                OsStr::new("--pgdata"),
                data.as_os_str(),
            ],
        );
        standby.restart();
        standby
    }

    /// The URL of a database of this server.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{USER}:{PASSWORD}@127.0.0.1:{}/{database}", self.port)
    }

    /// The port that it listens on, on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Creates an empty database and answers its URL.
    pub fn create_database(&self) -> String {
        let name = format!("test{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.psql("postgres", &format!("CREATE DATABASE {name}"));
        self.url(&name)
    }

    /// Runs SQL in a database, past whatever is tested, and answers its rows: one per line, columns apart by `|`.
    pub fn psql(&self, database: &str, sql: &str) -> String {
        let arguments = [
            "-X",
            "-q",
            "-A",
            "-t",
            "-v",
            "ON_ERROR_STOP=1",
            "-d",
            &self.url(database),
            "-c",
            sql,
        ];
        self.installed.run("psql", &arguments.map(OsStr::new))
    }

    /// Runs a program of PostgreSQL, such as `pg_dump`, and answers what it printed.
    pub fn run(&self, program: &str, arguments: &[&str]) -> String {
        let arguments: Vec<&OsStr> = arguments.iter().map(OsStr::new).collect();
        self.installed.run(program, &arguments)
    }

    /// Ends the server with `kill -9`, in the middle of whatever it does.
    pub fn kill(&self) {
        let file = self.data().join("postmaster.pid");
        let text = self.installed.read(&file);
        let pid = text.lines().next().unwrap_or_default().trim();
        self.installed.run_any("kill", &[OsStr::new("-9"), OsStr::new(pid)]);
    }

    /// Ends the server and all its connections at once, but knowingly.
    pub fn stop(&self) {
        if let Some(watchdog) = self.running().take() {
            watchdog.stop();
        }
    }

    /// Starts the server again after [`PostgresServer::kill`] or [`PostgresServer::stop`], on the same port and with the
    /// same data; a running one is stopped first. It takes connections when this returns.
    pub fn restart(&self) {
        self.stop();
        let watchdog = Watchdog::start(&self.installed, &self.folder, &self.data(), &self.options());
        *self.running() = Some(watchdog);
    }

    /// Starts the server again as one in recovery that can only be read, as if a standby had taken its address.
    pub fn become_standby(&self) {
        self.stop();
        self.installed.write(&self.data().join("standby.signal"), "");
        self.restart();
    }

    /// Promotes what [`PostgresServer::become_standby`] made, on a new timeline.
    pub fn become_primary(&self) {
        let data = self.data();
        let arguments = [
            OsStr::new("promote"),
            OsStr::new("-w"),
            OsStr::new("-s"),
            OsStr::new("-D"),
            data.as_os_str(),
        ];
        self.installed.run("pg_ctl", &arguments);
    }

    fn prepare(settings: &[&str]) -> PostgresServer {
        let installed = Installed::find();
        let folder = installed.temporary_folder();
        PostgresServer {
            installed,
            folder,
            port: free_port(),
            settings: settings.iter().map(|setting| (*setting).to_owned()).collect(),
            databases: AtomicU32::new(0),
            running: Mutex::new(None),
        }
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// What the server is started with.
    fn options(&self) -> String {
        let mut options = format!(
            "-p {} -c listen_addresses=127.0.0.1 -c unix_socket_directories=",
            self.port
        );
        options.push_str(" -c max_connections=400 -c shared_buffers=32MB");
        for setting in &self.settings {
            options.push_str(" -c ");
            options.push_str(setting);
        }
        options
    }

    fn running(&self) -> std::sync::MutexGuard<'_, Option<Watchdog>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        if let Some(watchdog) = self.running().take() {
            watchdog.end();
        } else {
            self.installed
                .run_any("rm", &[OsStr::new("-rf"), Path::new(&self.folder).as_os_str()]);
        }
    }
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .unwrap_or_else(|error| panic!("no free port: {error}"))
}
