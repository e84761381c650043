//! Ten thousand connections that say nothing, or not enough, as far as the limit of files allows both ends.

use super::Target;
use crate::support::client::Connection;
use crate::support::node::PATIENCE;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// One such crowd at a time in this process.
static ROOM: Mutex<()> = Mutex::new(());

/// As many connections as the file limit of this process leaves room for beside the other tests, and the right to them.
pub fn crowd() -> (usize, MutexGuard<'static, ()>) {
    let right = ROOM.lock().unwrap_or_else(PoisonError::into_inner);
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let files = getrlimit(Resource::Nofile).current.unwrap_or(1 << 20) as usize;
    let count = files.saturating_sub(2_000).min(10_000);
    assert!(count >= 5_000, "the limit of files is too low for this test: {count}");
    (count, right)
}

pub fn open(address: SocketAddr, count: usize) -> Vec<TcpStream> {
    // The kernel's queue of a busy node may be full for a moment.
    (0..count).map(|_| TcpStream::connect_timeout(&address, PATIENCE).expect("a connection")).collect()
}

#[test]
fn silent_or_begun_they_cost_little_and_go() {
    let (count, _right) = crowd();
    let mut target = Target::new(&[]);
    let mut sockets = open(target.node.listen, count);
    target.is_unharmed();
    let grown = target.rss() - target.memory;
    assert!(grown < count as f64 * 1_000.0 + 8e6, "{grown} bytes for {count} silent connections");
    // Half of them begin to speak.
    sockets.iter_mut().step_by(2).for_each(|socket| drop(socket.write_all(b"G")));
    target.is_unharmed();
    let begun = Instant::now();
    for socket in &mut sockets {
        socket.set_read_timeout(Some(PATIENCE * 4)).expect("an option");
        let mut bytes = [0; 512];
        // Closed, with or without an answer before.
        while matches!(socket.read(&mut bytes), Ok(n) if n > 0) {}
    }
    assert!(begun.elapsed() < PATIENCE * 8);
    drop(sockets);
    target.ends_as_before();
}

#[test]
fn on_a_node_that_speaks_tls() {
    let (count, _right) = crowd();
    let mut target = Target::secure("half-open", &[]);
    let mut sockets = open(target.node.listen, count);
    target.is_unharmed();
    // A third says nothing, a third begins a message, a third stops behind the first one.
    let hello = super::slow::hello();
    for (number, socket) in sockets.iter_mut().enumerate() {
        let said = [0, 7, hello.len()][number % 3];
        // One that the node has closed meanwhile takes nothing.
        let _ = socket.write_all(&hello[..said]);
    }
    target.is_unharmed();
    let grown = target.rss() - target.memory;
    assert!(grown < count as f64 * 1_000.0 + 22e6, "{grown} bytes for {count} half-open connections");
    for socket in &mut sockets {
        socket.set_read_timeout(Some(PATIENCE * 4)).expect("an option");
        while matches!(socket.read(&mut [0; 4096]), Ok(n) if n > 0) {}
    }
    drop(sockets);
    target.ends_as_before();
}

#[test]
fn more_connections_than_there_is_room_for() {
    let mut target = Target::new(&["--max-connections", "50"]);
    let silent: Vec<Connection> = (0..600).map(|_| Connection::open(target.node.listen)).collect();
    // Beyond the spare ones the oldest are closed, and counted.
    let refused = "fantail_connections_refused_total{reason=\"displaced\"}";
    crate::support::node::eventually("refusals", || target.node.metric(refused) >= 100.0);
    drop(silent);
    target.node.metric_becomes("fantail_connections_waiting", 0.0);
    target.is_unharmed();
    target.ends_as_before();
}
