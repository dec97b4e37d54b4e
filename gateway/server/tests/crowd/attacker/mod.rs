//! The other side: what a hostile crowd sends, from a process of its own at `nice 19`.
//!
//! It knows bytes, addresses and rates, and nothing of the gateway. The test starts itself again with `--attack PLAN`; "on" and
//! "off" on standard input begin and end the attack, and the answer to "off" is what came of it.

mod flood;
mod frames;
mod handshakes;
mod hold;
pub(crate) mod keys;
mod requests;

pub(crate) use frames::{continuations, empty_data, idle_http2, resets};

use serde::{Deserialize, Serialize};
use std::io::{BufRead, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

/// What to do to whom.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// The gateway's listener.
    pub(crate) target: SocketAddr,
    /// Connections at once.
    pub(crate) connections: usize,
    /// Addresses that they come from, spread evenly.
    pub(crate) sources: usize,
    /// What each connection does.
    pub(crate) means: Means,
}

/// What one connection does, over and over.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Means {
    /// Sends a request and reads its answer, all connections together so many a second. `{junk}` and `{unknown}` in the
    /// request become a new key each time. A connection that `closes` is used once.
    Requests {
        request: String,
        per_second: u32,
        closes: bool,
    },
    /// Sends an opening, then a drop now and then. Whoever is shown out comes again.
    Hold {
        opening: Vec<u8>,
        drip: Vec<u8>,
        every_ms: u64,
        reads: Reads,
    },
    /// Sends an opening, then the same bytes without end, all connections together so many times a second.
    Flood {
        opening: Vec<u8>,
        flood: Flood,
        per_second: u32,
    },
    /// Does TLS handshakes and nothing else, all connections together so many a second.
    Handshakes { per_second: u32 },
}

/// What becomes of what the gateway says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Reads {
    /// It is read, and there must be some before the attack is in force.
    Awaited,
    /// It is read.
    Some,
    /// It is left in the socket.
    Nothing,
}

/// What a flood is made of.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Flood {
    /// These bytes.
    Bytes(Vec<u8>),
    /// HTTP/2 requests of this header block, each reset at once, by the client or by a server that is provoked to.
    Resets { block: Vec<u8>, provoked: bool },
}

/// What came of it, since the process started.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub(crate) struct Tally {
    /// Connections that were made.
    pub(crate) opened: u64,
    /// Connections that the gateway closed.
    pub(crate) shown_out: u64,
    /// Requests, floods' pieces or handshakes that were sent.
    pub(crate) sent: u64,
    /// Answers by their first digit; of other protocols none.
    pub(crate) answered: [u64; 6],
}

#[derive(Default)]
struct Counts {
    opened: AtomicU64,
    shown_out: AtomicU64,
    sent: AtomicU64,
    answered: [AtomicU64; 6],
    in_force: AtomicU64,
}

/// Runs the plan that the test gave. Returns at the end of standard input.
pub(crate) fn run(plan: &str) {
    let plan: Plan = serde_json::from_str(plan).expect("a plan");
    super::raise_file_limit();
    let (order, mut orders) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if order.send(line == "on").is_err() {
                break;
            }
        }
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let counts = Arc::new(Counts::default());
        let mut crowd = JoinSet::new();
        while let Some(is_on) = orders.recv().await {
            if is_on {
                counts.in_force.store(0, Ordering::Relaxed);
                for place in 0..plan.connections {
                    crowd.spawn(one(plan.clone(), place, Arc::clone(&counts)));
                }
                // A connection counts once it has done what it came for, or was shown out.
                let all = u64::try_from(plan.connections).unwrap_or(0);
                let gather = async {
                    while counts.in_force.load(Ordering::Relaxed) < all {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                };
                let _ = tokio::time::timeout(Duration::from_secs(20), gather).await;
            } else {
                crowd.shutdown().await;
            }
            let tally = serde_json::to_string(&counts.tally()).expect("JSON");
            let mut out = std::io::stdout().lock();
            writeln!(out, "{tally}")
                .and_then(|()| out.flush())
                .expect("the test listens");
        }
    });
}

async fn one(plan: Plan, place: usize, counts: Arc<Counts>) {
    let means = plan.means.clone();
    let all = u32::try_from(plan.connections).unwrap_or(u32::MAX);
    let each = |per_second: u32| Duration::from_secs(1) * all / per_second.max(1);
    match means {
        Means::Requests {
            request,
            per_second,
            closes,
        } => requests::send(&plan, place, &counts, &request, each(per_second), closes).await,
        Means::Hold {
            opening,
            drip,
            every_ms,
            reads,
        } => hold::hold(&plan, place, &counts, &opening, (&drip, every_ms), reads).await,
        Means::Flood {
            opening,
            flood,
            per_second,
        } => flood::pour(&plan, place, &counts, &opening, &flood, each(per_second)).await,
        Means::Handshakes { per_second } => handshakes::shake(&plan, place, &counts, each(per_second)).await,
    }
}

impl Plan {
    /// A connection from this one's address. It leaves nothing behind in the kernel when it is closed.
    async fn connect(&self, place: usize, counts: &Counts) -> Option<TcpStream> {
        let source = u32::try_from(place % self.sources.max(1)).unwrap_or(0);
        let address = Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 1, 0, 1)) + source);
        let socket = TcpSocket::new_v4().ok()?;
        socket.set_zero_linger().ok()?;
        if matches!(
            self.means,
            Means::Hold {
                reads: Reads::Nothing,
                ..
            }
        ) {
            socket.set_recv_buffer_size(16 * 1024).ok()?;
        }
        socket.bind(SocketAddr::from((address, 0))).ok()?;
        let stream = socket.connect(self.target).await.ok()?;
        stream.set_nodelay(true).ok()?;
        counts.opened.fetch_add(1, Ordering::Relaxed);
        Some(stream)
    }
}

impl Counts {
    fn tally(&self) -> Tally {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Tally {
            opened: read(&self.opened),
            shown_out: read(&self.shown_out),
            sent: read(&self.sent),
            answered: std::array::from_fn(|digit| read(&self.answered[digit])),
        }
    }

    fn sent(&self) {
        self.sent.fetch_add(1, Ordering::Relaxed);
    }

    fn shown_out(&self) {
        self.shown_out.fetch_add(1, Ordering::Relaxed);
    }

    fn answered(&self, head: &[u8]) {
        let digit = head.get(9).copied().unwrap_or(b'0').wrapping_sub(b'0');
        if let Some(count) = self.answered.get(usize::from(digit)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn is_in_force(&self, once: &mut bool) {
        if !std::mem::replace(once, true) {
            self.in_force.fetch_add(1, Ordering::Relaxed);
        }
    }
}
