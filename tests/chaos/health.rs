//! What nodes say of themselves: `fantail_backplane_up`, read often, with the times of its changes.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);
/// Admin pages answer at once, or the node is frozen.
const PATIENCE: Duration = Duration::from_millis(500);

/// Looks at one node for as long as it lives.
pub struct Watch {
    stop: Arc<AtomicBool>,
    /// Each change: since when, and whether the backplane is up.
    changes: Arc<Mutex<Vec<(Instant, bool)>>>,
}

impl Watch {
    pub fn start(admin: SocketAddr) -> Watch {
        let watch = Watch { stop: Arc::default(), changes: Arc::default() };
        let (stop, changes) = (watch.stop.clone(), watch.changes.clone());
        std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                if let Some(up) = look(admin) {
                    let mut changes = changes.lock().unwrap();
                    if changes.last().is_none_or(|(_, before)| *before != up) {
                        changes.push((Instant::now(), up));
                    }
                }
                std::thread::sleep(LOOK);
            }
        });
        watch
    }

    /// Whether it is up now; `None` before the first look.
    pub fn is_up(&self) -> Option<bool> {
        self.changes.lock().unwrap().last().map(|(_, up)| *up)
    }

    /// How long after a moment it said so first.
    pub fn after(&self, moment: Instant, up: bool) -> Option<Duration> {
        let changes = self.changes.lock().unwrap();
        let before = changes.iter().rev().find(|(at, _)| *at <= moment);
        if before.is_some_and(|(_, state)| *state == up) {
            return Some(Duration::ZERO);
        }
        changes.iter().find(|(at, state)| *at > moment && *state == up).map(|(at, _)| *at - moment)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn look(admin: SocketAddr) -> Option<bool> {
    let mut socket = TcpStream::connect_timeout(&admin, PATIENCE).ok()?;
    socket.set_read_timeout(Some(PATIENCE)).ok()?;
    socket.write_all(b"GET /metrics HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n").ok()?;
    let mut text = String::new();
    socket.read_to_string(&mut text).ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix("fantail_backplane_up "))?;
    Some(value.trim() == "1")
}
