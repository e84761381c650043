//! Memory for bodies that are being received: so much for all, a share of it for each address and each subject.
//!
//! Room is taken as bytes arrive, so that a slow sender holds only what it sent, and is never waited for. Where there is
//! none left, bodies that hardly come any more give theirs up.

use crate::hash::HashMap;
use crate::problem::Code;
use parking_lot::Mutex;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// The share of an address or a subject: a part of the whole like this, and one body in any case.
const SHARE: usize = 4;
/// So long nobody is judged.
const GRACE: Duration = Duration::from_secs(1);
/// Bytes a second; a body that comes slower may have to give way. The largest batch would not be there in time with less.
const SLOW: f64 = (1 << 20) as f64;

/// Memory for bodies that are being received, and who has how much of it.
pub struct Room {
    most: usize,
    share: usize,
    /// What an address or a subject that has its share is told.
    too_much: Code,
    bodies: Mutex<Bodies>,
}

#[derive(Default)]
struct Bodies {
    taken: usize,
    number: u64,
    all: HashMap<u64, Body>,
    addresses: HashMap<IpAddr, usize>,
    subjects: HashMap<Arc<str>, usize>,
}

struct Body {
    address: IpAddr,
    subject: Option<Arc<str>>,
    bytes: usize,
    pace: Pace,
    gives_way: Arc<Notify>,
}

/// Why there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRoom {
    /// For anybody.
    Here,
    /// For this address, or this subject; how many bytes they may have.
    ForAddress(usize),
    ForSubject(usize),
    /// Any more: it came too slowly, and others wanted it.
    AnyMore,
}

impl Room {
    /// `most`: bytes of all bodies; `largest`: of one.
    pub fn new(most: usize, largest: usize, too_much: Code) -> Room {
        let most = most.max(largest);
        Room { most, share: (most / SHARE).max(largest), too_much, bodies: Mutex::default() }
    }

    /// A place for a body of which nothing has come yet.
    pub fn enter(&self, address: IpAddr, subject: Option<Arc<str>>) -> Place<'_> {
        let gives_way = Arc::new(Notify::new());
        let mut bodies = self.bodies.lock();
        bodies.number += 1;
        let number = bodies.number;
        let body = Body { address, subject, bytes: 0, pace: Pace::new(Instant::now()), gives_way: gives_way.clone() };
        bodies.all.insert(number, body);
        Place { room: self, number, gives_way }
    }

    #[cfg(test)]
    pub fn taken(&self) -> (usize, usize) {
        let bodies = self.bodies.lock();
        (bodies.taken, bodies.all.len() + bodies.addresses.len() + bodies.subjects.len())
    }
}

/// A body's place; what it has taken is given back when it is dropped.
pub struct Place<'a> {
    room: &'a Room,
    number: u64,
    gives_way: Arc<Notify>,
}

impl Place<'_> {
    /// Whose body it is, once that is known.
    pub fn belongs_to(&self, subject: Option<&Arc<str>>) {
        let mut bodies = self.room.bodies.lock();
        let Some(mut body) = bodies.all.remove(&self.number) else { return };
        if body.subject.is_none()
            && let Some(subject) = subject
        {
            add(&mut bodies.subjects, subject.clone(), body.bytes);
            body.subject = Some(subject.clone());
        }
        bodies.all.insert(self.number, body);
    }

    /// Takes room for bytes that have come.
    pub fn take(&self, bytes: usize) -> Result<(), NoRoom> {
        let now = Instant::now();
        let mut bodies = self.room.bodies.lock();
        loop {
            let own = bodies.all.get(&self.number).ok_or(NoRoom::AnyMore)?;
            let of_address = bodies.addresses.get(&own.address).copied().unwrap_or_default();
            let of_subject = own.subject.as_ref().and_then(|subject| bodies.subjects.get(subject)).copied();
            let why = if of_address + bytes > self.room.share {
                NoRoom::ForAddress(self.room.share)
            } else if of_subject.unwrap_or_default() + bytes > self.room.share {
                NoRoom::ForSubject(self.room.share)
            } else if bodies.taken + bytes > self.room.most {
                NoRoom::Here
            } else {
                break;
            };
            let slowest = bodies.slowest(self.number, why, now).ok_or(why)?;
            if let Some(body) = bodies.remove(slowest) {
                body.gives_way.notify_one();
            }
        }
        let Some(own) = bodies.all.get_mut(&self.number) else { return Err(NoRoom::AnyMore) };
        own.bytes += bytes;
        own.pace.came(bytes, now);
        let (address, subject) = (own.address, own.subject.clone());
        bodies.taken += bytes;
        add(&mut bodies.addresses, address, bytes);
        if let Some(subject) = subject {
            add(&mut bodies.subjects, subject, bytes);
        }
        Ok(())
    }

    /// What an address or a subject that has its share is told.
    pub fn too_much(&self) -> Code {
        self.room.too_much
    }

    /// Waits until it has to give way. Cancel safe.
    pub async fn has_to_give_way(&self) {
        self.gives_way.notified().await;
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.room.bodies.lock().remove(self.number);
    }
}

impl Bodies {
    /// The body that comes most slowly among those whose room would help, but for `own`, which gives way itself where it is
    /// no quicker.
    fn slowest(&self, own: u64, why: NoRoom, now: Instant) -> Option<u64> {
        let asker = self.all.get(&own)?;
        let helps = |body: &Body| match why {
            NoRoom::ForAddress(_) => body.address == asker.address,
            NoRoom::ForSubject(_) => body.subject == asker.subject,
            NoRoom::Here | NoRoom::AnyMore => true,
        };
        let pace = |body: &Body| body.pace.rate(now).filter(|rate| *rate < SLOW && body.bytes > 0);
        let slow = self.all.iter().filter(|(number, body)| **number != own && helps(body));
        let slow = slow.filter_map(|(number, body)| Some((*number, pace(body)?)));
        let (number, rate) = slow.min_by(|a, b| a.1.total_cmp(&b.1))?;
        asker.pace.rate(now).is_none_or(|quick| quick > rate).then_some(number)
    }

    fn remove(&mut self, number: u64) -> Option<Body> {
        let body = self.all.remove(&number)?;
        self.taken -= body.bytes;
        give_back(&mut self.addresses, &body.address, body.bytes);
        if let Some(subject) = &body.subject {
            give_back(&mut self.subjects, subject, body.bytes);
        }
        Some(body)
    }
}

fn add<K: Hash + Eq>(table: &mut HashMap<K, usize>, key: K, bytes: usize) {
    *table.entry(key).or_default() += bytes;
}

fn give_back<K: Hash + Eq>(table: &mut HashMap<K, usize>, key: &K, bytes: usize) {
    if let Some(has) = table.get_mut(key) {
        *has -= bytes;
        if *has == 0 {
            table.remove(key);
        }
    }
}

/// How quickly a body has come of late: in this second and the one before.
struct Pace {
    begun: Instant,
    second: Instant,
    now: usize,
    before: usize,
}

impl Pace {
    fn new(now: Instant) -> Pace {
        Pace { begun: now, second: now, now: 0, before: 0 }
    }

    fn came(&mut self, bytes: usize, now: Instant) {
        let elapsed = now.duration_since(self.second);
        if elapsed >= GRACE {
            self.before = if elapsed < GRACE * 2 { self.now } else { 0 };
            (self.second, self.now) = (now, 0);
        }
        self.now += bytes;
    }

    /// Bytes a second; `None` while it is too young to be judged.
    fn rate(&self, now: Instant) -> Option<f64> {
        if now.duration_since(self.begun) < GRACE {
            return None;
        }
        let elapsed = now.duration_since(self.second);
        let (bytes, since) = match elapsed {
            _ if elapsed < GRACE => (self.before + self.now, elapsed),
            _ if elapsed < GRACE * 2 => (self.now, elapsed - GRACE),
            _ => (0, Duration::ZERO),
        };
        Some(bytes as f64 / (GRACE + since).as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::{advance, timeout};

    fn address(n: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, n])
    }

    async fn gives_way(place: &Place<'_>) {
        timeout(GRACE, place.has_to_give_way()).await.expect("it has to give way");
    }

    fn subject(name: &str) -> Option<Arc<str>> {
        Some(name.into())
    }

    #[tokio::test(start_paused = true)]
    async fn each_address_and_each_subject_has_its_share() {
        let room = Room::new(80, 10, Code::PublishRate);
        let (one, two) = (room.enter(address(1), subject("s")), room.enter(address(1), None));
        one.take(15).unwrap();
        assert_eq!(two.take(6), Err(NoRoom::ForAddress(20)));
        two.take(5).unwrap();
        let elsewhere = room.enter(address(2), None);
        elsewhere.take(5).unwrap();
        elsewhere.belongs_to(subject("s").as_ref());
        assert_eq!(elsewhere.take(1), Err(NoRoom::ForSubject(20)));
        drop((one, two));
        elsewhere.take(15).unwrap();
        drop(elsewhere);
        assert_eq!(room.taken(), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn slow_bodies_give_way_the_slowest_first_and_quick_ones_do_not() {
        const MIB: usize = 1 << 20;
        let room = Room::new(10 * MIB, 10 * MIB, Code::PublishRate);
        let (held, trickling, quick) =
            (room.enter(address(1), None), room.enter(address(2), None), room.enter(address(3), None));
        held.take(4 * MIB).unwrap();
        trickling.take(2 * MIB).unwrap();
        let newcomer = room.enter(address(4), None);
        assert_eq!(newcomer.take(5 * MIB), Err(NoRoom::Here), "nobody is judged at once");
        advance(Duration::from_secs(2)).await;
        trickling.take(1000).unwrap();
        quick.take(2 * MIB).unwrap();
        drop(newcomer);
        let newcomer = room.enter(address(4), None);
        newcomer.take(3 * MIB).unwrap();
        gives_way(&held).await;
        assert_eq!(held.take(1), Err(NoRoom::AnyMore));
        newcomer.take(4 * MIB).unwrap();
        gives_way(&trickling).await;
        assert_eq!(newcomer.take(2 * MIB), Err(NoRoom::Here), "the quick one keeps what it has");
        drop((held, trickling, quick, newcomer));
        assert_eq!(room.taken(), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn within_a_share_its_own_slow_bodies_give_way() {
        let room = Room::new(80, 20, Code::PublishRate);
        let (slow, foreign) = (room.enter(address(1), None), room.enter(address(2), None));
        slow.take(20).unwrap();
        foreign.take(20).unwrap();
        advance(Duration::from_secs(3)).await;
        room.enter(address(1), None).take(10).unwrap();
        gives_way(&slow).await;
        assert_eq!(foreign.take(0), Ok(()));
    }
}
