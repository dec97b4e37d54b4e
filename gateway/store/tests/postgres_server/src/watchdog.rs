//! A small process that starts the server and ends it when the tests are gone.
//!
//! It waits on a pipe from the test process: the kernel closes that however the tests end, also by `kill -9`, where no
//! destructor runs. Only [`crate::PostgresServer`] starts it.

use crate::installed::Installed;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Stdio};

/// `$1` pg_ctl, `$2` the data, `$3` the log, `$4` the server's options, `$5` the whole folder. After a kill the old server's
/// children may need a moment to be gone, until when a new one does not start.
const SCRIPT: &str = r#"
trap '' INT TERM HUP
attempts=0
until "$1" start -w -s -t 60 -D "$2" -l "$3" -o "$4" >/dev/null 2>&1; do
    attempts=$((attempts + 1))
    if [ "$attempts" -ge 100 ]; then
        tail -n 20 "$3"
        exit 1
    fi
    sleep 0.1
done
echo ready
order=end
read -r order || order=end
"$1" stop -w -s -t 60 -m immediate -D "$2" >/dev/null 2>&1
[ "$order" = stop ] || rm -rf "$5"
"#;

#[derive(Debug)]
pub(crate) struct Watchdog(Child);

impl Watchdog {
    /// Starts the server, and returns when it takes connections.
    pub(crate) fn start(installed: &Installed, folder: &Path, data: &Path, options: &str) -> Watchdog {
        let spawned = installed
            .command("sh")
            .args(["-c", SCRIPT, "watchdog"])
            .arg(installed.command_path("pg_ctl"))
            .arg(data)
            .arg(folder.join("log"))
            .arg(options)
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut child = spawned.unwrap_or_else(|error| panic!("sh: {error}"));
        let mut lines = child
            .stdout
            .take()
            .map(|stdout| BufReader::new(stdout).lines())
            .into_iter()
            .flatten();
        let first = lines.next();
        if !matches!(&first, Some(Ok(line)) if line == "ready") {
            let log: Vec<String> = first.into_iter().chain(lines).map_while(Result::ok).collect();
            panic!("the PostgreSQL server did not start:\n{}", log.join("\n"));
        }
        Watchdog(child)
    }

    /// Ends the server and keeps its files.
    pub(crate) fn stop(mut self) {
        if let Some(mut stdin) = self.0.stdin.take() {
            drop(stdin.write_all(b"stop\n"));
        }
        drop(self.0.wait());
    }

    /// Ends the server and deletes its files.
    pub(crate) fn end(mut self) {
        drop(self.0.stdin.take());
        drop(self.0.wait());
    }
}
