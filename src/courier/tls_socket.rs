//! A socket under TLS 1.3 whose records the courier makes itself: each is sealed once, and what a full socket leaves of it
//! is kept sealed. What the client says is looked at where it lies in the kernel, so nothing is kept of that.

use super::leftover::{Ledger, Leftover};
use crate::records::{Alert, MOST_RECORD, Opened, RECORD_BYTES, Session, record_length};
use mio::net::TcpStream;
use std::cell::RefCell;
use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;

#[cfg(test)]
mod tests;

/// Records without a use that are opened between two that are written. A client that says more is not listened to any more:
/// it stays in the kernel's buffer, as on a socket without TLS.
const MOST_HEARD: u8 = 32;
/// Bytes of other requests that are opened and dropped, to see what stands behind them.
const MOST_DROPPED: u32 = 64 << 10;

thread_local! {
    /// What is sealed, or looked at, by this thread just now.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A TCP socket and the keys of the session on it.
pub struct TlsSocket {
    pub(super) socket: TcpStream,
    session: Session,
    /// Sealed bytes that a full socket did not take.
    rest: Leftover,
    /// Counts them; there once the socket is registered.
    ledger: Option<Arc<Ledger>>,
    /// Records that were opened since the last one that was written.
    heard: u8,
    dropped: u32,
}

/// A node holds one for each subscriber under TLS; mio adds a word in debug builds.
const _: () = assert!(size_of::<TlsSocket>() <= 288);

impl TlsSocket {
    /// A session that has been handed over, between two records in both directions.
    pub fn new(socket: TcpStream, session: Session) -> TlsSocket {
        TlsSocket { socket, session, rest: Leftover::default(), ledger: None, heard: 0, dropped: 0 }
    }

    /// What full sockets leave is counted here from now on.
    pub fn count_in(&mut self, ledger: &Arc<Ledger>) {
        self.ledger = Some(ledger.clone());
    }

    /// Whether a full socket has left something of a record.
    pub fn has_leftover(&self) -> bool {
        !self.rest.is_empty()
    }

    /// Bytes of records that a full socket has left.
    pub fn leftover_bytes(&self) -> usize {
        self.rest.bytes()
    }

    /// Writes what a full socket had left; whether all of it is out.
    pub fn push(&mut self) -> io::Result<bool> {
        if !self.rest.is_empty() {
            self.rest.write(|bytes| put(&mut self.socket, bytes))?;
        }
        Ok(self.rest.is_empty())
    }

    /// Seals and writes record by record. A record that is begun counts as taken: the rest of it goes out first when there
    /// is room again.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_parts(&[], bytes)
    }

    /// Writes bytes that lie in two pieces, of which the first is short, as if they were one.
    pub fn write_parts(&mut self, head: &[u8], bytes: &[u8]) -> io::Result<usize> {
        if !self.push()? {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.heard = 0;
        let (mut head, mut taken, mut rest) = (head, 0, bytes);
        while !(head.is_empty() && rest.is_empty()) {
            let (plain, behind) = rest.split_at(rest.len().min(RECORD_BYTES - head.len()));
            taken += head.len() + plain.len();
            let all = self.send(|session, sealed| session.seal(&[head, plain], sealed))?;
            (head, rest) = (&[], behind);
            if !all {
                break;
            }
        }
        Ok(taken)
    }

    /// Opens a whole record of the client's, whoever has read it.
    pub(super) fn open<'a>(&mut self, record: &'a mut [u8]) -> Result<Opened<'a>, Alert> {
        self.session.open(record)
    }

    /// Says why the connection ends, behind what is still to go out.
    pub(super) fn alert(&mut self, alert: Alert) {
        // An error shows at what is written next.
        let _ = self.send(|session, sealed| session.alert(alert, sealed));
    }

    /// Says that no more comes, behind what is still to go out.
    pub fn notify(&mut self) {
        // An error shows at what is written next.
        let _ = self.send(Session::close_notify);
    }

    /// Writes what is sealed, behind what a full socket has left; whether all of it is out.
    fn send(&mut self, seal: impl FnOnce(&mut Session, &mut Vec<u8>)) -> io::Result<bool> {
        SCRATCH.with_borrow_mut(|sealed| {
            sealed.clear();
            seal(&mut self.session, sealed);
            let out = if self.rest.is_empty() { put(&mut self.socket, sealed)? } else { 0 };
            match &self.ledger {
                Some(ledger) => self.rest.push(&sealed[out..], ledger),
                None if out < sealed.len() => return Err(ErrorKind::NotConnected.into()),
                None => {}
            }
            Ok(out == sealed.len())
        })
    }

    /// Looks at what the client says: updates of its keys, the end of its session. False where there is no more to do with it.
    pub fn hear(&mut self) -> bool {
        match SCRATCH.with_borrow_mut(|buffer| self.open_records(buffer)) {
            Ok(goes_on) => goes_on,
            Err(alert) => {
                self.alert(alert);
                false
            }
        }
    }

    /// Opens all whole records that have come; false where the connection has ended.
    fn open_records(&mut self, buffer: &mut Vec<u8>) -> Result<bool, Alert> {
        buffer.resize(MOST_RECORD, 0);
        while self.heard < MOST_HEARD && self.dropped < MOST_DROPPED {
            let come = match self.socket.peek(buffer) {
                Ok(0) => return Ok(false),
                Ok(n) => n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return Ok(false),
            };
            let length = match record_length(&buffer[..come])? {
                Some(length) if length <= come => length,
                // The rest of it will be told of.
                _ => return Ok(true),
            };
            if self.socket.read_exact(&mut buffer[..length]).is_err() {
                return Ok(false);
            }
            self.heard += 1;
            match self.session.open(&mut buffer[..length])? {
                Opened::Data(bytes) => self.dropped += bytes.len() as u32,
                Opened::Nothing => {}
                Opened::End => return Ok(false),
            }
        }
        Ok(true)
    }
}

/// Writes until the socket is full; how many bytes it took.
pub(super) fn put(socket: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
    let mut out = 0;
    while out < bytes.len() {
        match socket.write(&bytes[out..]) {
            Ok(n) => out += n,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(out)
}
