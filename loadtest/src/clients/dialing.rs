//! How clients connect: without waiting, each from a port that is chosen here.

use mio::net::TcpStream;
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::OwnedFd;

/// Ports to connect from: more than a worker has clients, so one that was closed rests before it is used again. They lie below
/// those that the kernel chooses from (`ip_local_port_range`, from 32,768 on): it passes over a port that anybody is bound to, even one
/// of another address, so a proxy would soon find none to reach its server from.
const FIRST_PORT: u16 = 10_000;
const PORTS: u16 = 22_000;
/// Ports that are tried for one connection: others of this machine have some.
const ATTEMPTS: u16 = 1_000;

/// A receive buffer that is full soon, in bytes.
const SMALL_BUFFER: usize = 4096;

/// Connects, and knows the port to connect from next.
///
/// The kernel's own choice looks for a free port one by one, and takes ever longer the more are in use; at `bind` it gives
/// each to one target alone.
pub struct Dialer {
    next: u16,
}

impl Dialer {
    /// Begins at a random port, since other workers may use the same addresses.
    pub fn new() -> Dialer {
        Dialer { next: fastrand::u16(..PORTS) }
    }

    /// Begins to connect to `target`, from `source` where that is on this machine.
    pub fn dial(&mut self, target: SocketAddr, source: Ipv4Addr, small_buffer: bool) -> io::Result<TcpStream> {
        let SocketAddr::V4(target) = target else {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "only IPv4 targets"));
        };
        let mut last = Errno::ADDRNOTAVAIL;
        for _ in 0..ATTEMPTS {
            let source = target.ip().is_loopback().then(|| SocketAddrV4::new(source, self.port()));
            match begin(target, source, small_buffer) {
                Ok(socket) => return Ok(TcpStream::from_std(std::net::TcpStream::from(socket))),
                Err(error @ (Errno::ADDRINUSE | Errno::ADDRNOTAVAIL)) if source.is_some() => last = error,
                Err(error) => return Err(error.into()),
            }
        }
        Err(last.into())
    }

    fn port(&mut self) -> u16 {
        self.next = (self.next + 1) % PORTS;
        FIRST_PORT + self.next
    }
}

fn begin(target: SocketAddrV4, source: Option<SocketAddrV4>, small_buffer: bool) -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    if small_buffer {
        sockopt::set_socket_recv_buffer_size(&socket, SMALL_BUFFER)?;
    }
    if let Some(source) = source {
        // Several connections may have one port, as long as their targets differ.
        sockopt::set_socket_reuseaddr(&socket, true)?;
        net::bind(&socket, &source)?;
    }
    match net::connect(&socket, &target) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_port_serves_several_targets_and_one_that_is_taken_is_passed_over() {
        let listeners = [(); 2].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        let targets = listeners.each_ref().map(|listener| listener.local_addr().unwrap());
        let source = Ipv4Addr::new(127, 251, 0, 1);
        let dial = |next: u16, target| {
            let stream = Dialer { next }.dial(target, source, true).unwrap();
            (stream.local_addr().unwrap(), stream)
        };
        let (first, _stays) = dial(PORTS - 1, targets[0]);
        assert_eq!(first, SocketAddr::from((source, FIRST_PORT)));
        let (second, _stays_too) = dial(PORTS - 1, targets[1]);
        assert_eq!(second, first);
        let (third, _) = dial(PORTS - 1, targets[0]);
        assert_eq!(third, SocketAddr::from((source, FIRST_PORT + 1)));
    }
}
