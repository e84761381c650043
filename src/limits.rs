//! Limits on subscribers: of the node, and of one client address. Counting only; what is answered is `http`'s.

use crate::metrics::Metrics;
use hashbrown::HashMap;
use parking_lot::Mutex;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Descriptors that are not subscribers: listeners, Redis, admin, logs, and requests that are being read.
pub const RESERVED_DESCRIPTORS: u64 = 512;

/// Connections beyond the subscriber limit that may be read and refused politely.
pub const SPARE_CONNECTIONS: usize = (RESERVED_DESCRIPTORS / 2) as usize;

/// Counts subscribers from admission to their end.
pub struct Limits {
    max: usize,
    max_per_address: usize,
    now: AtomicUsize,
    addresses: Mutex<HashMap<IpAddr, u32>>,
}

/// Why there is no place for one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    Node,
    Address,
}

impl Limits {
    /// `max_per_address` 0: no limit.
    pub fn new(max: usize, max_per_address: usize, metrics: &Metrics) -> Arc<Limits> {
        metrics.connection_limit.set(max as i64);
        Arc::new(Limits { max, max_per_address, now: AtomicUsize::new(0), addresses: Mutex::default() })
    }

    /// Takes a place; it is given back by dropping the seat, or by [`Limits::leave`] after [`Seat::keep`].
    pub fn enter(self: &Arc<Limits>, peer: IpAddr) -> Result<Seat, Full> {
        let peer = client_of(peer);
        if self.now.fetch_add(1, Ordering::Relaxed) >= self.max {
            self.now.fetch_sub(1, Ordering::Relaxed);
            return Err(Full::Node);
        }
        if self.max_per_address > 0 {
            let mut addresses = self.addresses.lock();
            let count = addresses.entry(peer).or_insert(0);
            if *count as usize >= self.max_per_address {
                drop(addresses);
                self.now.fetch_sub(1, Ordering::Relaxed);
                return Err(Full::Address);
            }
            *count += 1;
        }
        Ok(Seat { limits: self.clone(), peer, kept: false })
    }

    /// Gives a kept place back.
    pub fn leave(&self, peer: IpAddr) {
        self.now.fetch_sub(1, Ordering::Relaxed);
        if self.max_per_address == 0 {
            return;
        }
        let peer = client_of(peer);
        let mut addresses = self.addresses.lock();
        if let Some(count) = addresses.get_mut(&peer) {
            *count -= 1;
            if *count == 0 {
                addresses.remove(&peer);
            }
        }
    }

    /// Places taken.
    pub fn taken(&self) -> usize {
        self.now.load(Ordering::Relaxed)
    }

    pub fn max(&self) -> usize {
        self.max
    }
}

/// One client is an IPv4 address or an IPv6 /64, the smallest network that a site is given (RFC 6177).
pub fn client_of(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !(u64::MAX as u128))),
        v4 => v4,
    }
}

/// A place that was taken.
#[must_use]
pub struct Seat {
    limits: Arc<Limits>,
    peer: IpAddr,
    kept: bool,
}

impl Seat {
    /// The place now belongs to a subscriber, whose courier gives it back.
    pub fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if !self.kept {
            self.limits.leave(self.peer);
        }
    }
}

/// Raises the limit of open files as far as allowed, and returns it.
pub fn raise_descriptor_limit() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let _ = setrlimit(Resource::Nofile, raised);
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Subscribers that a node takes: what was asked for (0: as many as possible), never more than descriptors allow.
pub fn connection_limit(asked: usize, descriptors: u64) -> usize {
    let possible =
        descriptors.saturating_sub(RESERVED_DESCRIPTORS.min(descriptors / 4)).min(usize::MAX as u64) as usize;
    if asked == 0 { possible } else { asked.min(possible) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_given_back() {
        let limits = Limits::new(2, 1, &Metrics::new());
        let (a, b): (IpAddr, IpAddr) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        limits.enter(a).unwrap().keep();
        assert_eq!(limits.enter(a).err(), Some(Full::Address));
        let seat = limits.enter(b).unwrap();
        assert_eq!(limits.enter("10.0.0.3".parse().unwrap()).err(), Some(Full::Node));
        drop(seat);
        limits.leave(a);
        assert_eq!((limits.taken(), limits.addresses.lock().len()), (0, 0));
    }

    #[test]
    fn one_site_is_one_client() {
        let client = |text: &str| client_of(text.parse().unwrap());
        assert_eq!(client("2001:db8::1"), client("2001:db8::ffff"));
        assert_ne!(client("2001:db8::1"), client("2001:db8:0:1::1"));
        assert_eq!(client("::ffff:10.0.0.1"), client("10.0.0.1"));
    }

    #[test]
    fn the_connection_limit_leaves_descriptors_for_the_rest() {
        assert_eq!(connection_limit(0, 20_000), 19_488);
        assert_eq!(connection_limit(1_000, 20_000), 1_000);
        assert_eq!(connection_limit(50_000, 20_000), 19_488);
        assert_eq!(connection_limit(0, 256), 192);
    }
}
