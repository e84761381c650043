//! Speaks for a server on connections: takes commands in, whatever pieces they come in, and writes what the server says.
//!
//! What happens on the way is for a [`Way`] to decide. Waiting is done by tokio's clock alone, and what time it is for the
//! server is told by whoever made the [`Host`].

use super::connection::ConnectionId;
use super::reply::Reply;
use super::server::Server;
use super::wire::Decoder;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::time::sleep;

/// Bytes of one read.
const READ: usize = 16 << 10;

/// One step of bytes on their way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// These come to the other side.
    Bytes(Vec<u8>),
    /// What follows comes so much later.
    Pause(Duration),
    /// The connection ends here.
    Cut,
}

/// What becomes of bytes on one connection. By default all of them come at once.
pub trait Way: Send {
    /// What the client has sent.
    fn sent(&mut self, bytes: Vec<u8>) -> Vec<Piece> {
        vec![Piece::Bytes(bytes)]
    }

    /// What the server has said.
    fn said(&mut self, bytes: Vec<u8>) -> Vec<Piece> {
        vec![Piece::Bytes(bytes)]
    }
}

/// Bytes that come as they are.
#[derive(Clone, Copy, Debug, Default)]
pub struct Straight;

impl Way for Straight {}

/// A server that many connections lead to.
#[derive(Clone)]
pub struct Host(Arc<Shared>);

struct Shared {
    server: Mutex<Server>,
    now_ms: Box<dyn Fn() -> u64 + Send + Sync>,
    writers: Mutex<BTreeMap<ConnectionId, Arc<Notify>>>,
    changed: Notify,
}

impl Host {
    /// A host of one server; `now_ms` tells the server's time, in milliseconds since 1970.
    pub fn new(server: Server, now_ms: impl Fn() -> u64 + Send + Sync + 'static) -> Host {
        Host(Arc::new(Shared {
            server: Mutex::new(server),
            now_ms: Box::new(now_ms),
            writers: Mutex::default(),
            changed: Notify::new(),
        }))
    }

    /// Does something to the server; what it says of that is written.
    pub fn with<T>(&self, what: impl FnOnce(&mut Server) -> T) -> T {
        let mut server = lock(&self.0.server);
        let done = what(&mut server);
        let talkative = server.take_talkative();
        drop(server);
        let writers = lock(&self.0.writers);
        talkative.iter().filter_map(|id| writers.get(id)).for_each(|writer| writer.notify_one());
        self.0.changed.notify_one();
        done
    }

    /// Looks at the server, without changing it.
    pub fn look<T>(&self, what: impl FnOnce(&Server) -> T) -> T {
        what(&lock(&self.0.server))
    }

    /// The server's time, in milliseconds since 1970.
    pub fn now_ms(&self) -> u64 {
        (self.0.now_ms)()
    }

    /// Has keys expire and waits end in their time; it never ends by itself.
    pub async fn keep_time(&self) {
        loop {
            let due = lock(&self.0.server).next_deadline();
            let Some(due) = due else {
                self.0.changed.notified().await;
                continue;
            };
            if due <= self.now_ms() {
                self.with(|server| server.tick((self.0.now_ms)()));
                continue;
            }
            tokio::select! {
                biased;
                () = sleep(Duration::from_millis(due - self.now_ms())) => {}
                () = self.0.changed.notified() => {}
            }
        }
    }

    /// Serves one connection until either side ends it, or `way` does.
    pub async fn serve<S: AsyncRead + AsyncWrite>(&self, stream: S, way: impl Way) {
        let id = self.with(Server::connect);
        let writer = Arc::new(Notify::new());
        lock(&self.0.writers).insert(id, writer.clone());
        let _end = End(self.clone(), id);
        let (mut from, mut to) = tokio::io::split(stream);
        let way = Mutex::new(way);
        tokio::select! {
            biased;
            () = self.take_in(id, &mut from, &way) => {}
            () = self.write_out(id, &mut to, &way, &writer) => {}
        }
        let _ = to.shutdown().await;
    }

    async fn take_in(&self, id: ConnectionId, from: &mut (impl AsyncRead + Unpin), way: &Mutex<impl Way>) {
        let (mut decoder, mut buffer) = (Decoder::default(), vec![0; READ]);
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            let pieces = lock(way).sent(buffer[..length].to_vec());
            for piece in pieces {
                match piece {
                    Piece::Pause(pause) => sleep(pause).await,
                    Piece::Cut => return,
                    Piece::Bytes(bytes) => decoder.push(&bytes),
                }
                if !self.execute(id, &mut decoder) {
                    // What the server has to say is still written.
                    return std::future::pending().await;
                }
            }
        }
    }

    /// Runs the commands that are complete; whether more can follow.
    fn execute(&self, id: ConnectionId, decoder: &mut Decoder) -> bool {
        loop {
            match decoder.next_command() {
                Ok(Some(command)) => self.with(|server| server.execute(id, command, (self.0.now_ms)())),
                Ok(None) => return true,
                Err(error) => {
                    self.with(|server| server.refuse(id, error.0));
                    return false;
                }
            }
        }
    }

    async fn write_out(
        &self,
        id: ConnectionId,
        to: &mut (impl AsyncWrite + Unpin),
        way: &Mutex<impl Way>,
        writer: &Notify,
    ) {
        loop {
            let (output, ends) = {
                let mut server = lock(&self.0.server);
                (server.output(id), server.is_closing(id))
            };
            let mut bytes = Vec::new();
            output.iter().for_each(|outgoing| outgoing.encode(&mut bytes));
            let pieces = if bytes.is_empty() { Vec::new() } else { lock(way).said(bytes) };
            for piece in pieces {
                let done = match piece {
                    Piece::Cut => return,
                    Piece::Bytes(bytes) => to.write_all(&bytes).await,
                    Piece::Pause(pause) => {
                        sleep(pause).await;
                        Ok(())
                    }
                };
                if done.is_err() {
                    return;
                }
            }
            if to.flush().await.is_err() || ends {
                return;
            }
            writer.notified().await;
        }
    }
}

impl Server {
    /// Says what is wrong with what a connection has sent, and ends it.
    fn refuse(&mut self, id: ConnectionId, why: String) {
        self.reply(id, Reply::Error(why));
        self.kill(id);
    }
}

/// Whoever stops serving a connection has it forgotten.
struct End(Host, ConnectionId);

impl Drop for End {
    fn drop(&mut self) {
        lock(&self.0.0.writers).remove(&self.1);
        self.0.with(|server| server.disconnect(self.1));
    }
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
