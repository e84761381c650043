//! A way to a server that carries only so many bytes a second in each of its connections.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How often something passes.
const STEP: Duration = Duration::from_millis(10);

/// Listens until the process ends.
pub struct SlowWay {
    pub address: SocketAddr,
    passed: Arc<AtomicU64>,
}

impl SlowWay {
    /// To a port of this machine. Only what the server sends is slow.
    pub fn to(port: u16, bytes_per_second: u64) -> SlowWay {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let passed = Arc::new(AtomicU64::new(0));
        let counter = passed.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { continue };
                let _ = (client.set_nodelay(true), server.set_nodelay(true));
                let pair = || (client.try_clone().expect("a socket"), server.try_clone().expect("a socket"));
                let (mut from, mut to) = pair();
                std::thread::spawn(move || {
                    let _ = io::copy(&mut from, &mut to);
                    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
                });
                let ((to, from), counter) = (pair(), counter.clone());
                std::thread::spawn(move || {
                    let _ = carry(&from, &to, bytes_per_second, &counter);
                    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
                });
            }
        });
        SlowWay { address, passed }
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Bytes that came from the server so far.
    pub fn passed(&self) -> u64 {
        self.passed.load(Ordering::SeqCst)
    }
}

fn carry(mut from: &TcpStream, mut to: &TcpStream, bytes_per_second: u64, passed: &AtomicU64) -> io::Result<()> {
    let piece = (bytes_per_second * STEP.as_millis() as u64 / 1000).max(1) as usize;
    let mut buffer = vec![0; piece];
    loop {
        let begun = Instant::now();
        let length = from.read(&mut buffer)?;
        if length == 0 {
            return Ok(());
        }
        to.write_all(&buffer[..length])?;
        passed.fetch_add(length as u64, Ordering::SeqCst);
        // A small piece has not used up the time.
        let due = STEP.mul_f64(length as f64 / piece as f64);
        std::thread::sleep(due.saturating_sub(begun.elapsed()));
    }
}
