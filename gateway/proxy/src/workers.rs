//! The threads that serve connections: each has a runtime of its own, and what belongs to a connection never leaves its thread.
//!
//! Decides which thread a new connection goes to: the one with the fewest. Nothing is shared or stolen between them on the way of a
//! request, upstream connections included. [`crate::proxy`] starts them, [`crate::listener`] feeds them.

use crate::connection::ConnectionServer;
use crate::listener::ListenerProfile;
use crate::occupancy::Place;
use crate::{fast, idle};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::MissedTickBehavior;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// A connection that was accepted.
pub(crate) struct Arrival {
    /// The socket, registered with no runtime.
    pub(crate) socket: std::net::TcpStream,
    /// The TCP peer.
    pub(crate) peer: SocketAddr,
    /// What connections of its listener look like.
    pub(crate) profile: Arc<ListenerProfile>,
    /// Its place among all connections.
    pub(crate) place: Place,
    /// Held until it is closed.
    pub(crate) tracked: TaskTrackerToken,
}

/// The threads. Dropping it ends them, and cuts off whatever they serve.
pub(crate) struct Workers(Box<[Worker]>);

struct Worker {
    arrivals: UnboundedSender<Arrival>,
    connections: Arc<AtomicUsize>,
}

impl Workers {
    /// Starts `count` threads.
    pub(crate) fn start(count: usize, server: &Arc<ConnectionServer>) -> io::Result<Workers> {
        let start = |number| {
            let (arrivals, arriving) = unbounded_channel();
            let connections = Arc::<AtomicUsize>::default();
            let runtime = Builder::new_current_thread().enable_all().build()?;
            let (server, open) = (Arc::clone(server), Arc::clone(&connections));
            std::thread::Builder::new()
                .name(format!("gateway-{number}"))
                .spawn(move || runtime.block_on(work(server, arriving, open)))?;
            Ok(Worker { arrivals, connections })
        };
        (0..count).map(start).collect::<io::Result<_>>().map(Workers)
    }

    /// Hands a connection to the thread that has the fewest.
    pub(crate) fn take(&self, arrival: Arrival) {
        let open = |worker: &&Worker| worker.connections.load(Ordering::Relaxed);
        if let Some(worker) = self.0.iter().min_by_key(open) {
            worker.connections.fetch_add(1, Ordering::Relaxed);
            // A thread ends only once this is dropped.
            let _ = worker.arrivals.send(arrival);
        }
    }
}

/// What one thread does. Once it returns, its runtime is dropped with all that it still serves.
async fn work(server: Arc<ConnectionServer>, mut arriving: UnboundedReceiver<Arrival>, open: Arc<AtomicUsize>) {
    let mut draining = server.draining.clone();
    let mut drains = false;
    let mut sweeps = tokio::time::interval(fast::SWEEP_INTERVAL);
    sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            arrival = arriving.recv() => match arrival {
                Some(arrival) => serve(&server, arrival, &open),
                None => return,
            },
            _ = sweeps.tick() => fast::sweep(),
            _ = draining.wait_for(|draining| *draining), if !drains => {
                drains = true;
                idle::wake_all();
            }
        }
    }
}

fn serve(server: &Arc<ConnectionServer>, arrival: Arrival, open: &Arc<AtomicUsize>) {
    let Arrival {
        socket,
        peer,
        profile,
        place,
        tracked,
    } = arrival;
    let counted = Counted(Arc::clone(open));
    let server = Arc::clone(server);
    let seat = Arc::clone(place.seat());
    let task = tokio::spawn(async move {
        let _held = (counted, tracked);
        match TcpStream::from_std(socket) {
            Ok(socket) => server.serve(socket, peer, &profile, place).await,
            Err(error) => tracing::warn!(%error, "a connection cannot be served"),
        }
    });
    seat.is_served_by(task.abort_handle());
}

/// One connection of a thread.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
