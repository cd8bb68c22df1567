//! A network that fails on demand: a TCP proxy between a client and a server.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, timeout_at};

use crate::until;

/// The most that the proxy itself holds of a connection in one direction; the rest waits with the sender.
const CHUNK: usize = 64 * 1024;

/// A proxy in this process; it and its connections are gone when it is dropped. What a call changes holds for every byte
/// that is sent after it.
#[derive(Debug)]
pub struct ChaosProxy {
    shared: Arc<Shared>,
    address: SocketAddr,
    task: JoinHandle<()>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProxyCounts {
    /// Connections that are open, black-holed ones included.
    pub live: usize,
    /// Connections that were let in.
    pub accepted: usize,
    /// Connections that came while the network was cut.
    pub refused: usize,
    /// Bytes that reached the server, and those that reached clients.
    pub up: u64,
    pub down: u64,
}

#[derive(Debug, Default)]
struct Shared {
    network: watch::Sender<Network>,
    counts: watch::Sender<ProxyCounts>,
}

impl Shared {
    /// Writes and counts under one lock, so that whoever has heard a byte finds it counted.
    fn counted(&self, count: fn(&mut ProxyCounts, u64), write: impl FnOnce() -> io::Result<usize>) -> io::Result<usize> {
        let mut written = Ok(0);
        self.counts.send_modify(|counts| {
            written = write();
            count(counts, written.as_ref().map_or(0, |bytes| *bytes as u64));
        });
        written
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Network {
    way: Way,
    delay: Duration,
    /// How often it was cut, so that no connection outlives a cut that is healed at once.
    cuts: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Way {
    #[default]
    Open,
    Blackhole,
    Cut,
}

impl Drop for ChaosProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl ChaosProxy {
    /// A network without faults to this server, which need not be there yet.
    pub async fn start(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let task = tokio::spawn(accept(listener, upstream, shared.clone()));
        Self { shared, address, task }
    }

    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// Closes all connections, and new ones as soon as they come.
    pub fn cut(&self) {
        self.shared.network.send_modify(|network| {
            network.way = Way::Cut;
            network.cuts += 1;
        });
    }

    /// Connections stay open and nothing passes either way, not even their end. New ones are let in and swallowed.
    pub fn blackhole(&self) {
        self.shared.network.send_modify(|network| network.way = Way::Blackhole);
    }

    /// No fault any more, the delay included. What was black-holed goes on where it was, as TCP does by sending again.
    pub fn heal(&self) {
        self.shared.network.send_modify(|network| {
            network.way = Way::Open;
            network.delay = Duration::ZERO;
        });
    }

    /// What is read at once is passed on after this time, in each direction; only then is more read.
    pub fn delay(&self, delay: Duration) {
        self.shared.network.send_modify(|network| network.delay = delay);
    }

    #[must_use]
    pub fn counts(&self) -> ProxyCounts {
        *self.shared.counts.borrow()
    }

    /// Waits until its counts are so.
    pub async fn until(&self, what: &str, are: impl Fn(&ProxyCounts) -> bool) {
        until(&format!("{what}; the proxy has {:?}", self.counts()), async || are(&self.counts()).then_some(())).await;
    }
}

async fn accept(listener: TcpListener, upstream: SocketAddr, shared: Arc<Shared>) {
    // Dropped with this task, and all connections with it.
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let Network { way, cuts, .. } = *shared.network.borrow();
        match way {
            Way::Cut => shared.counts.send_modify(|c| c.refused += 1),
            Way::Open | Way::Blackhole => {
                connections.spawn(own(client, upstream, cuts, Live::enter(shared.clone())));
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

/// Keeps a connection until either side has closed it or the network is cut.
async fn own(client: TcpStream, upstream: SocketAddr, cuts: u64, live: Live) {
    let mut network = live.0.network.subscribe();
    tokio::select! {
        biased;
        _ = network.wait_for(|network| network.cuts != cuts) => {}
        // A connection that fails is closed, and there is nobody to tell.
        _ = relay(client, upstream, &live.0) => {}
    }
}

async fn relay(mut client: TcpStream, upstream: SocketAddr, shared: &Shared) -> io::Result<()> {
    passage(&mut shared.network.subscribe(), Instant::now()).await;
    let mut server = TcpStream::connect(upstream).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let ((from_client, to_client), (from_server, to_server)) = (client.split(), server.split());
    let up = carry(from_client, to_server, shared, |counts, bytes| counts.up += bytes);
    let down = carry(from_server, to_client, shared, |counts, bytes| counts.down += bytes);
    tokio::try_join!(up, down)?;
    Ok(())
}

/// One direction, until its end has been passed on.
async fn carry(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, shared: &Shared, count: fn(&mut ProxyCounts, u64)) -> io::Result<()> {
    let mut network = shared.network.subscribe();
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = from.read(&mut chunk).await;
        let since = Instant::now();
        // Ends and failures pass only where bytes do.
        passage(&mut network, since).await;
        let mut rest = &chunk[..read?];
        if rest.is_empty() {
            return to.shutdown().await;
        }
        while !rest.is_empty() {
            tokio::select! {
                biased;
                _ = network.changed() => passage(&mut network, since).await,
                ready = to.writable() => {
                    ready?;
                    match shared.counted(count, || to.try_write(rest)) {
                        Ok(bytes) => rest = &rest[bytes..],
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                        Err(error) => return Err(error),
                    }
                }
            }
        }
    }
}

/// Waits until the network lets through what came at this time.
async fn passage(network: &mut watch::Receiver<Network>, since: Instant) {
    loop {
        let Network { way, delay, .. } = *network.borrow_and_update();
        match way {
            Way::Open => {
                let due = since + delay;
                // A timer would round up to the next millisecond.
                if due <= Instant::now() || timeout_at(due, network.changed()).await.is_err() {
                    return;
                }
            }
            Way::Blackhole | Way::Cut => {
                // The sender lives as long as the connection.
                let _ = network.changed().await;
            }
        }
    }
}

/// A connection that counts.
struct Live(Arc<Shared>);

impl Live {
    fn enter(shared: Arc<Shared>) -> Self {
        shared.counts.send_modify(|counts| {
            counts.live += 1;
            counts.accepted += 1;
        });
        Self(shared)
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.0.counts.send_modify(|counts| counts.live -= 1);
    }
}
