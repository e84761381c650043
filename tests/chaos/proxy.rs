//! A TCP proxy that stands in for the network, and for a node that does not do what it should.

use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::watch;

/// What the network does now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Network {
    Sound,
    /// Nothing comes through, in both directions, and nobody is told; later it does, as TCP sends again.
    Silent,
    /// Connections end, new ones too.
    Cut,
    /// Each piece comes later.
    Slow(Duration),
}

/// What is done to one event chunk in `every` on the way to clients.
#[derive(Clone, Copy, Debug)]
pub enum Tamper {
    Drop,
    Repeat,
    Swap,
}

/// Listens on a port of its own until its runtime ends.
pub struct Proxy {
    pub address: SocketAddr,
    network: watch::Sender<Network>,
    to: watch::Sender<SocketAddr>,
}

impl Proxy {
    /// Before a server, such as Redis.
    pub fn start(runtime: &Handle, to: SocketAddr) -> Proxy {
        Proxy::with(runtime, to, None)
    }

    /// Before a node, whose events it tampers with.
    pub fn tampering(runtime: &Handle, to: SocketAddr, tamper: Tamper, every: usize) -> Proxy {
        Proxy::with(runtime, to, Some((tamper, every)))
    }

    fn with(runtime: &Handle, to: SocketAddr, tamper: Option<(Tamper, usize)>) -> Proxy {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("an option");
        let address = listener.local_addr().expect("bound");
        let (network, state) = watch::channel(Network::Sound);
        let (to, target) = watch::channel(to);
        runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).expect("a listener");
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(connection(client, *target.borrow(), state.clone(), tamper));
            }
        });
        Proxy { address, network, to }
    }

    /// New connections go there; those that there are stay where they are.
    pub fn lead_to(&self, to: SocketAddr) {
        self.to.send_replace(to);
    }

    pub fn set(&self, network: Network) {
        self.network.send_replace(network);
    }
}

async fn connection(
    client: TcpStream,
    to: SocketAddr,
    mut network: watch::Receiver<Network>,
    tamper: Option<(Tamper, usize)>,
) {
    if network.wait_for(|network| *network != Network::Silent).await.is_err() || *network.borrow() == Network::Cut {
        return;
    }
    let Ok(server) = TcpStream::connect(to).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let mut up = tokio::spawn(copy(from_client, to_server, network.clone(), None));
    let mut down = tokio::spawn(copy(from_server, to_client, network.clone(), tamper.map(Chunks::new)));
    tokio::select! {
        _ = &mut up => {}
        _ = &mut down => {}
        _ = network.wait_for(|network| *network == Network::Cut) => {}
    }
    up.abort();
    down.abort();
}

async fn copy(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut network: watch::Receiver<Network>,
    mut chunks: Option<Chunks>,
) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(n @ 1..) = from.read(&mut buffer).await {
        if network.wait_for(|network| *network != Network::Silent).await.is_err() {
            return;
        }
        let now = *network.borrow();
        if let Network::Slow(by) = now {
            tokio::time::sleep(by).await;
        }
        let bytes = match &mut chunks {
            None => buffer[..n].to_vec(),
            Some(chunks) => chunks.pass(&buffer[..n]),
        };
        if to.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

/// An answer's chunks, one by one (RFC 9112, section 7.1).
struct Chunks {
    tamper: Tamper,
    every: usize,
    count: usize,
    in_head: bool,
    rest: Vec<u8>,
    held: Vec<u8>,
}

impl Chunks {
    fn new((tamper, every): (Tamper, usize)) -> Chunks {
        Chunks { tamper, every, count: 0, in_head: true, rest: Vec::new(), held: Vec::new() }
    }

    fn pass(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.rest.extend_from_slice(bytes);
        let mut out = Vec::new();
        if self.in_head {
            let Some(end) = self.rest.windows(4).position(|four| four == b"\r\n\r\n") else { return out };
            out.extend(self.rest.drain(..end + 4));
            self.in_head = false;
        }
        while let Some(chunk) = self.next() {
            let is_event = chunk.windows(6).any(|six| six == b"data: ");
            self.count += usize::from(is_event);
            if !is_event || !self.count.is_multiple_of(self.every) {
                out.extend(chunk);
                out.append(&mut self.held);
                continue;
            }
            match self.tamper {
                Tamper::Drop => {}
                Tamper::Repeat => out.extend([&chunk[..], &chunk].concat()),
                Tamper::Swap => self.held = chunk,
            }
        }
        out
    }

    fn next(&mut self) -> Option<Vec<u8>> {
        let line = self.rest.windows(2).position(|two| two == b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(&self.rest[..line]).ok()?, 16).ok()?;
        let whole = line + 2 + size + 2;
        (self.rest.len() >= whole).then(|| self.rest.drain(..whole).collect())
    }
}
