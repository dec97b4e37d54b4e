//! What a command finds around it: three streams, the environment, the clock. Tests bring their own.
//!
//! It decides nothing; everything that reads or writes outside the network goes through it.

use crate::failure::Failure;
use portcullis_config::Clock;
use std::ffi::OsString;
use std::io::{BufRead, IsTerminal, Write};

/// The streams, the environment and the clock of one run.
pub(crate) struct Surroundings<'a> {
    out: &'a mut dyn Write,
    err: &'a mut dyn Write,
    input: &'a mut dyn BufRead,
    input_is_terminal: bool,
    token: Option<OsString>,
    settings: Vec<(String, String)>,
    clock: Clock,
}

impl<'a> Surroundings<'a> {
    /// Those of this process.
    pub(crate) fn of_process(
        out: &'a mut dyn Write,
        err: &'a mut dyn Write,
        input: &'a mut dyn BufRead,
    ) -> Surroundings<'a> {
        Surroundings {
            out,
            err,
            input,
            input_is_terminal: std::io::stdin().is_terminal(),
            token: std::env::var_os("PORTCULLIS_TOKEN"),
            settings: portcullis_config::process_environment().collect(),
            clock: Clock::system(),
        }
    }

    /// Those of a test.
    #[cfg(test)]
    pub(crate) fn of_test(
        (out, err, input): (&'a mut dyn Write, &'a mut dyn Write, &'a mut dyn BufRead),
        input_is_terminal: bool,
        token: Option<&str>,
        clock: Clock,
    ) -> Surroundings<'a> {
        Surroundings {
            out,
            err,
            input,
            input_is_terminal,
            token: token.map(OsString::from),
            settings: Vec::new(),
            clock,
        }
    }

    /// Writes a result, and a line end when it has none. A reader who has left has read enough, as `head` does.
    pub(crate) fn print(&mut self, text: &str) -> Result<(), Failure> {
        match self.write(text) {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::Output(error)),
            _ => Ok(()),
        }
    }

    /// Writes what cannot be had again, so that a reader who has left is an error too.
    pub(crate) fn print_once(&mut self, text: &str) -> Result<(), Failure> {
        self.write(text).map_err(Failure::Output)
    }

    fn write(&mut self, text: &str) -> std::io::Result<()> {
        self.out.write_all(text.as_bytes())?;
        if !text.is_empty() && !text.ends_with('\n') {
            self.out.write_all(b"\n")?;
        }
        self.out.flush()
    }

    /// Tells the person something that is no result. Nobody is left to tell when standard error is closed.
    pub(crate) fn tell(&mut self, text: &str) {
        for line in text.lines() {
            let _ = writeln!(self.err, "portcullis: {line}");
        }
    }

    /// Shows the person text that is no result, as it stands.
    pub(crate) fn show(&mut self, text: &str) {
        let _ = writeln!(self.err, "{}", text.trim_end_matches('\n'));
    }

    /// Asks a yes-or-no question on the terminal. An error when there is none.
    pub(crate) fn confirm(&mut self, question: &str) -> Result<(), Failure> {
        if !self.input_is_terminal {
            return Err(Failure::usage(
                "nobody is there to confirm (standard input is no terminal): add --yes",
            ));
        }
        let _ = write!(self.err, "{question} [y/N] ");
        let _ = self.err.flush();
        let mut answer = String::new();
        self.input
            .read_line(&mut answer)
            .map_err(|error| Failure::usage(format!("standard input cannot be read: {error}")))?;
        match answer.trim() {
            "y" | "Y" | "yes" => Ok(()),
            _ => Err(Failure::runtime("nothing was changed")),
        }
    }

    /// Standard input, to be read.
    pub(crate) fn input(&mut self) -> &mut dyn BufRead {
        self.input
    }

    /// Whether a person types the input.
    pub(crate) fn input_is_terminal(&self) -> bool {
        self.input_is_terminal
    }

    /// The token of the environment.
    pub(crate) fn token(&self) -> Option<OsString> {
        self.token.clone()
    }

    /// The settings of the environment.
    pub(crate) fn settings(&self) -> impl Iterator<Item = (String, String)> {
        self.settings.clone().into_iter()
    }

    /// The time.
    pub(crate) fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::from_microsecond(self.clock.now().wall_us).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
    }
}
