//! Which sockets can be read or written: a thin cover over epoll, level-triggered.
//!
//! Knows nothing of what the sockets carry; the upstream, the relay and the load generator name theirs by numbers.

use anyhow::Result;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// Events that one call can bring.
const EVENTS_MAX: usize = 256;

/// Sockets that are watched.
pub(crate) struct Readiness {
    epoll: OwnedFd,
    events: Vec<Event>,
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interest {
    /// Something to read.
    Read,
    /// Room to write.
    Write,
    /// Nothing, but the end of the connection is told still.
    End,
}

impl Interest {
    fn flags(self) -> EventFlags {
        match self {
            Interest::Read => EventFlags::IN,
            Interest::Write => EventFlags::OUT,
            Interest::End => EventFlags::empty(),
        }
    }
}

impl Readiness {
    /// Watches nothing yet.
    pub(crate) fn new() -> Result<Readiness> {
        Ok(Readiness {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            events: Vec::with_capacity(EVENTS_MAX),
        })
    }

    /// Watches `socket` too, under a number of the caller's.
    pub(crate) fn add(&self, socket: impl AsFd, number: usize, interest: Interest) -> Result<()> {
        Ok(epoll::add(&self.epoll, socket, data(number)?, interest.flags())?)
    }

    /// Waits for something else from now on.
    pub(crate) fn change(&self, socket: impl AsFd, number: usize, interest: Interest) -> Result<()> {
        Ok(epoll::modify(&self.epoll, socket, data(number)?, interest.flags())?)
    }

    /// Numbers of the sockets that are ready, after waiting at most so long. A socket that is closed is no longer watched.
    pub(crate) fn wait(&mut self, at_most: Option<Duration>, ready: &mut Vec<usize>) -> Result<()> {
        ready.clear();
        self.events.clear();
        let timeout = at_most.map(Timespec::try_from).transpose()?;
        match epoll::wait(
            &self.epoll,
            rustix::buffer::spare_capacity(&mut self.events),
            timeout.as_ref(),
        ) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        ready.extend(
            self.events
                .iter()
                .filter_map(|event| usize::try_from(event.data.u64()).ok()),
        );
        Ok(())
    }
}

fn data(number: usize) -> Result<EventData> {
    Ok(EventData::new_u64(u64::try_from(number)?))
}
