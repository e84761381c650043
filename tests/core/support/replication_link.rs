//! Between a primary and its replica: what the primary sends is passed on late, held, or not at all.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// Listens until the process ends.
pub struct ReplicationLink {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    delay: Duration,
    held: bool,
    cut: bool,
    sockets: Vec<TcpStream>,
}

impl ReplicationLink {
    /// A link to the primary on this port.
    pub fn start(primary: u16) -> ReplicationLink {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let shared = Arc::new(Shared::default());
        let all = shared.clone();
        std::thread::spawn(move || {
            for replica in listener.incoming().flatten() {
                let Ok(primary) = TcpStream::connect(("127.0.0.1", primary)) else { continue };
                let mut state = all.state.lock().unwrap();
                if state.cut {
                    continue;
                }
                let clone = |socket: &TcpStream| socket.try_clone().expect("a descriptor");
                state.sockets.extend([clone(&replica), clone(&primary)]);
                let (back, forth) = ((clone(&replica), clone(&primary)), (primary, replica));
                let shared = all.clone();
                std::thread::spawn(move || std::io::copy(&mut { back.0 }, &mut { back.1 }));
                std::thread::spawn(move || pass(forth.0, forth.1, shared));
            }
        });
        ReplicationLink { port, shared }
    }

    /// Where the replica finds its primary.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Passes everything on so much later.
    pub fn delay(&self, delay: Duration) {
        self.change(|state| state.delay = delay);
    }

    /// Passes nothing on until it is released.
    pub fn hold(&self) {
        self.change(|state| state.held = true);
    }

    /// Passes on what was held, and takes connections again.
    pub fn release(&self) {
        self.change(|state| (state.held, state.cut) = (false, false));
    }

    /// Ends the connection, and takes no other until it is released.
    pub fn cut(&self) {
        self.change(|state| {
            state.cut = true;
            state.sockets.drain(..).for_each(|socket| drop(socket.shutdown(Shutdown::Both)));
        });
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.shared.state.lock().unwrap());
        self.shared.changed.notify_all();
    }
}

/// Passes on what comes, as late as it shall be.
fn pass(mut from: TcpStream, mut to: TcpStream, shared: Arc<Shared>) {
    type Queue = (VecDeque<(Instant, Vec<u8>)>, bool);
    let queue: Arc<(Mutex<Queue>, Condvar)> = Arc::default();
    let filled = queue.clone();
    std::thread::spawn(move || {
        let mut bytes = [0; 64 << 10];
        loop {
            let length = from.read(&mut bytes).unwrap_or(0);
            let mut queue = filled.0.lock().unwrap();
            match length {
                0 => queue.1 = true,
                length => queue.0.push_back((Instant::now(), bytes[..length].to_vec())),
            }
            filled.1.notify_all();
            if queue.1 {
                return;
            }
        }
    });
    loop {
        let (at, bytes) = {
            let waiting = |queue: &mut Queue| queue.0.is_empty() && !queue.1;
            let mut queue = queue.1.wait_while(queue.0.lock().unwrap(), waiting).unwrap();
            match queue.0.pop_front() {
                Some(piece) => piece,
                None => break,
            }
        };
        let mut state = shared.state.lock().unwrap();
        while let Some(left) = left(&state, at) {
            state = shared.changed.wait_timeout(state, left).unwrap().0;
        }
        drop(state);
        if to.write_all(&bytes).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}

/// How long what came then must still wait.
fn left(state: &State, at: Instant) -> Option<Duration> {
    match (state.held && !state.cut, at + state.delay) {
        (true, _) => Some(Duration::from_secs(1)),
        (false, due) => due.checked_duration_since(Instant::now()).filter(|left| !left.is_zero() && !state.cut),
    }
}
