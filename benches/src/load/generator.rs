//! Sends requests over kept-alive connections as fast as they are answered, one at a time on each, from one thread.
//!
//! Decides when each is sent and what counts as answered; knows nothing of who answers. A slice of the comparison is one run of it.

use super::histogram::Histogram;
use super::readiness::{Interest, Readiness};
use super::reply::{Reply, Whole};
use super::requests::Requests;
use super::transport::{Endpoint, Transport};
use crate::process::now_us;
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::time::Duration;

/// Read at once.
const READ_BYTES: usize = 256 * 1024;
/// A target that answers nothing for so long has failed.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// When a run ends.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Until {
    /// After so many microseconds.
    Elapsed { us: u64 },
    /// After so many answers.
    Answers(u64),
}

/// What a run came to.
pub(crate) struct Driven {
    /// Answers.
    pub(crate) answers: u64,
    /// How many of each status.
    pub(crate) statuses: BTreeMap<u16, u64>,
    /// From the first request until the last answer.
    pub(crate) elapsed_us: u64,
    /// Bytes that were read.
    pub(crate) bytes: u64,
    /// From each request until its answer was whole.
    pub(crate) latencies: Histogram,
}

struct Connection {
    stream: Transport,
    out: Vec<u8>,
    written: usize,
    sent_us: u64,
    reply: Reply,
}

/// One address and what is sent there.
pub(crate) struct Generator {
    endpoint: Endpoint,
    requests: Requests,
    readiness: Readiness,
    connections: Vec<Connection>,
}

impl Generator {
    /// Connects.
    pub(crate) fn connect(endpoint: &Endpoint, connections: usize, requests: Requests) -> Result<Generator> {
        let mut generator = Generator {
            endpoint: endpoint.clone(),
            requests,
            readiness: Readiness::new()?,
            connections: Vec::with_capacity(connections),
        };
        for number in 0..connections {
            let connection = generator.open(number)?;
            generator.connections.push(connection);
        }
        Ok(generator)
    }

    fn open(&self, number: usize) -> Result<Connection> {
        let stream = self.endpoint.connect()?;
        self.readiness.add(&stream, number, Interest::Read)?;
        Ok(Connection {
            stream,
            out: Vec::new(),
            written: 0,
            sent_us: 0,
            reply: Reply::default(),
        })
    }

    /// Sends until it is time to end, then waits for the answers that are still out. They count neither as answers nor as time.
    pub(crate) fn run(&mut self, until: Until) -> Result<Driven> {
        let mut driven = Driven {
            answers: 0,
            statuses: BTreeMap::new(),
            elapsed_us: 0,
            bytes: 0,
            latencies: Histogram::new(),
        };
        let (mut buffer, mut ready) = (vec![0; READ_BYTES], Vec::new());
        let begun_us = now_us();
        for number in 0..self.connections.len() {
            self.send(number, begun_us)?;
        }
        let mut out = self.connections.len();
        let mut is_over = false;
        while out > 0 {
            self.readiness.wait(Some(SILENCE_MAX), &mut ready)?;
            ensure!(!ready.is_empty(), "{} has fallen silent", self.endpoint.address);
            for &number in &ready {
                let Some(whole) = self.receive(number, &mut buffer, &mut driven.bytes)? else {
                    continue;
                };
                let now_us = now_us();
                if whole.closes {
                    self.connections[number] = self.open(number)?;
                }
                if is_over {
                    out -= 1;
                    continue;
                }
                driven.answers += 1;
                *driven.statuses.entry(whole.status).or_default() += 1;
                driven
                    .latencies
                    .add(now_us.saturating_sub(self.connections[number].sent_us));
                driven.elapsed_us = now_us - begun_us;
                is_over = match until {
                    Until::Elapsed { us } => driven.elapsed_us >= us,
                    Until::Answers(answers) => driven.answers >= answers,
                };
                if is_over {
                    out -= 1;
                } else {
                    self.send(number, now_us)?;
                }
            }
        }
        Ok(driven)
    }

    fn send(&mut self, number: usize, now_us: u64) -> Result<()> {
        let connection = &mut self.connections[number];
        self.requests.write(&mut connection.out);
        (connection.written, connection.sent_us) = (0, now_us);
        if !connection.write()? {
            self.readiness.change(&connection.stream, number, Interest::Write)?;
        }
        Ok(())
    }

    fn receive(&mut self, number: usize, buffer: &mut [u8], bytes: &mut u64) -> Result<Option<Whole>> {
        let connection = &mut self.connections[number];
        if connection.written < connection.out.len() {
            if connection.write()? {
                self.readiness.change(&connection.stream, number, Interest::Read)?;
            }
            return Ok(None);
        }
        // What TLS has decrypted already no readiness tells of, so that all is read that can be.
        loop {
            let read = connection.stream.read(buffer);
            let Some(read) = read.with_context(|| format!("{} broke off", self.endpoint.address))? else {
                return Ok(None);
            };
            ensure!(
                read > 0,
                "{} closed a connection with a request under way",
                self.endpoint.address
            );
            *bytes += u64::try_from(read)?;
            if let Some(whole) = connection.reply.take(&buffer[..read])? {
                return Ok(Some(whole));
            }
        }
    }
}

impl Connection {
    /// Writes what the socket takes; true when all of the request is written.
    fn write(&mut self) -> Result<bool> {
        while self.written < self.out.len() {
            match self.stream.write(&self.out[self.written..])? {
                Some(written) => self.written += written,
                None => return Ok(false),
            }
        }
        Ok(true)
    }
}
