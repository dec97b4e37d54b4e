//! The PostgreSQL that is installed here: where its programs are, and as whom they run.
//!
//! Knows no server. Everything that touches a server's files goes through it, because they belong to that user.

use std::ffi::OsStr;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where Debian and its like put what is not in PATH, by version.
const DEBIAN: &str = "/usr/lib/postgresql";

/// Where the programs are, and whether they must run as somebody else.
#[derive(Debug)]
pub(crate) struct Installed {
    folder: PathBuf,
    is_root: bool,
}

impl Installed {
    pub(crate) fn find() -> Installed {
        let folder = in_path().or_else(newest_of_debian).unwrap_or_else(|| {
            panic!(
                "no PostgreSQL server is installed: neither PATH nor {DEBIAN} has initdb; `.ci/setup test` installs it"
            )
        });
        let is_root = std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
        Installed { folder, is_root }
    }

    /// A program, as the user that the server runs as.
    pub(crate) fn command(&self, program: &str) -> Command {
        let program = self.command_path(program);
        if !self.is_root {
            return Command::new(program);
        }
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid=nobody", "--regid=nogroup", "--clear-groups", "--"])
            .arg(program)
            // The folder of whoever runs the tests may be closed to others.
            .current_dir("/");
        command
    }

    /// Where a program is: beside `initdb`, else wherever the system finds it.
    pub(crate) fn command_path(&self, program: &str) -> PathBuf {
        let beside = self.folder.join(program);
        if beside.exists() {
            beside
        } else {
            PathBuf::from(program)
        }
    }

    /// Runs a program and answers its standard output; panics with its standard error unless it succeeds.
    pub(crate) fn run(&self, program: &str, arguments: &[&OsStr]) -> String {
        let output = self
            .command(program)
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap_or_else(|error| panic!("{program}: {error}"));
        assert!(
            output.status.success(),
            "{program}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Runs a program, whatever comes of it.
    pub(crate) fn run_any(&self, program: &str, arguments: &[&OsStr]) {
        drop(self.command(program).args(arguments).stdin(Stdio::null()).output());
    }

    pub(crate) fn temporary_folder(&self) -> PathBuf {
        let template = std::env::temp_dir().join("portcullis-postgres-XXXXXX");
        PathBuf::from(self.run("mktemp", &[OsStr::new("-d"), template.as_os_str()]))
    }

    pub(crate) fn read(&self, file: &Path) -> String {
        self.run("cat", &[file.as_os_str()])
    }

    /// Writes a file that only the server's user can read, as it wants its keys.
    pub(crate) fn write(&self, file: &Path, text: &str) {
        let spawned = self
            .command("tee")
            .arg(file)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn();
        let mut child = spawned.unwrap_or_else(|error| panic!("tee: {error}"));
        let written = child.stdin.take().map(|mut stdin| stdin.write_all(text.as_bytes()));
        let ended = child.wait();
        assert!(
            matches!(written, Some(Ok(()))) && ended.is_ok_and(|status| status.success()),
            "{} cannot be written",
            file.display()
        );
        self.run("chmod", &[OsStr::new("600"), file.as_os_str()]);
    }
}

fn in_path() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let initdb = std::env::split_paths(&path)
        .map(|folder| folder.join("initdb"))
        .find(|initdb| initdb.exists())?;
    // The other programs are beside the one that a link leads to.
    initdb.canonicalize().ok()?.parent().map(Path::to_owned)
}

fn newest_of_debian() -> Option<PathBuf> {
    let versions = std::fs::read_dir(DEBIAN).ok()?;
    versions
        .filter_map(|version| Some(version.ok()?.path()))
        .filter(|version| version.join("bin/initdb").exists())
        .max_by_key(|version| version.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok()))
        .map(|version| version.join("bin"))
}
