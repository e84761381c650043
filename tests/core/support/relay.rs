//! Between nodes and their Redis: passes replies on one by one, or what a test makes of them.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// Given the command's name (`PUSH` for what was not asked for) and the reply: what is sent instead, if anything else.
pub type Spoil = Box<dyn FnMut(&str, &[u8]) -> Option<Vec<u8>> + Send>;

/// Listens until the process ends.
pub struct Relay {
    pub address: SocketAddr,
    spoil: Arc<Mutex<Option<Spoil>>>,
    spoilt: Arc<AtomicUsize>,
}

impl Relay {
    pub fn start(port: u16) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let relay = Relay { address, spoil: Arc::default(), spoilt: Arc::default() };
        let (spoil, spoilt) = (relay.spoil.clone(), relay.spoilt.clone());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { continue };
                let _ = (client.set_nodelay(true), server.set_nodelay(true));
                let names: Arc<Mutex<VecDeque<String>>> = Arc::default();
                let pair = || (client.try_clone().expect("a socket"), server.try_clone().expect("a socket"));
                let ((from, to), asked) = (pair(), names.clone());
                std::thread::spawn(move || {
                    let _ = commands(&from, &to, &asked);
                    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
                });
                let ((to, from), spoil, spoilt) = (pair(), spoil.clone(), spoilt.clone());
                std::thread::spawn(move || {
                    let _ = replies(&from, &to, &names, |name, reply| {
                        let other = spoil.lock().unwrap().as_mut().and_then(|spoil| spoil(name, reply));
                        spoilt.fetch_add(usize::from(other.is_some()), Ordering::SeqCst);
                        other
                    });
                    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
                });
            }
        });
        relay
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// From now on; returns how many replies were spoilt so far.
    pub fn spoil(&self, spoil: impl FnMut(&str, &[u8]) -> Option<Vec<u8>> + Send + 'static) -> usize {
        *self.spoil.lock().unwrap() = Some(Box::new(spoil));
        self.spoilt()
    }

    pub fn heal(&self) {
        *self.spoil.lock().unwrap() = None;
    }

    pub fn spoilt(&self) -> usize {
        self.spoilt.load(Ordering::SeqCst)
    }
}

fn commands(from: &TcpStream, mut to: &TcpStream, names: &Mutex<VecDeque<String>>) -> io::Result<()> {
    let mut reader = BufReader::new(from);
    loop {
        let mut bytes = Vec::new();
        frame(&mut reader, &mut bytes)?;
        // *N, $n, the name; or all in one line, as HELLO comes.
        let text = String::from_utf8_lossy(&bytes);
        let name = text.split_whitespace().nth(if bytes[0] == b'*' { 2 } else { 0 }).unwrap_or_default();
        names.lock().unwrap().push_back(name.to_ascii_uppercase());
        to.write_all(&bytes)?;
    }
}

fn replies(
    from: &TcpStream,
    mut to: &TcpStream,
    names: &Mutex<VecDeque<String>>,
    mut spoil: impl FnMut(&str, &[u8]) -> Option<Vec<u8>>,
) -> io::Result<()> {
    let mut reader = BufReader::new(from);
    loop {
        let mut bytes = Vec::new();
        frame(&mut reader, &mut bytes)?;
        let name = match bytes[0] {
            b'>' => "PUSH".to_owned(),
            _ => names.lock().unwrap().pop_front().unwrap_or_default(),
        };
        to.write_all(&spoil(&name, &bytes).unwrap_or(bytes))?;
    }
}

/// One whole frame of RESP2 or RESP3, as it is.
pub fn frame(from: &mut impl BufRead, into: &mut Vec<u8>) -> io::Result<()> {
    let start = into.len();
    if from.read_until(b'\n', into)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let line = String::from_utf8_lossy(&into[start..]).trim().to_owned();
    let (kind, count) = (line.as_bytes().first().copied(), line.get(1..).and_then(|n| n.parse::<i64>().ok()));
    match (kind, count) {
        (Some(b'$' | b'=' | b'!'), Some(length @ 0..)) => {
            let at = into.len();
            into.resize(at + length as usize + 2, 0);
            from.read_exact(&mut into[at..])
        }
        (Some(b'*' | b'~' | b'>'), Some(count)) => (0..count).try_for_each(|_| frame(from, into)),
        (Some(b'%'), Some(count)) => (0..2 * count).try_for_each(|_| frame(from, into)),
        (Some(b'|'), Some(count)) => (0..2 * count + 1).try_for_each(|_| frame(from, into)),
        _ => Ok(()),
    }
}
