//! A link between a gateway and a control API that fails as it is told: a TCP proxy in this process, switched while it runs.
//!
//! Bytes are never changed, doubled or put in another order, only cut off, kept back or thrown away with the connection they
//! belonged to: what TCP itself may do to its users. Scenarios switch it.

use super::dice::Dice;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What the kernel may hold for a reader that does not read. Small, so that a slow reader is felt by its peer.
const RECEIVE_BUFFER_BYTES: u32 = 32 * 1024;

/// One way through the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the gateway.
    ToControl,
    /// From the control API.
    ToGateway,
}

/// What becomes of bytes that go one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// They pass.
    Pass,
    /// They are taken and thrown away, as on a path whose far end is gone: half open. A connection that lost bytes is reset when
    /// the flow changes again.
    Lose,
    /// They are kept, in order, until the flow changes, and pass then.
    Keep,
    /// So many bytes a second pass. What comes faster waits in the sender's socket.
    Slow(u64),
    /// So many more bytes pass, counted for each connection by itself; then it is reset.
    CutAfter(u64),
}

/// How the link is to behave now.
#[derive(Debug, Clone, Copy)]
struct Plan {
    upstream: SocketAddr,
    accepts: bool,
    to_control: Flow,
    to_gateway: Flow,
    /// Counted up to reset all connections that are open.
    cuts: u64,
    /// Counted up with each change of flow, so that each `CutAfter` counts anew.
    changes: u64,
}

impl Plan {
    fn flow(&self, direction: Direction) -> Flow {
        match direction {
            Direction::ToControl => self.to_control,
            Direction::ToGateway => self.to_gateway,
        }
    }
}

/// A running link.
pub struct Link {
    /// What the gateway takes for its control API.
    pub address: SocketAddr,
    plan: watch::Sender<Plan>,
    passed: Arc<[AtomicU64; 2]>,
    accepting: JoinHandle<()>,
}

impl Link {
    /// A link to `upstream` through which everything passes, in pieces whose sizes are drawn from `dice`.
    pub async fn start(upstream: SocketAddr, dice: Dice) -> Link {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (plan, watching) = watch::channel(Plan {
            upstream,
            accepts: true,
            to_control: Flow::Pass,
            to_gateway: Flow::Pass,
            cuts: 0,
            changes: 0,
        });
        let passed = Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
        let counts = Arc::clone(&passed);
        let accepting = tokio::spawn(async move {
            // Connections end with the link.
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(carry(stream, watching.clone(), dice.fork(), Arc::clone(&counts)));
                while connections.try_join_next().is_some() {}
            }
        });
        Link {
            address,
            plan,
            passed,
            accepting,
        }
    }

    /// Lets everything pass again. Connections that lost bytes are reset.
    pub fn heal(&self) {
        self.change(|plan| {
            plan.accepts = true;
            plan.to_control = Flow::Pass;
            plan.to_gateway = Flow::Pass;
        });
    }

    /// Sets what becomes of bytes one way.
    pub fn set(&self, direction: Direction, flow: Flow) {
        self.change(|plan| match direction {
            Direction::ToControl => plan.to_control = flow,
            Direction::ToGateway => plan.to_gateway = flow,
        });
    }

    /// Sets what becomes of bytes both ways.
    pub fn set_both(&self, flow: Flow) {
        self.change(|plan| {
            plan.to_control = flow;
            plan.to_gateway = flow;
        });
    }

    /// Resets new connections as they come; those that are open stay.
    pub fn refuse(&self) {
        self.change(|plan| plan.accepts = false);
    }

    /// Resets every connection that is open. New ones are taken.
    pub fn cut(&self) {
        self.change(|plan| plan.cuts += 1);
    }

    /// Resets every connection and takes no new one until [`Link::heal`].
    pub fn sever(&self) {
        self.change(|plan| {
            plan.accepts = false;
            plan.cuts += 1;
        });
    }

    /// Leads to another control API: open connections are reset, new ones go there.
    pub fn lead_to(&self, upstream: SocketAddr) {
        self.change(|plan| {
            plan.upstream = upstream;
            plan.cuts += 1;
        });
    }

    /// Leads new connections to another control API; open ones stay where they are.
    pub fn lead_new_to(&self, upstream: SocketAddr) {
        self.change(|plan| plan.upstream = upstream);
    }

    /// Bytes that have passed one way so far.
    pub fn passed(&self, direction: Direction) -> u64 {
        self.passed[index(direction)].load(Ordering::SeqCst)
    }

    fn change(&self, change: impl FnOnce(&mut Plan)) {
        self.plan.send_modify(|plan| {
            change(plan);
            plan.changes += 1;
        });
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

const fn index(direction: Direction) -> usize {
    match direction {
        Direction::ToControl => 0,
        Direction::ToGateway => 1,
    }
}

/// Carries one connection to its end. Whatever ends it other than both sides having said all, ends it by a reset.
async fn carry(mut gateway: TcpStream, mut watching: watch::Receiver<Plan>, dice: Dice, passed: Arc<[AtomicU64; 2]>) {
    let plan = *watching.borrow_and_update();
    let ended_well = if plan.accepts {
        match connect(plan.upstream, &mut watching, plan.cuts).await {
            Ok(mut control) => {
                let ended_well = pump_both(&mut gateway, &mut control, &watching, plan.cuts, &dice, &passed).await;
                if !ended_well {
                    reset(&control);
                }
                ended_well
            }
            Err(_) => false,
        }
    } else {
        false
    };
    if !ended_well {
        reset(&gateway);
    }
}

/// With nothing to linger for, closing sends a reset.
fn reset(stream: &TcpStream) {
    // A socket that is gone already needs none.
    let _ = stream.set_zero_linger();
}

async fn connect(to: SocketAddr, watching: &mut watch::Receiver<Plan>, cuts: u64) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
    tokio::select! {
        connected = socket.connect(to) => connected,
        () = cut(watching, cuts) => Err(io::ErrorKind::ConnectionReset.into()),
    }
}

/// Waits until connections made before are to be reset.
async fn cut(watching: &mut watch::Receiver<Plan>, cuts: u64) {
    if watching.wait_for(|plan| plan.cuts != cuts).await.is_err() {
        // The link itself is gone, and this task with it.
        std::future::pending::<()>().await;
    }
}

async fn pump_both(
    gateway: &mut TcpStream,
    control: &mut TcpStream,
    watching: &watch::Receiver<Plan>,
    cuts: u64,
    dice: &Dice,
    passed: &[AtomicU64; 2],
) -> bool {
    for stream in [&*gateway, &*control] {
        // Latency is measured across this link.
        let _ = stream.set_nodelay(true);
    }
    let (from_gateway, to_gateway) = gateway.split();
    let (from_control, to_control) = control.split();
    let mut cutting = watching.clone();
    let pump = |from, to, direction| Pump {
        from,
        to,
        direction,
        watching: watching.clone(),
        dice: dice.fork(),
        passed: &passed[index(direction)],
    };
    let up = pump(from_gateway, to_control, Direction::ToControl);
    let down = pump(from_control, to_gateway, Direction::ToGateway);
    tokio::select! {
        ended = async { tokio::try_join!(up.run(), down.run()) } => ended.is_ok(),
        () = cut(&mut cutting, cuts) => false,
    }
}

/// Carries bytes one way.
struct Pump<'a> {
    from: ReadHalf<'a>,
    to: WriteHalf<'a>,
    direction: Direction,
    watching: watch::Receiver<Plan>,
    dice: Dice,
    passed: &'a AtomicU64,
}

impl Pump<'_> {
    /// Until the sender has said all and it was passed on. An error asks for a reset.
    async fn run(mut self) -> io::Result<()> {
        let mut buffer = [0; 4096];
        loop {
            // Pieces of any size, so that lines are cut anywhere.
            let most = 1 + self.dice.index(buffer.len());
            let count = self.from.read(&mut buffer[..most]).await?;
            if count == 0 {
                self.end().await?;
                return self.to.shutdown().await;
            }
            self.pass(&buffer[..count]).await?;
        }
    }

    fn flow(&mut self) -> (Flow, u64) {
        let plan = self.watching.borrow_and_update();
        (plan.flow(self.direction), plan.changes)
    }

    async fn changed(&mut self) -> io::Result<()> {
        self.watching.changed().await.map_err(io::Error::other)
    }

    async fn pass(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.flow().0 {
                Flow::Pass => {
                    self.write(bytes).await?;
                    bytes = &[];
                }
                Flow::Keep => self.changed().await?,
                Flow::Lose => return self.lose().await,
                Flow::Slow(per_second) => {
                    // A fiftieth of a second at a time, or a byte where that is less than one.
                    let most = usize::try_from((per_second / 50).max(1)).unwrap_or(usize::MAX);
                    let (now, later) = bytes.split_at(bytes.len().min(most));
                    self.write(now).await?;
                    bytes = later;
                    tokio::select! {
                        () = tokio::time::sleep(Duration::from_millis(20)) => {}
                        changed = self.changed() => changed?,
                    }
                }
                Flow::CutAfter(more) => return self.cut_after(more, bytes).await,
            }
        }
        Ok(())
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.to.write_all(bytes).await?;
        let count = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.passed.fetch_add(count, Ordering::SeqCst);
        Ok(())
    }

    /// Takes and throws away until the flow is another; then nothing but a reset is honest.
    async fn lose(&mut self) -> io::Result<()> {
        let mut lost = [0; 4096];
        while self.flow().0 == Flow::Lose {
            tokio::select! {
                read = self.from.read(&mut lost) => {
                    if !matches!(read, Ok(1..)) {
                        // The sender has gone, and nobody hears of it until the flow changes.
                        self.changed().await?;
                    }
                }
                changed = self.watching.changed() => changed.map_err(io::Error::other)?,
            }
        }
        Err(io::ErrorKind::ConnectionReset.into())
    }

    /// Passes `more` bytes, beginning with `bytes`, then asks for a reset; unless the flow changes before.
    async fn cut_after(&mut self, mut more: u64, bytes: &[u8]) -> io::Result<()> {
        let (_, at) = self.flow();
        let mut buffer = [0; 4096];
        let mut count = bytes.len();
        buffer[..count].copy_from_slice(bytes);
        loop {
            let now = count.min(usize::try_from(more).unwrap_or(usize::MAX));
            self.write(&buffer[..now]).await?;
            more -= u64::try_from(now).unwrap_or(u64::MAX);
            if more == 0 {
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            tokio::select! {
                read = self.from.read(&mut buffer) => match read? {
                    0 => return Ok(()),
                    read => count = read,
                },
                changed = self.watching.changed() => {
                    changed.map_err(io::Error::other)?;
                    if self.flow().1 != at {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// The end of what a sender says is told as late, or as little, as its bytes.
    async fn end(&mut self) -> io::Result<()> {
        loop {
            match self.flow().0 {
                Flow::Pass | Flow::Slow(_) | Flow::CutAfter(_) => return Ok(()),
                Flow::Keep => self.changed().await?,
                Flow::Lose => return self.lose().await,
            }
        }
    }
}
