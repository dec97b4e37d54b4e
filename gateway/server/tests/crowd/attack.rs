//! The attacker's process, as the test sees it: on, off, and what came of it.

use crate::attacker::{Plan, Tally};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A running attacker, quiet at first.
pub(crate) struct Attack {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Attack {
    /// Starts the process.
    pub(crate) fn prepare(plan: &Plan) -> Attack {
        let mut child = Command::new("nice")
            .args(["-n", "19"])
            .arg(std::env::current_exe().expect("this test's file"))
            .arg("--attack")
            .arg(serde_json::to_string(plan).expect("JSON"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the attacker starts");
        Attack {
            orders: child.stdin.take().expect("piped"),
            answers: BufReader::new(child.stdout.take().expect("piped")),
            child,
        }
    }

    /// Begins, and returns once it is in force.
    pub(crate) fn on(&mut self) -> Tally {
        self.order("on")
    }

    /// Ends, and returns once all its connections are closed.
    pub(crate) fn off(&mut self) -> Tally {
        self.order("off")
    }

    fn order(&mut self, word: &str) -> Tally {
        writeln!(self.orders, "{word}").expect("the attacker listens");
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("the attacker answers");
        serde_json::from_str(&line).expect("a tally")
    }
}

impl Drop for Attack {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
