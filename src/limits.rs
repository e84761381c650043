//! Limits on subscribers: of the node, of one client address, of one subject. Counting only; what is answered is
//! `http`'s.

mod presence;
mod rate;

pub use presence::{Presence, Presences};
pub use rate::{Rate, TooFast};

use crate::hash::HashMap;
use crate::metrics::Registry;
use parking_lot::Mutex;
use prometheus::IntGauge;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Descriptors that are not subscribers, at most: listeners, Redis, admin, logs, and requests that are being read. Where
/// the limit of files is low, they are a quarter of it.
pub const RESERVED_DESCRIPTORS: u64 = 512;

/// Descriptors that are not subscribers.
fn reserved(descriptors: u64) -> u64 {
    RESERVED_DESCRIPTORS.min(descriptors / 4)
}

/// Connections beyond the subscriber limit that may be read and refused politely: half of the reserve.
pub fn spare_connections(descriptors: u64) -> usize {
    (reserved(descriptors) / 2) as usize
}

/// What one client may have at once; 0: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Caps {
    pub connections: usize,
    pub channels: usize,
}

/// Counts subscribers from admission to their end.
pub struct Limits {
    max: usize,
    /// Connections that may be there beside so many subscribers.
    spare: usize,
    of_address: Caps,
    of_subject: Caps,
    now: AtomicUsize,
    addresses: Mutex<HashMap<IpAddr, Use>>,
    subjects: Mutex<HashMap<Arc<str>, Use>>,
}

/// What one client has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Use {
    connections: usize,
    channels: usize,
}

/// Who wants a place.
#[derive(Clone, Debug)]
pub struct Applicant {
    /// Behind trusted proxies.
    pub address: IpAddr,
    pub subject: Option<Arc<str>>,
    pub channels: usize,
    /// Connections that its grant allows the subject.
    pub connections_allowed: Option<u32>,
}

/// Why there is no place for one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    Node,
    /// Subscribers of the address, and how many it may have.
    Address(usize),
    AddressChannels(usize),
    Subject(usize),
    SubjectChannels(usize),
}

/// The family that tells the limit of subscribers.
pub fn limit_gauge(registry: &Registry) -> IntGauge {
    registry.gauge("fantail_connection_limit", "Subscribers that this node takes at most.")
}

impl Limits {
    /// Limits of subscribers on the node, of each address and of each subject; `gauge` shows the first.
    pub fn new(max: usize, of_address: Caps, of_subject: Caps, gauge: &IntGauge) -> Limits {
        gauge.set(max as i64);
        let now = AtomicUsize::new(0);
        let spare = spare_connections(u64::MAX);
        let (addresses, subjects) = (Mutex::default(), Mutex::default());
        Limits { max, spare, of_address, of_subject, now, addresses, subjects }
    }

    /// With so many connections beside the subscribers, see [`spare_connections`].
    pub fn with_spare(self, spare: usize) -> Limits {
        Limits { spare, ..self }
    }

    /// Takes a place; it is given back by dropping the seat, or by [`Limits::leave`] after [`Seat::keep`].
    pub fn enter(self: &Arc<Limits>, who: Applicant) -> Result<Seat, Full> {
        let address = client_of(who.address);
        if self.now.fetch_add(1, Ordering::Relaxed) >= self.max {
            self.now.fetch_sub(1, Ordering::Relaxed);
            return Err(Full::Node);
        }
        // Gives back what was taken so far where the next step refuses.
        let mut seat = Seat { limits: self.clone(), address, counted: false, subject: None, channels: 0, kept: false };
        if self.of_address != Caps::default() {
            take(&self.addresses, address, self.of_address, who.channels).map_err(|over| match over {
                Over::Connections(most) => Full::Address(most),
                Over::Channels(most) => Full::AddressChannels(most),
            })?;
            seat.counted = true;
            seat.channels = if self.of_address.channels > 0 { who.channels } else { 0 };
        }
        let mut caps = self.of_subject;
        if let Some(allowed) = who.connections_allowed {
            // 0 is what is allowed, not that there is no limit.
            match allowed as usize {
                0 => return Err(Full::Subject(0)),
                n => caps.connections = if caps.connections == 0 { n } else { caps.connections.min(n) },
            }
        }
        if let Some(subject) = who.subject.filter(|_| caps != Caps::default()) {
            take(&self.subjects, subject.clone(), caps, who.channels).map_err(|over| match over {
                Over::Connections(most) => Full::Subject(most),
                Over::Channels(most) => Full::SubjectChannels(most),
            })?;
            seat.subject = Some((subject, if caps.channels > 0 { who.channels } else { 0 }));
        }
        Ok(seat)
    }

    /// Gives a place back that was [kept](Seat::keep).
    pub fn leave(&self, address: IpAddr) {
        self.now.fetch_sub(1, Ordering::Relaxed);
        if self.of_address != Caps::default() {
            give_back(&self.addresses, &client_of(address), 0);
        }
    }

    /// Places taken.
    pub fn taken(&self) -> usize {
        self.now.load(Ordering::Relaxed)
    }

    pub fn max(&self) -> usize {
        self.max
    }

    /// Connections that may be there beside the subscribers.
    pub fn spare(&self) -> usize {
        self.spare
    }

    /// Connections that may be there at once, subscribers and others.
    pub fn present_max(&self) -> usize {
        self.max + self.spare
    }
}

/// Which of the caps is reached.
enum Over {
    Connections(usize),
    Channels(usize),
}

fn take<K: Hash + Eq>(table: &Mutex<HashMap<K, Use>>, key: K, caps: Caps, channels: usize) -> Result<(), Over> {
    let mut table = table.lock();
    let has = table.get(&key).copied().unwrap_or_default();
    if caps.connections > 0 && has.connections >= caps.connections {
        return Err(Over::Connections(caps.connections));
    }
    if caps.channels > 0 && has.channels + channels > caps.channels {
        return Err(Over::Channels(caps.channels));
    }
    let counted = if caps.channels > 0 { channels } else { 0 };
    table.insert(key, Use { connections: has.connections + 1, channels: has.channels + counted });
    Ok(())
}

fn give_back<K: Hash + Eq>(table: &Mutex<HashMap<K, Use>>, key: &K, channels: usize) {
    let mut table = table.lock();
    if let Some(has) = table.get_mut(key) {
        has.connections -= 1;
        has.channels -= channels;
        if has.connections == 0 {
            table.remove(key);
        }
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
    address: IpAddr,
    /// Whether the address' table knows of it.
    counted: bool,
    /// Channels that count for the address.
    channels: usize,
    /// The subject, and the channels that count for it.
    subject: Option<(Arc<str>, usize)>,
    kept: bool,
}

impl Seat {
    /// The place now belongs to a subscriber, whose courier gives it back by its address alone. A seat that has more to
    /// give back is returned, for the courier to hold.
    pub fn keep(mut self) -> Option<Seat> {
        self.kept = self.subject.is_none() && self.channels == 0;
        (!self.kept).then_some(self)
    }
}

impl Seat {
    /// Counts one channel more; whether the limits have room for it.
    pub fn take_channel(&mut self) -> bool {
        let Caps { channels: most, .. } = self.limits.of_address;
        let of_address = most > 0 && self.counted;
        if of_address && !one_more(&self.limits.addresses, &self.address, most) {
            return false;
        }
        let most = self.limits.of_subject.channels;
        if most > 0
            && let Some((subject, channels)) = &mut self.subject
        {
            if !one_more(&self.limits.subjects, subject, most) {
                if of_address {
                    one_less(&self.limits.addresses, &self.address);
                }
                return false;
            }
            *channels += 1;
        }
        self.channels += usize::from(of_address);
        true
    }

    /// Counts one channel less.
    pub fn give_channel(&mut self) {
        if self.channels > 0 {
            self.channels -= 1;
            one_less(&self.limits.addresses, &self.address);
        }
        if let Some((subject, channels)) = self.subject.as_mut().filter(|(_, channels)| *channels > 0) {
            *channels -= 1;
            one_less(&self.limits.subjects, subject);
        }
    }
}

fn one_more<K: Hash + Eq>(table: &Mutex<HashMap<K, Use>>, key: &K, most: usize) -> bool {
    let mut table = table.lock();
    let has = table.get_mut(key).filter(|has| has.channels < most);
    has.map(|has| has.channels += 1).is_some()
}

fn one_less<K: Hash + Eq>(table: &Mutex<HashMap<K, Use>>, key: &K) {
    if let Some(has) = table.lock().get_mut(key) {
        has.channels -= 1;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        self.limits.now.fetch_sub(1, Ordering::Relaxed);
        if self.counted {
            give_back(&self.limits.addresses, &self.address, self.channels);
        }
        if let Some((subject, channels)) = &self.subject {
            give_back(&self.limits.subjects, subject, *channels);
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

/// Open files that the kernel's table has room for from the start, at most: half a mebibyte of it.
const ROOM: u64 = 64 << 10;

/// Lets the kernel make its table of open files as large as it will be. It doubles it as files come, and where there are
/// several threads waits each time until every processor has been through its kernel's quiet state (`expand_fdtable`): for
/// whoever accepts these are milliseconds, and seconds on a machine that is busy.
pub fn make_room_for_files(count: u64) {
    let last = count.clamp(1, ROOM) as i32 - 1;
    if let Ok(null) = std::fs::File::open("/dev/null") {
        // What it gives back is closed at once; the room stays.
        drop(rustix::io::fcntl_dupfd_cloexec(&null, last));
    }
}

/// Subscribers that a node takes: what was asked for (0: as many as possible), never more than descriptors allow.
pub fn connection_limit(asked: usize, descriptors: u64) -> usize {
    let possible = descriptors.saturating_sub(reserved(descriptors)).min(usize::MAX as u64) as usize;
    if asked == 0 { possible } else { asked.min(possible) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applicant(address: &str, subject: Option<&str>, channels: usize) -> Applicant {
        let subject = subject.map(Into::into);
        Applicant { address: address.parse().unwrap(), subject, channels, connections_allowed: None }
    }

    fn caps(connections: usize, channels: usize) -> Caps {
        Caps { connections, channels }
    }

    #[test]
    fn places_are_given_back() {
        let limits = Arc::new(Limits::new(2, caps(1, 0), caps(0, 0), &limit_gauge(&Registry::default())));
        let enter = |address| limits.enter(applicant(address, None, 1));
        assert!(enter("10.0.0.1").unwrap().keep().is_none());
        assert_eq!(enter("10.0.0.1").err(), Some(Full::Address(1)));
        let seat = enter("10.0.0.2").unwrap();
        assert_eq!(enter("10.0.0.3").err(), Some(Full::Node));
        drop(seat);
        limits.leave("10.0.0.1".parse().unwrap());
        assert_eq!((limits.taken(), limits.addresses.lock().len()), (0, 0));
    }

    #[test]
    fn subjects_and_channels_are_counted_and_given_back() {
        let limits = Arc::new(Limits::new(100, caps(0, 5), caps(2, 4), &limit_gauge(&Registry::default())));
        let enter = |address, subject, channels| limits.enter(applicant(address, subject, channels));
        let first = enter("10.0.0.1", Some("s"), 3).unwrap().keep().expect("it has more to give back");
        assert_eq!(enter("10.0.0.1", None, 3).err(), Some(Full::AddressChannels(5)));
        assert_eq!(enter("10.0.0.2", Some("s"), 2).err(), Some(Full::SubjectChannels(4)));
        let second = enter("10.0.0.2", Some("s"), 1).unwrap();
        assert_eq!(enter("10.0.0.3", Some("s"), 0).err(), Some(Full::Subject(2)));
        let few = Applicant { connections_allowed: Some(1), ..applicant("10.0.0.4", Some("t"), 1) };
        let third = limits.enter(few.clone()).unwrap();
        assert_eq!(limits.enter(few.clone()).err(), Some(Full::Subject(1)));
        assert_eq!(limits.enter(Applicant { connections_allowed: Some(0), ..few }).err(), Some(Full::Subject(0)));
        let mut first = first;
        assert!(!first.take_channel(), "the subject has its four");
        first.give_channel();
        assert!(first.take_channel() && !first.take_channel());
        drop((first, second, third));
        assert_eq!((limits.taken(), limits.addresses.lock().len(), limits.subjects.lock().len()), (0, 0, 0));
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
        for descriptors in [64, 256, 1024, 4096, 1 << 20] {
            let (limit, spare) = (connection_limit(0, descriptors), spare_connections(descriptors));
            let left = descriptors as usize - limit - spare;
            assert!(
                left >= (descriptors as usize / 8).min(256),
                "{descriptors}: {left} for listeners, Redis and admin"
            );
        }
    }
}
