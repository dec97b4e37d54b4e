//! One process of the fleet: started from the built binary, listened to, stopped, continued and killed.
//!
//! Knows no role; the cluster does.

use super::history::{Event, Recorder};
use crate::support;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Most lines of a log that are kept for whoever has to read why a run failed.
const LINES_KEPT: usize = 400;

/// What no process may have cause to say, whatever a link does to it.
const COMPLAINTS: [&str; 3] = ["changes are missing", "says what cannot be", "panicked at"];

/// A running process.
pub struct Process {
    name: String,
    child: Child,
    log: Arc<Mutex<Log>>,
}

#[derive(Default)]
struct Log {
    /// `listening` lines: surface and address.
    listening: Vec<(String, SocketAddr)>,
    newest: std::collections::VecDeque<String>,
    ended: bool,
}

impl Process {
    /// Starts it. `name` is what a failing run calls it; complaints go into the history.
    pub fn start(mut command: Command, name: &str, recorder: Arc<Recorder>) -> Process {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let log = Arc::new(Mutex::new(Log::default()));
        let sink = Arc::clone(&log);
        let stderr = child.stderr.take().expect("piped");
        let who = name.to_owned();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if COMPLAINTS.iter().any(|complaint| line.contains(complaint)) {
                    let (at, who) = (recorder.now(), who.clone());
                    recorder.note(Event::Complaint {
                        at,
                        who,
                        line: line.clone(),
                    });
                }
                lock(&sink).hear(line);
            }
            lock(&sink).ended = true;
        });
        Process {
            name: name.to_owned(),
            child,
            log,
        }
    }

    /// Where it listens for `surface`, once it says so.
    pub async fn listening(&self, surface: &str) -> SocketAddr {
        let waited = tokio::time::timeout(support::PATIENCE, async {
            loop {
                {
                    let log = lock(&self.log);
                    if let Some((_, address)) = log.listening.iter().find(|(name, _)| name == surface) {
                        return Some(*address);
                    }
                    if log.ended {
                        return None;
                    }
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        });
        match waited.await {
            Ok(Some(address)) => address,
            _ => panic!("{} never listened for {surface}:\n{}", self.name, self.newest_lines(40)),
        }
    }

    /// What it logged last.
    pub fn newest_lines(&self, count: usize) -> String {
        let log = lock(&self.log);
        let skipped = log.newest.len().saturating_sub(count);
        let lines: Vec<&str> = log.newest.iter().skip(skipped).map(String::as_str).collect();
        lines.join("\n")
    }

    /// How many of the newest lines say this.
    pub fn said(&self, text: &str) -> usize {
        lock(&self.log).newest.iter().filter(|line| line.contains(text)).count()
    }

    /// Stands still as a whole, until [`Process::proceed`].
    pub fn stand_still(&self) {
        support::signal(self.child.id(), "STOP");
    }

    /// Goes on.
    pub fn proceed(&self) {
        support::signal(self.child.id(), "CONT");
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends as in a power cut; returns when nothing of it is left.
    pub fn kill(&mut self) {
        self.child.kill().expect("the process can be killed");
        self.child.wait().expect("the process ends");
    }

    /// Asks it to end, and waits until it has.
    pub async fn end(&mut self) {
        support::signal(self.child.id(), "TERM");
        while self.child.try_wait().expect("the process can be waited for").is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Log {
    fn hear(&mut self, line: String) {
        let field = |name| support::field(&line, name);
        if field("message").as_deref() == Some("listening")
            && let (Some(surface), Some(address)) = (field("surface"), field("address"))
            && let Ok(address) = address.parse()
        {
            self.listening.push((surface, address));
        }
        if self.newest.len() == LINES_KEPT {
            self.newest.pop_front();
        }
        self.newest.push_back(line);
    }
}

fn lock(log: &Mutex<Log>) -> std::sync::MutexGuard<'_, Log> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}
