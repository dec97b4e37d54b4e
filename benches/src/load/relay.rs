//! Copies bytes between two sockets and looks at none of them: the least that a proxy of processes can cost on this machine.
//!
//! Knows no HTTP. Runs as a process of its own beside the gateways; the comparison reads it as the floor.

use super::readiness::{Interest, Readiness};
use anyhow::{Context, Result};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

/// The argument that makes the program this relay; the upstream's address follows it.
pub(crate) const ARGUMENT: &str = "relay";

const READ_BYTES: usize = 64 * 1024;
const LISTENER: usize = usize::MAX;

/// One end of a pair: even numbers are callers, the odd ones after them their upstreams.
struct End {
    stream: TcpStream,
    /// What came from the other end and was not taken yet.
    waiting: Vec<u8>,
}

/// Serves until the process is ended, and tells its address on standard output first.
pub(crate) fn serve(upstream: SocketAddr) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    writeln!(std::io::stdout(), "{}", listener.local_addr()?)?;
    listener.set_nonblocking(true)?;
    let mut relay = Relay {
        upstream,
        readiness: Readiness::new()?,
        ends: Vec::new(),
    };
    relay.readiness.add(&listener, LISTENER, Interest::Read)?;
    let (mut buffer, mut ready) = (vec![0; READ_BYTES], Vec::new());
    loop {
        relay.readiness.wait(None, &mut ready)?;
        for &number in &ready {
            if number == LISTENER {
                relay.accept(&listener)?;
            } else if !relay.carry(number, &mut buffer).unwrap_or(false) {
                relay.close(number);
            }
        }
    }
}

struct Relay {
    upstream: SocketAddr,
    readiness: Readiness,
    ends: Vec<Option<End>>,
}

impl Relay {
    fn accept(&mut self, listener: &TcpListener) -> Result<()> {
        while let Ok((caller, _)) = listener.accept() {
            let upstream = TcpStream::connect(self.upstream).context("the upstream takes no connection")?;
            let free = (0..self.ends.len())
                .step_by(2)
                .find(|&number| self.ends[number].is_none());
            let first = free.unwrap_or(self.ends.len());
            for (number, stream) in [(first, caller), (first + 1, upstream)] {
                stream.set_nonblocking(true)?;
                stream.set_nodelay(true)?;
                self.readiness.add(&stream, number, Interest::Read)?;
                let end = Some(End {
                    stream,
                    waiting: Vec::new(),
                });
                match self.ends.get_mut(number) {
                    Some(slot) => *slot = end,
                    None => self.ends.push(end),
                }
            }
        }
        Ok(())
    }

    /// Moves what there is from this end to the other, or what waits for this end into it; false when one of them has closed.
    fn carry(&mut self, number: usize, buffer: &mut [u8]) -> Result<bool> {
        let [Some(own), Some(other)] = self.pair(number)? else {
            return Ok(true);
        };
        if !own.waiting.is_empty() {
            let written = match own.stream.write(&own.waiting) {
                Ok(written) => written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
                Err(error) => return Err(error.into()),
            };
            own.waiting.drain(..written);
            if own.waiting.is_empty() {
                self.watch(number, Interest::Read)?;
                self.watch(number ^ 1, Interest::Read)?;
            }
            return Ok(true);
        }
        let read = match own.stream.read(buffer) {
            Ok(0) => return Ok(false),
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
            Err(error) => return Err(error.into()),
        };
        let written = match other.stream.write(&buffer[..read]) {
            Ok(written) => written,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error.into()),
        };
        if written < read {
            // Nothing more is read for the other end until it has taken this.
            other.waiting.extend_from_slice(&buffer[written..read]);
            self.watch(number, Interest::End)?;
            self.watch(number ^ 1, Interest::Write)?;
        }
        Ok(true)
    }

    fn pair(&mut self, number: usize) -> Result<[&mut Option<End>; 2]> {
        Ok(self.ends.get_disjoint_mut([number, number ^ 1])?)
    }

    fn watch(&self, number: usize, interest: Interest) -> Result<()> {
        match self.ends.get(number) {
            Some(Some(end)) => self.readiness.change(&end.stream, number, interest),
            _ => Ok(()),
        }
    }

    fn close(&mut self, number: usize) {
        for number in [number, number ^ 1] {
            if let Some(slot) = self.ends.get_mut(number) {
                *slot = None;
            }
        }
    }
}
