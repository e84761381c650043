//! Bytes for many sockets, in a file in memory whose pages all of them share.
//!
//! `send` copies what it is given for each socket anew. A file in memory is written once, and `sendfile` puts its own
//! pages into the sockets, which keep them until their clients have acknowledged them: less to do per socket, and
//! whoever reads slowly holds no copy. So the file is never written again. Its pages are gone with the last socket
//! that holds them.

use mio::net::TcpStream;
#[cfg(target_os = "linux")]
use rustix::fs::{MemfdFlags, memfd_create, sendfile};
#[cfg(target_os = "linux")]
use rustix::io::Errno;
#[cfg(target_os = "linux")]
use std::fs::File;
use std::io;
#[cfg(target_os = "linux")]
use std::io::Write as _;

/// A file in memory that holds bytes for many sockets.
#[cfg(target_os = "linux")]
pub struct MemoryFile {
    file: File,
    bytes: usize,
}

/// A file in memory, of which no other system than Linux makes one.
#[cfg(not(target_os = "linux"))]
pub enum MemoryFile {}

#[cfg(not(target_os = "linux"))]
impl MemoryFile {
    /// `None`: each socket gets a copy.
    pub fn of(_: &[u8]) -> Option<MemoryFile> {
        None
    }

    /// Never called, as there is no file.
    pub fn send(&self, _: &TcpStream, _: u64) -> Option<io::Result<usize>> {
        match *self {}
    }
}

#[cfg(target_os = "linux")]
impl MemoryFile {
    /// `None` where the system makes no such file: an old one, or one that forbids it.
    pub fn of(bytes: &[u8]) -> Option<MemoryFile> {
        let make = |flags| memfd_create("broadcast", MemfdFlags::CLOEXEC | flags);
        // Some hosts allow none that could be executed; before Linux 6.3 the flag is unknown.
        let mut file = File::from(make(MemfdFlags::NOEXEC_SEAL).or_else(|_| make(MemfdFlags::empty())).ok()?);
        file.write_all(bytes).ok()?;
        Some(MemoryFile { file, bytes: bytes.len() })
    }

    /// Sends what follows an offset, as far as the socket takes it. `None`: this must be written in another way.
    pub fn send(&self, socket: &TcpStream, offset: u64) -> Option<io::Result<usize>> {
        let count = self.bytes - offset as usize;
        match sendfile(socket, &self.file, Some(&mut { offset }), count) {
            // What a sandbox says that does not know the call, or not for such files.
            Err(Errno::INVAL | Errno::NOSYS | Errno::PERM | Errno::OPNOTSUPP) => None,
            sent => Some(sent.map_err(io::Error::from)),
        }
    }
}
